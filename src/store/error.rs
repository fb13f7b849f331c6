//! What can go wrong with the database, told apart by what a caller can do about it.

use thiserror::Error;

use crate::error::ApiError;

/// A database failure.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database cannot be reached or cannot serve at the moment; trying again may help.
    #[error("the database cannot be reached: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// Other transactions were in the way; the same may succeed in a moment.
    #[error("other transactions were in the way: {0}")]
    Contended(String),
    /// What is asked for is larger than this many bytes.
    #[error("more than {0} bytes are asked for at once")]
    TooMuch(usize),
    /// A row does not hold what this program wrote; trying again will not help.
    #[error("the database holds what this version cannot read: {0}")]
    Inconsistent(String),
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
            _ => Self::Unavailable(error),
        }
    }
}

/// Whether a database ended a statement because of other transactions. PostgreSQL: a serialization failure, a deadlock, or
/// another has just stored what was not there a moment ago. SQLite: its lock was held for too long (`SQLITE_BUSY`), also while another process recovers, or what was read had changed.
fn is_contention(code: Option<&str>) -> bool {
    matches!(code, Some("40001" | "40P01" | "23505" | "5" | "261" | "517"))
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::store_unavailable(error),
            StoreError::Contended(_) => Self::store_busy(error),
            StoreError::TooMuch(limit) => Self::answer_too_large(limit),
            StoreError::Inconsistent(_) => Self::internal(error),
        }
    }
}
