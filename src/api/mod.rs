//! Gatelet's own endpoints, which a plain Letta server does not have.

pub(crate) mod client_side_access_tokens;
pub mod issuer;

pub use issuer::{Issuer, TokenRequest};
