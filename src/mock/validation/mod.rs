//! Reading and validating requests: bodies, queries, and uploaded forms.

pub(in crate::mock) mod body;
pub(in crate::mock) mod client_generation;
pub(in crate::mock) mod form;
pub(in crate::mock) mod query;
