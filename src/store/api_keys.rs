//! API keys, known only by the SHA-256 of their secret.

use std::collections::BTreeMap;

use super::{ChangeKind, Result, Revocation, Store, reading, transaction, within, writing};
use crate::clock::Millis;

/// A stored API key.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ApiKeyRow {
    /// Its id, safe to show and log.
    pub id: String,
    /// The name it was given.
    pub name: String,
    /// The only project it may use; `None` for a key that may use every project.
    pub project: Option<String>,
    /// When it was made.
    pub created_at: Millis,
    /// When it expires; `None` for a key that does not.
    pub expires_at: Option<Millis>,
    /// When it was last used, to the precision of the interval at which uses are recorded.
    pub last_used_at: Option<Millis>,
    /// When it was revoked.
    pub revoked_at: Option<Millis>,
}

/// An API key to be stored.
#[derive(Clone, Debug)]
pub struct NewApiKey<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The only project it may use; `None` for a key that may use every project.
    pub project: Option<&'a str>,
    /// SHA-256 of the whole key.
    pub secret_sha256: &'a [u8; 32],
    /// When it was made.
    pub created_at: Millis,
    /// When it expires; `None` for a key that does not.
    pub expires_at: Option<Millis>,
}

impl Store {
    /// Stores a key. Returns false when there is a key with the same secret.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_api_key(&self, key: &NewApiKey<'_>) -> Result<bool> {
        const INSERT: &str = "INSERT INTO api_keys (id, name, project, secret_sha256, created_at, expires_at) \
            VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (secret_sha256) DO NOTHING";
        let inserted = writing!(self, pool => sqlx::query(INSERT)
            .bind(key.id).bind(key.name).bind(key.project).bind(key.secret_sha256.as_slice())
            .bind(key.created_at).bind(key.expires_at)
            .execute(pool).await.map(|done| done.rows_affected()))?;
        Ok(inserted == 1)
    }

    /// Deletes a key that nobody has. The tokens that it minted stay.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn delete_api_key(&self, id: &str) -> Result<()> {
        const DELETE: &str = "DELETE FROM api_keys WHERE id = $1";
        writing!(self, pool => sqlx::query(DELETE).bind(id).execute(pool).await.map(|_| ()))?;
        Ok(())
    }

    /// The key with this secret, even if it is revoked or expired.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn api_key_by_secret(&self, secret_sha256: &[u8; 32]) -> Result<Option<ApiKeyRow>> {
        const BY_SECRET: &str = "SELECT id, name, project, created_at, expires_at, last_used_at, revoked_at \
            FROM api_keys WHERE secret_sha256 = $1";
        Ok(reading!(self, pool =>
            sqlx::query_as(BY_SECRET).bind(secret_sha256.as_slice()).fetch_optional(pool).await)?)
    }

    /// All keys, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn api_keys(&self) -> Result<Vec<ApiKeyRow>> {
        const ALL: &str = "SELECT id, name, project, created_at, expires_at, last_used_at, revoked_at \
            FROM api_keys ORDER BY created_at, id";
        Ok(reading!(self, pool => sqlx::query_as(ALL).fetch_all(pool).await)?)
    }

    /// Whether any key was ever made.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_api_keys(&self) -> Result<bool> {
        const ANY: &str = "SELECT COUNT(*) FROM api_keys";
        let count: i64 = reading!(self, pool => sqlx::query_scalar(ANY).fetch_one(pool).await)?;
        Ok(count > 0)
    }

    /// Revokes a key and the tokens that it minted. Returns how many of those tokens were live.
    ///
    /// # Errors
    /// When the database fails; nothing is revoked in that case.
    pub async fn revoke_api_key(&self, id: &str, now: Millis) -> Result<Revocation<i64>> {
        const REVOKED_AT: &str = "SELECT revoked_at FROM api_keys WHERE id = $1";
        const REVOKE: &str = "UPDATE api_keys SET revoked_at = $2 WHERE id = $1";
        const LIVE_TOKENS: &str = "SELECT COUNT(*) FROM client_tokens \
            WHERE key_id = $1 AND revoked_at IS NULL AND expires_at > $2";
        transaction!(@store self, tx => {
            let seq = tx.lock_changes().await?;
            let row: Option<Option<Millis>> = within!(tx, connection =>
                sqlx::query_scalar(REVOKED_AT).bind(id).fetch_optional(connection).await)?;
            match row {
                None => return Ok(Revocation::Unknown),
                Some(Some(at)) => return Ok(Revocation::Already(at)),
                Some(None) => {}
            }
            within!(tx, connection => sqlx::query(REVOKE).bind(id).bind(now).execute(connection).await.map(|_| ()))?;
            let tokens: i64 = within!(tx, connection =>
                sqlx::query_scalar(LIVE_TOKENS).bind(id).bind(now).fetch_one(connection).await)?;
            tx.append_change(seq, ChangeKind::KeyRevoked, id, None).await?;
            Ok(Revocation::Done(tokens))
        })
    }

    /// Records when keys were last used.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record_api_key_uses(&self, uses: &[(String, Millis)]) -> Result<()> {
        const RECORD: &str = "UPDATE api_keys SET last_used_at = $2 \
            WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";
        // Replicas do this at the same time; updating in one order keeps them from deadlocking.
        let uses: BTreeMap<&str, Millis> = uses.iter().map(|(id, at)| (id.as_str(), *at)).collect();
        transaction!(@store self, tx => {
            for (id, at) in &uses {
                within!(tx, connection => sqlx::query(RECORD).bind(id).bind(at).execute(connection).await.map(|_| ()))?;
            }
            Ok(())
        })
    }
}
