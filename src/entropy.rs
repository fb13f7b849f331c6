//! The only source of randomness and of ids. Secrets come from the operating system's generator, always. Ids are random, or
//! derived where the current world says so.

use rand::{TryRng, rngs::SysRng};
use uuid::{Builder, Uuid};

use crate::world;

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

/// Sixteen bytes that are no secret, for what is shown and has no id, such as names: as ids are made in this world.
#[must_use]
pub(crate) fn public_bytes(kind: &str) -> [u8; 16] {
    world::draw_bytes(kind).unwrap_or_else(bytes)
}

/// `<prefix>-<uuid4>`, the shape of every Letta id.
#[must_use]
pub(crate) fn letta_id(prefix: &str) -> String {
    format!("{prefix}-{}", uuid4(prefix).as_hyphenated())
}

/// An id without a prefix (UUID version 4, RFC 9562), the shape of the hosted service's own ids.
#[must_use]
pub(crate) fn uuid() -> String {
    uuid4("").as_hyphenated().to_string()
}

fn uuid4(kind: &str) -> Uuid {
    match world::draw(kind) {
        None => Uuid::new_v4(),
        // The parts of a message have ids of their own, which differ from the message's in the last digit.
        Some(world::Drawn { number: Some(number), .. }) if kind == "message" => counted(number.saturating_mul(10)),
        Some(world::Drawn { number: Some(number), .. }) => counted(number),
        Some(world::Drawn { bytes, number: None }) => Builder::from_random_bytes(bytes).into_uuid(),
    }
}

/// `00000000-0000-4000-8000-000000000012` for 12: people read such ids, so the digits are decimal.
fn counted(mut number: u64) -> Uuid {
    let mut digits: u128 = 0;
    for place in 0..12 {
        digits |= u128::from(number % 10) << (4 * place);
        number /= 10;
    }
    Uuid::from_u128(0x0000_0000_0000_4000_8000_0000_0000_0000 | digits)
}

/// The id of a client token that is issued at this time, in milliseconds since the Unix epoch: time-ordered (UUID version
/// 7, RFC 9562).
#[must_use]
pub(crate) fn token_id(issued_at: i64) -> Uuid {
    match world::draw("token") {
        None => Uuid::now_v7(),
        Some(world::Drawn { bytes, number }) => {
            let mut random = [0; 10];
            random.copy_from_slice(&bytes[..10]);
            if let Some(number) = number {
                random[2..].copy_from_slice(&number.to_be_bytes());
            }
            Builder::from_unix_timestamp_millis(issued_at.unsigned_abs(), &random).into_uuid()
        }
    }
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
