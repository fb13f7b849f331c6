//! Places in a body, and refusals that name them.

use std::fmt;

use serde_json::Value;

use super::denial::Denial;
use crate::error::ApiError;

/// A place in a body. It is formatted only for a refusal.
#[derive(Clone, Copy, Debug)]
pub(super) enum At<'a> {
    /// The body itself.
    Top,
    /// A field of an object.
    Field(&'a At<'a>, &'a str),
    /// An item of a list.
    Item(&'a At<'a>, usize),
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top => Ok(()),
            Self::Field(Self::Top, name) => f.write_str(name),
            Self::Field(object, name) => write!(f, "{object}.{name}"),
            Self::Item(list, index) => write!(f, "{list}[{index}]"),
        }
    }
}

/// The refusal of a field that a client token may not set.
pub(super) fn not_granted(field: &(impl ToString + ?Sized), hint: &'static str) -> Denial {
    Denial::FieldNotGranted { field: field.to_string(), hint }
}

/// The refusal of a value that is not what the field takes.
pub(super) fn malformed(kind: &str, at: At<'_>, problem: &str, input: &Value) -> ApiError {
    ApiError::validation(kind, &["body", &at.to_string()], problem, input)
}
