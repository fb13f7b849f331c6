//! Failures of the database, distinguished by what a caller can do about them.

use thiserror::Error;

use crate::error::ApiError;

/// A database failure.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database cannot be reached or cannot serve at the moment. A retry may succeed.
    #[error("the database cannot be reached: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// Other transactions were in the way. A retry may succeed in a moment.
    #[error("other transactions were in the way: {0}")]
    Contended(String),
    /// What was requested is larger than this many bytes.
    #[error("more than {0} bytes are asked for at once")]
    TooMuch(usize),
    /// The disk is full. Reads still work.
    #[error("the disk of the database is full: {0}")]
    Full(#[source] sqlx::Error),
    /// A row is not what this program wrote. A retry fails as well.
    #[error("the database holds what this version cannot read: {0}")]
    Inconsistent(String),
}

impl StoreError {
    /// The failure of a database that cannot be reached.
    pub(crate) fn away() -> Self {
        Self::Unavailable(sqlx::Error::PoolClosed)
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::RowNotFound
            | sqlx::Error::TypeNotFound { .. } => Self::Inconsistent(error.to_string()),
            sqlx::Error::Database(ref database) if is_contention(database.code().as_deref()) => {
                Self::Contended(error.to_string())
            }
            _ if is_full(&error) => Self::Full(error),
            _ => Self::Unavailable(error),
        }
    }
}

/// Whether a database ended a statement because of other transactions. PostgreSQL: a serialization failure, a deadlock,
/// or a unique key that another transaction has just taken. SQLite: the lock was held for too long (`SQLITE_BUSY`),
/// possibly by a process that recovers, or what was read has changed.
fn is_contention(code: Option<&str>) -> bool {
    matches!(code, Some("40001" | "40P01" | "23505" | "5" | "261" | "517"))
}

/// Whether the disk was full: `SQLITE_FULL` and its extended codes, or PostgreSQL's `disk_full`.
fn is_full(error: &sqlx::Error) -> bool {
    const SQLITE_FULL: u32 = 13;
    const SQLITE_IOERR_SHMSIZE: u32 = 4874;
    const DISK_FULL: &str = "53100";
    let Some(code) = error.as_database_error().and_then(sqlx::error::DatabaseError::code) else { return false };
    // An SQLSTATE has five characters; no result code of SQLite has.
    if code.len() == DISK_FULL.len() {
        return code == DISK_FULL;
    }
    code.parse().is_ok_and(|code: u32| code & 0xff == SQLITE_FULL || code == SQLITE_IOERR_SHMSIZE)
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::store_unavailable(error),
            StoreError::Contended(_) => Self::store_busy(error),
            StoreError::TooMuch(limit) => Self::answer_too_large(limit),
            StoreError::Full(_) => Self::store_full(error),
            StoreError::Inconsistent(_) => Self::internal(error),
        }
    }
}
