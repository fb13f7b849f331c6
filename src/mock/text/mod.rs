//! Texts: searching words, estimating tokens, embedding, and showing a window of lines.

pub(in crate::mock) mod embedding;
pub(in crate::mock) mod terms;
pub(in crate::mock) mod tokens;
pub(in crate::mock) mod window;

/// The texts in order, without repetitions.
pub(in crate::mock) fn without_repeats(texts: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    texts.into_iter().filter(|text| seen.insert(text.clone())).collect()
}
