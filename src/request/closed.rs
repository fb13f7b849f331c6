//! Reading values whose fields are a closed set, with the place of a mistake.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

/// Why a value cannot be read.
#[derive(Debug)]
pub(crate) struct Mistake {
    /// Where: a JSON pointer (RFC 6901).
    pub(crate) at: String,
    /// What is wrong there.
    pub(crate) problem: String,
}

/// Reads a value into `T`.
///
/// # Errors
/// What is wrong, and where.
pub(crate) fn read<T: DeserializeOwned>(value: Value) -> Result<T, Mistake> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| Mistake { at: pointer(error.path()), problem: error.inner().to_string() })
}

/// A path of serde's as a JSON pointer.
fn pointer(path: &Path) -> String {
    path.iter().fold(String::new(), |pointer, segment| match segment {
        Segment::Seq { index } => format!("{pointer}/{index}"),
        Segment::Map { key } => format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { .. } | Segment::Unknown => pointer,
    })
}
