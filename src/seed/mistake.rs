//! Why a seed cannot be applied.

use std::fmt;

use crate::error::{ApiError, Code};

/// Why a seed cannot be applied.
#[derive(Debug)]
pub(crate) enum SeedError {
    /// The seed is wrong.
    Mistake(Mistake),
    /// The seed is not to blame, such as when the database fails.
    Failed(ApiError),
}

/// A mistake in a seed.
#[derive(Debug)]
pub(crate) struct Mistake {
    /// Where and what, in one sentence.
    pub(super) sentence: String,
    /// A JSON pointer, or `line 5`.
    pub(super) at: String,
}

impl From<Mistake> for SeedError {
    fn from(mistake: Mistake) -> Self {
        Self::Mistake(mistake)
    }
}

impl From<ApiError> for SeedError {
    fn from(error: ApiError) -> Self {
        Self::Failed(error)
    }
}

impl From<SeedError> for ApiError {
    fn from(error: SeedError) -> Self {
        match error {
            SeedError::Mistake(Mistake { sentence, at }) => Self::new(Code::SeedInvalid, sentence).at(at),
            SeedError::Failed(error) => error,
        }
    }
}

impl fmt::Display for SeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mistake(mistake) => f.write_str(&mistake.sentence),
            Self::Failed(error) => f.write_str(error.message()),
        }
    }
}

impl std::error::Error for SeedError {}
