//! Texts of callers, shortened to be quoted in errors.

/// The first 100 characters of a text.
pub(in crate::mock) fn excerpt(text: &str) -> String {
    text.chars().take(100).collect()
}
