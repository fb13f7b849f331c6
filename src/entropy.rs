//! The only source of randomness: secrets from the operating system's generator, and ids.

use rand::{TryRng, rngs::SysRng};
use uuid::Uuid;

/// Fills an array from the operating system's generator.
///
/// # Panics
/// When the operating system provides no randomness: no secret may be made then.
#[must_use]
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(clippy::expect_used, reason = "without randomness no secret may be made, and no caller could do better")]
    SysRng.try_fill_bytes(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// `<prefix>-<uuid4>`, the shape of every Letta id.
#[must_use]
pub(crate) fn letta_id(prefix: &str) -> String {
    format!("{prefix}-{}", Uuid::new_v4().as_hyphenated())
}

/// A random id without a prefix (UUID version 4, RFC 9562), the shape of the hosted service's own ids.
#[must_use]
pub(crate) fn uuid() -> String {
    Uuid::new_v4().as_hyphenated().to_string()
}

/// A time-ordered id (UUID version 7, RFC 9562), for our own records.
#[must_use]
pub(crate) fn time_ordered_id() -> Uuid {
    Uuid::now_v7()
}

/// 128 random bits from this thread's own generator, which takes no system call. Not for secrets.
#[must_use]
pub(crate) fn unguessable_number() -> u128 {
    rand::random()
}

/// The operating system's generator as an `Rng` of the rand crate.
///
/// # Panics
/// As [`bytes`].
pub(crate) fn generator() -> impl rand::Rng {
    rand::rand_core::UnwrapErr(SysRng)
}
