//! API keys: `sk-let-`, 43 characters of randomness, 6 of checksum.
//!
//! The key of a namespace of the mock is a test key: `sk-let-test`, as much randomness, and a checksum that no other key
//! has. So everything else can refuse it by its form.

use std::fmt;

use rand::distr::{Alphanumeric, SampleString};
use zeroize::Zeroizing;

use super::sha256;
use crate::{clock::Millis, entropy, model::Project};

/// The prefix of every API key, as in the hosted service.
pub const PREFIX: &str = "sk-let-";

/// The prefix of every test key. Other keys may have it as well.
const TEST_PREFIX: &str = "sk-let-test";

/// What the checksum of a test key covers before the key.
const TEST_DOMAIN: &[u8] = b"gatelet test key:";

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
        Self::random(PREFIX, b"")
    }

    /// Makes a test key, for a namespace of the mock.
    #[must_use]
    pub fn generate_test() -> Self {
        Self::random(TEST_PREFIX, TEST_DOMAIN)
    }

    fn random(prefix: &str, domain: &[u8]) -> Self {
        let mut key = Zeroizing::new(String::with_capacity(prefix.len() + RANDOM_LENGTH + CHECKSUM_LENGTH));
        key.push_str(prefix);
        Alphanumeric.append_string(&mut entropy::generator(), &mut key, RANDOM_LENGTH);
        let checksum = checksum(domain, &key);
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

    /// Takes a key for the server itself that was made elsewhere.
    ///
    /// # Errors
    /// When the text cannot be an API key, or is a test key.
    pub fn parse_for_server(text: &str) -> Result<Self, &'static str> {
        if is_test(text) {
            return Err(
                "must not be a test key, which only namespaces of a mock have; leave it out, or run `gatelet keys create`",
            );
        }
        Self::parse(text)
    }

    /// Takes a test key that was made elsewhere.
    ///
    /// # Errors
    /// When the text is not a test key.
    pub fn parse_test(text: &str) -> Result<Self, &'static str> {
        if is_test(text) {
            Ok(Self(Zeroizing::new(text.to_owned())))
        } else {
            Err("must be a test key, 'sk-let-test...', with its checksum; `gatelet keygen --test-key` makes one")
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

/// Whether a bearer is a test key, by its form alone: prefix, length and checksum.
#[must_use]
pub fn is_test(bearer: &str) -> bool {
    bearer.starts_with(TEST_PREFIX)
        && is_well_formed(bearer)
        && has_generated_length(bearer, TEST_PREFIX)
        && has_checksum(bearer, TEST_DOMAIN)
}

/// Whether a key has the length of a generated key but a wrong checksum: most likely it is mistyped. This only affects
/// the error's wording.
#[must_use]
pub fn looks_mistyped(key: &str) -> bool {
    has_generated_length(key, PREFIX) && !has_checksum(key, b"")
        || key.starts_with(TEST_PREFIX) && has_generated_length(key, TEST_PREFIX) && !has_checksum(key, TEST_DOMAIN)
}

fn has_generated_length(key: &str, prefix: &str) -> bool {
    key.len() == prefix.len() + RANDOM_LENGTH + CHECKSUM_LENGTH && key.is_char_boundary(key.len() - CHECKSUM_LENGTH)
}

/// Whether a key ends in its checksum. The key has a generated key's length.
fn has_checksum(key: &str, domain: &[u8]) -> bool {
    let (covered, written) = key.split_at(key.len() - CHECKSUM_LENGTH);
    checksum(domain, covered) == written
}

/// CRC-32 (ISO-HDLC) of the domain and all that precedes it, in base 62, most significant digit first.
fn checksum(domain: &[u8], key: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(domain);
    hasher.update(key.as_bytes());
    let mut rest = hasher.finalize() as usize;
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
    fn a_test_key_is_told_by_its_form_and_no_other_key_has_it() {
        let key = PlainApiKey::generate_test();
        assert_eq!((key.reveal().len(), is_well_formed(key.reveal())), (60, true));
        assert!(key.reveal().starts_with("sk-let-test") && is_test(key.reveal()) && !looks_mistyped(key.reveal()));
        assert!(PlainApiKey::parse_test(key.reveal()).is_ok() && PlainApiKey::parse_for_server(key.reveal()).is_err());
        let ordinary = PlainApiKey::generate();
        assert!(!is_test(ordinary.reveal()) && PlainApiKey::parse_test(ordinary.reveal()).is_err());
        let mut typo = key.reveal().to_owned();
        let other = if typo.as_bytes()[20] == b'x' { "y" } else { "x" };
        typo.replace_range(20..21, other);
        assert!(!is_test(&typo) && looks_mistyped(&typo));
        // A key that was made elsewhere may begin alike, even with the checksum that other keys have.
        let alike = format!("sk-let-test{}", "a".repeat(RANDOM_LENGTH));
        for text in ["sk-let-test-0123456789", &alike, &(alike.clone() + &checksum(b"", &alike))] {
            assert!(!is_test(text) && PlainApiKey::parse_for_server(text).is_ok(), "{text}");
        }
        assert!(is_test(&(alike.clone() + &checksum(TEST_DOMAIN, &alike))));
        for text in [format!("sk-let-test{}ü", "a".repeat(47)), format!("sk-let-test{}", "ü".repeat(24) + "a")] {
            assert!(!is_test(&text), "{text}");
        }
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
