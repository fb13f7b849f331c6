//! Making and verifying credentials: API keys, client tokens, signing keys, the master key.

pub mod api_key;
pub mod client_token;
pub(crate) mod in_text;
pub mod keyring;
pub mod master_key;
pub mod signing_key;

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};

pub use api_key::{PlainApiKey, VerifiedKey};
pub use client_token::{Claims, ClientToken, InvalidToken};
pub use keyring::Keyring;
pub use master_key::MasterKey;
pub use signing_key::SigningKey;

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// The first four bytes of a credential's SHA-256: enough to find it in a log, useless as a credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fingerprint([u8; 4]);

impl Fingerprint {
    /// The fingerprint of a credential.
    #[must_use]
    pub fn of(credential: &str) -> Self {
        Self::of_hash(&sha256(credential.as_bytes()))
    }

    /// The fingerprint of a credential, from its SHA-256.
    #[must_use]
    pub fn of_hash(hash: &[u8; 32]) -> Self {
        Self([hash[0], hash[1], hash[2], hash[3]])
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}
