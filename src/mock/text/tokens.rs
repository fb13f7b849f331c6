//! Estimated token counts, so that usage is plausible and deterministic.

/// About four characters per token, at least one.
pub(in crate::mock) fn estimate(text: &str) -> i64 {
    const CHARACTERS_PER_TOKEN: usize = 4;
    i64::try_from(text.chars().count().div_ceil(CHARACTERS_PER_TOKEN)).unwrap_or(i64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::estimate;

    #[test]
    fn estimates_grow_with_the_text() {
        assert_eq!(["", "a", "abcd", "abcde", "äöüß"].map(estimate), [1, 1, 1, 2, 1]);
    }
}
