//! Texts: excerpts, words found in them, their estimated tokens, their vectors, and a window on their lines.

pub(in crate::mock) mod embedding;
pub(in crate::mock) mod excerpt;
pub(in crate::mock) mod search;
pub(in crate::mock) mod tokens;
pub(in crate::mock) mod window;
