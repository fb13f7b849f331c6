//! Lists, in pages.

pub(in crate::mock) mod cursor;
pub(in crate::mock) mod list;
