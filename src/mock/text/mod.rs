//! Texts: excerpts, words found in them, their estimated tokens, their vectors, and a window on their lines.

pub(in crate::mock) mod embedding;
pub(in crate::mock) mod excerpt;
pub(in crate::mock) mod terms;
pub(in crate::mock) mod tokens;
pub(in crate::mock) mod window;

/// The texts in order, without repetitions.
pub(in crate::mock) fn without_repeats(texts: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    texts.into_iter().filter(|text| seen.insert(text.clone())).collect()
}
