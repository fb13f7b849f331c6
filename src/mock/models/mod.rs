//! Models: the catalogue, and which of them reason.

pub(in crate::mock) mod catalogue;
pub(in crate::mock) mod reasoning;
