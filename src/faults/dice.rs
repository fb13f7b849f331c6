//! Chance that is the same in every run.

use std::fmt::Write;

use crate::credentials::sha256;

/// Numbers that look random and are the same in every run: those of one request's fault.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// Those of the request with this number, of a fault, in a namespace with this seed.
    pub(super) fn of(seed: &str, fault: &str, number: u64) -> Self {
        let mut text = String::with_capacity(seed.len() + fault.len() + 24);
        let _ = write!(text, "{seed}\n{fault}\n{number}");
        let hash = sha256(text.as_bytes());
        Self(hash.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    /// The next number (splitmix64).
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A fraction from 0 up to, but not, 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit exactly")]
    pub(super) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number from the first to the second.
    pub(super) fn between(&mut self, first: usize, last: usize) -> usize {
        let span = last.saturating_sub(first) as u64 + 1;
        first + usize::try_from(self.next() % span).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_the_same_in_every_run_and_fair() {
        let rolls = |seed: &str| (1..=1_000).map(|n| Dice::of(seed, "f", n).fraction()).collect::<Vec<f64>>();
        assert_eq!(rolls("a"), rolls("a"));
        assert_ne!(rolls("a"), rolls("b"));
        let hits = rolls("a").iter().filter(|roll| **roll < 0.2).count();
        assert!((150..250).contains(&hits), "{hits}");
        let mut dice = Dice::of("a", "f", 1);
        let drawn: Vec<usize> = (0..200).map(|_| dice.between(1, 3)).collect();
        assert!(drawn.iter().all(|n| (1..=3).contains(n)) && (1..=3).all(|n| drawn.contains(&n)));
    }
}
