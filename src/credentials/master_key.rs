//! The master key, which seals signing keys at rest. It is never stored in the database.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    hmac,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::entropy;

/// 256 bits; written as 43 characters of base64url.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

/// The sealed bytes were not sealed under this master key, or were altered.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the master key does not open the stored signing keys")]
pub struct WrongMasterKey;

impl MasterKey {
    /// Generates a key.
    #[must_use]
    pub fn generate() -> Self {
        Self(Zeroizing::new(entropy::bytes()))
    }

    /// Reads a key as `gatelet keygen` writes it. Surrounding white space is ignored.
    ///
    /// # Errors
    /// When it is not 32 bytes in base64url.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut key = Zeroizing::new([0; 32]);
        let text = text.trim().trim_end_matches('=');
        let length = BASE64_URL_SAFE_NO_PAD.decode_slice(text, key.as_mut_slice());
        if length == Ok(32) { Ok(Self(key)) } else { Err("must be 32 bytes in base64url; `gatelet keygen` makes one") }
    }

    /// The text form.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(self.0.as_slice()))
    }

    /// Encrypts with AES-256-GCM under a random nonce, with `context` as associated data.
    ///
    /// # Panics
    /// Never: the key has the length that the cipher needs, and the text is short.
    #[must_use]
    pub fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        let mut text = plain.to_vec();
        #[expect(clippy::expect_used, reason = "a 32-byte key and a short text cannot fail")]
        let nonce = self
            .cipher()
            .seal_in_place_append_tag(Aad::from(context.as_bytes()), &mut text)
            .expect("AES-256-GCM seals a short text");
        let mut sealed = nonce.as_ref().to_vec();
        sealed.append(&mut text);
        sealed
    }

    /// Decrypts the result of [`MasterKey::seal`].
    ///
    /// # Errors
    /// When it was sealed under another key or context, or altered.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, WrongMasterKey> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or(WrongMasterKey)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| WrongMasterKey)?;
        let mut text = Zeroizing::new(text.to_vec());
        let length = self
            .cipher()
            .open_in_place(nonce, Aad::from(context.as_bytes()), &mut text)
            .map_err(|_| WrongMasterKey)?
            .len();
        text.truncate(length);
        Ok(text)
    }

    /// A message authentication code (HMAC-SHA-256), under a key that is derived from this one for `purpose` alone.
    #[must_use]
    pub(super) fn authenticate(&self, purpose: &str, message: &[u8]) -> [u8; 32] {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, self.0.as_slice()), purpose.as_bytes());
        let code = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()), message);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(code.as_ref());
        bytes
    }

    fn cipher(&self) -> RandomizedNonceKey {
        #[expect(clippy::expect_used, reason = "the key has the cipher's length by its type")]
        RandomizedNonceKey::new(&AES_256_GCM, self.0.as_slice()).expect("AES-256 takes 32 bytes")
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_under_the_same_key_and_context_only() {
        let key = MasterKey::parse(&MasterKey::generate().reveal()).unwrap();
        let sealed = key.seal("kid-1", b"private");
        assert_eq!(key.open("kid-1", &sealed).unwrap().as_slice(), b"private");
        assert!(key.open("kid-2", &sealed).is_err());
        assert!(MasterKey::generate().open("kid-1", &sealed).is_err());
        for index in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[index] ^= 1;
            assert!(key.open("kid-1", &altered).is_err());
            assert!(key.open("kid-1", &sealed[..index]).is_err());
        }
    }

    #[test]
    fn a_code_depends_on_key_purpose_and_message() {
        let key = MasterKey::generate();
        let code = key.authenticate("a", b"m");
        assert_eq!(key.authenticate("a", b"m"), code);
        for other in
            [key.authenticate("b", b"m"), key.authenticate("a", b"n"), MasterKey::generate().authenticate("a", b"m")]
        {
            assert_ne!(other, code);
        }
    }

    #[test]
    fn a_master_key_of_another_length_is_refused() {
        for text in ["", "short", &"A".repeat(42), &"A".repeat(44), "not base64 at all, but of some length!!!!!!!"] {
            assert!(MasterKey::parse(text).is_err(), "{text}");
        }
    }
}
