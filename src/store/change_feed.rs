//! The feed of changes that every process must learn of: an append-only log, numbered in commit order.
//!
//! A process learns of changes by reading what follows the last number it has seen. On PostgreSQL a notification tells
//! it when to read.

use sqlx::postgres::PgListener;

use super::{Engine, Result, Store, StoreError, Tx, reading, transaction::Open, within};
use crate::clock::Millis;

const CHANNEL: &str = "gatelet_changes";

/// What happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChangeKind {
    /// A client token was revoked; the subject is its id.
    TokenRevoked,
    /// An API key was revoked; the subject is its id.
    KeyRevoked,
    /// A signing key was added; the subject is its id.
    SigningKeysChanged,
}

impl ChangeKind {
    const fn word(self) -> &'static str {
        match self {
            Self::TokenRevoked => "token_revoked",
            Self::KeyRevoked => "key_revoked",
            Self::SigningKeysChanged => "signing_keys_changed",
        }
    }

    fn parse(word: &str) -> Result<Self> {
        [Self::TokenRevoked, Self::KeyRevoked, Self::SigningKeysChanged]
            .into_iter()
            .find(|kind| kind.word() == word)
            .ok_or_else(|| StoreError::Inconsistent(format!("changes.kind is {word:?}")))
    }
}

/// One entry of the feed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// Its number; numbers ascend in commit order and may have gaps.
    pub seq: i64,
    /// What happened.
    pub kind: ChangeKind,
    /// The id of what it happened to.
    pub subject: String,
    /// When it no longer matters, by a correct clock.
    pub expires_at: Option<Millis>,
}

impl Tx {
    /// Takes the lock that orders all changes. A transaction that decides on what the feed describes takes it first.
    pub(super) async fn lock_changes(&mut self) -> Result<i64> {
        const NEXT: &str = "UPDATE change_head SET seq = seq + 1 WHERE singleton = 1 RETURNING seq";
        Ok(within!(self, connection => sqlx::query_scalar(NEXT).fetch_one(connection).await)?)
    }

    /// Appends a change under the number that [`Tx::lock_changes`] gave.
    pub(super) async fn append_change(
        &mut self,
        seq: i64,
        kind: ChangeKind,
        subject: &str,
        expires_at: Option<Millis>,
    ) -> Result<()> {
        const APPEND: &str = "INSERT INTO changes (seq, kind, subject, expires_at) VALUES ($1, $2, $3, $4)";
        within!(self, connection => sqlx::query(APPEND)
            .bind(seq).bind(kind.word()).bind(subject).bind(expires_at)
            .execute(connection).await.map(|_| ()))?;
        if let Open::Postgres(tx) = &mut self.open {
            sqlx::query("SELECT pg_notify($1, '')").bind(CHANNEL).execute(&mut **tx).await?;
        }
        Ok(())
    }
}

impl Store {
    /// The changes after number `seen`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn changes_after(&self, seen: i64, limit: i64) -> Result<Vec<Change>> {
        const AFTER: &str = "SELECT seq, kind, subject, expires_at FROM changes \
            WHERE seq > $1 ORDER BY seq LIMIT $2";
        let rows: Vec<(i64, String, String, Option<Millis>)> = reading!(self, pool =>
            sqlx::query_as(AFTER).bind(seen).bind(limit).fetch_all(pool).await)?;
        rows.into_iter()
            .map(|(seq, kind, subject, expires_at)| {
                Ok(Change { seq, kind: ChangeKind::parse(&kind)?, subject, expires_at })
            })
            .collect()
    }

    /// Listens for notifications that something changed. SQLite has none: there, waiting never ends.
    ///
    /// # Errors
    /// When the database does not take another connection.
    pub async fn listen(&self) -> Result<Listener> {
        match &self.engine {
            Engine::Postgres(pool) => {
                let mut listener = PgListener::connect_with(pool).await?;
                listener.listen(CHANNEL).await?;
                Ok(Listener(Some(listener)))
            }
            Engine::Sqlite { .. } => Ok(Listener(None)),
        }
    }
}

/// Waits for notifications.
#[derive(Debug)]
pub struct Listener(Option<PgListener>);

impl Listener {
    /// Returns at the next notification.
    ///
    /// # Errors
    /// When the connection is lost; the caller has to listen again.
    pub async fn wait(&mut self) -> Result<()> {
        match &mut self.0 {
            // `None`: the connection was lost, and the next call makes a new one. A notification may have been missed.
            Some(listener) => listener.try_recv().await.map(|_| ()).map_err(Into::into),
            None => std::future::pending().await,
        }
    }
}
