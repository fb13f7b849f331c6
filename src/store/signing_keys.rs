//! The installation's identity and its signing keys, whose private halves are sealed.

use super::{ChangeKind, Result, Store, StoreError, reading, transaction, within};
use crate::clock::Millis;

/// A stored signing key.
#[derive(Clone, sqlx::FromRow)]
pub struct SigningKeyRow {
    /// Its id, the `kid` of the tokens it signed.
    pub kid: String,
    /// The Ed25519 public key, 32 bytes.
    pub public_key: Vec<u8>,
    /// The private key, sealed under the master key.
    pub sealed_private_key: Vec<u8>,
    /// When it was made.
    pub created_at: Millis,
    /// When another key replaced it.
    pub retired_at: Option<Millis>,
}

impl std::fmt::Debug for SigningKeyRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKeyRow").field("kid", &self.kid).finish_non_exhaustive()
    }
}

const ALL_KEYS: &str = "SELECT kid, public_key, sealed_private_key, created_at, retired_at \
    FROM signing_keys ORDER BY created_at, kid";

impl Store {
    /// The issuer in every token, once there is a signing key.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn issuer(&self) -> Result<Option<String>> {
        const ISSUER: &str = "SELECT issuer FROM installation WHERE singleton = 1";
        Ok(reading!(self, pool => sqlx::query_scalar(ISSUER).fetch_optional(pool).await)?)
    }

    /// Stores `issuer` and its first signing key, unless another process has done so. The store has both afterwards.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn install(&self, issuer: &str, key: &SigningKeyRow) -> Result<()> {
        const INSTALL: &str = "INSERT INTO installation (singleton, issuer, created_at) VALUES (1, $1, $2) \
            ON CONFLICT (singleton) DO NOTHING";
        transaction!(@store self, tx => {
            let installed = within!(tx, connection => sqlx::query(INSTALL).bind(issuer).bind(key.created_at)
                .execute(connection).await.map(|done| done.rows_affected()))?;
            if installed == 1 {
                insert(tx, key).await?;
            }
            Ok(())
        })
    }

    /// All signing keys, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>> {
        Ok(reading!(self, pool => sqlx::query_as(ALL_KEYS).fetch_all(pool).await)?)
    }

    /// Adds a key that signs from now on and retires the others.
    ///
    /// # Errors
    /// When the database fails; nothing changes in that case.
    pub async fn rotate_signing_key(&self, key: &SigningKeyRow) -> Result<()> {
        const RETIRE: &str = "UPDATE signing_keys SET retired_at = $1 WHERE retired_at IS NULL";
        transaction!(@store self, tx => {
            let seq = tx.lock_changes().await?;
            within!(tx, connection =>
                sqlx::query(RETIRE).bind(key.created_at).execute(connection).await.map(|_| ()))?;
            insert(tx, key).await?;
            tx.append_change(seq, ChangeKind::SigningKeysChanged, &key.kid, None).await
        })
    }

    /// When the last token signed by a key expires.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_expiry_by_signing_key(&self) -> Result<Vec<(String, Millis)>> {
        const LAST: &str = "SELECT kid, MAX(expires_at) FROM client_tokens GROUP BY kid";
        Ok(reading!(self, pool => sqlx::query_as(LAST).fetch_all(pool).await)?)
    }
}

async fn insert(tx: &mut super::Tx, key: &SigningKeyRow) -> Result<()> {
    const INSERT: &str = "INSERT INTO signing_keys (kid, public_key, sealed_private_key, created_at) \
        VALUES ($1, $2, $3, $4)";
    within!(tx, connection => sqlx::query(INSERT)
        .bind(&key.kid).bind(&key.public_key).bind(&key.sealed_private_key).bind(key.created_at)
        .execute(connection).await.map(|_| ()).map_err(StoreError::from))
}
