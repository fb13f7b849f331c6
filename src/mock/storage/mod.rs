//! How the mock reads and writes what it stores: as one caller sees it, and within transactions.

pub(in crate::mock) mod documents;
pub(in crate::mock) mod project_scope;
pub(in crate::mock) mod relations;
