//! API keys: `sk-let-`, 43 characters of randomness, 6 of checksum.

use std::fmt;

use rand::distr::{Alphanumeric, SampleString};
use zeroize::Zeroizing;

use super::sha256;
use crate::{clock::Millis, entropy, model::Project};

/// The prefix of every API key, as in the hosted service.
pub const PREFIX: &str = "sk-let-";

/// 43 characters out of 62 carry 256.03 bits.
const RANDOM_LENGTH: usize = 43;
const CHECKSUM_LENGTH: usize = 6;

/// The shortest and longest text after the prefix of a key that was made elsewhere.
const BODY_LENGTH: std::ops::RangeInclusive<usize> = 13..=249;

/// An API key in plain text. It is shown once; only its hash is stored.
pub struct PlainApiKey(Zeroizing<String>);

impl PlainApiKey {
    /// Makes a key.
    #[must_use]
    pub fn generate() -> Self {
        let mut key = Zeroizing::new(String::with_capacity(PREFIX.len() + RANDOM_LENGTH + CHECKSUM_LENGTH));
        key.push_str(PREFIX);
        Alphanumeric.append_string(&mut entropy::generator(), &mut key, RANDOM_LENGTH);
        let checksum = checksum(&key);
        key.push_str(&checksum);
        Self(key)
    }

    /// Takes a key that was made elsewhere.
    ///
    /// # Errors
    /// When the text cannot be an API key.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if is_well_formed(text) {
            Ok(Self(Zeroizing::new(text.to_owned())))
        } else {
            Err("must be 'sk-let-' and 13 to 249 characters of A-Z, a-z, 0-9, '-', '.', '_' and '~'")
        }
    }

    /// The key in plain text.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The only form that is stored.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        sha256(self.0.as_bytes())
    }
}

impl fmt::Debug for PlainApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainApiKey(..)")
    }
}

/// An API key that was looked up and found.
#[derive(Debug)]
pub struct VerifiedKey {
    /// Its id.
    pub id: Box<str>,
    /// The only project it may use; `None` for a key that may use every project.
    pub project: Option<Project>,
    /// When it expires; `None` for a key that does not.
    pub expires_at: Option<Millis>,
}

/// Whether a bearer has the form of an API key. What does not is never looked up.
#[must_use]
pub fn is_well_formed(bearer: &str) -> bool {
    bearer.strip_prefix(PREFIX).is_some_and(|body| {
        BODY_LENGTH.contains(&body.len())
            && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
    })
}

/// Whether a key has the length of a generated key but a wrong checksum: most likely it is mistyped. This only affects
/// the error's wording.
#[must_use]
pub fn looks_mistyped(key: &str) -> bool {
    key.len() == PREFIX.len() + RANDOM_LENGTH + CHECKSUM_LENGTH
        && key.is_char_boundary(key.len() - CHECKSUM_LENGTH)
        && checksum(&key[..key.len() - CHECKSUM_LENGTH]) != key[key.len() - CHECKSUM_LENGTH..]
}

/// CRC-32 (ISO-HDLC) of all that precedes it, in base 62, most significant digit first.
fn checksum(key: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rest = crc32fast::hash(key.as_bytes()) as usize;
    let mut digits = ['0'; CHECKSUM_LENGTH];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[rest % 62] as char;
        rest /= 62;
    }
    digits.iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_well_formed_unique_and_carries_its_checksum() {
        let (one, two) = (PlainApiKey::generate(), PlainApiKey::generate());
        assert_ne!(one.reveal(), two.reveal());
        assert_eq!(one.reveal().len(), 56);
        assert!(is_well_formed(one.reveal()) && !looks_mistyped(one.reveal()));
        let mut typo = one.reveal().to_owned();
        let other = if typo.as_bytes()[20] == b'x' { "y" } else { "x" };
        typo.replace_range(20..21, other);
        assert!(looks_mistyped(&typo));
    }

    #[test]
    fn only_what_could_be_a_key_is_looked_up() {
        let long = |n: usize| format!("sk-let-{}", "a".repeat(n));
        for (text, expected) in [
            (long(13), true),
            (long(249), true),
            (long(12), false),
            (long(250), false),
            ("sk-let-".into(), false),
            ("SK-LET-aaaaaaaaaaaaaaaa".into(), false),
            ("sk-let-aaaaaaaaaaaa' OR 1=1".into(), false),
            (format!("sk-let-{}ü", "a".repeat(13)), false),
        ] {
            assert_eq!(is_well_formed(&text), expected, "{text}");
            assert!(!looks_mistyped(&text) || text.len() == 56);
        }
    }

    #[test]
    fn a_key_never_shows_in_debug_output() {
        let key = PlainApiKey::generate();
        assert!(!format!("{key:?}").contains(&key.reveal()[7..]));
    }
}
