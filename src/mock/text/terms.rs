//! Searching texts by words, in place of semantic search.

/// The terms of a query: its words, or all of it if it has none.
#[derive(Clone, Debug)]
pub(in crate::mock) struct Terms {
    words: Vec<String>,
    whole: String,
}

/// The most different words of a query: each is compared with every word of every text.
const MOST_WORDS: usize = 64;

/// Shorter words match only whole words.
const STEM: usize = 4;

impl Terms {
    /// Reads the terms of a query.
    pub(in crate::mock) fn of(query: &str) -> Self {
        let mut terms: Vec<String> = Vec::new();
        for word in words(query) {
            if terms.len() == MOST_WORDS {
                break;
            }
            if !terms.contains(&word) {
                terms.push(word);
            }
        }
        Self { words: terms, whole: query.trim().to_lowercase() }
    }

    /// How well a text matches, from 0 (no word) to 1 (every word). If one word is only a prefix of the other, it
    /// counts half: "like" matches "likes", but "likes" matches better.
    pub(in crate::mock) fn score(&self, text: &str) -> f64 {
        if self.words.is_empty() {
            return if text.to_lowercase().contains(&self.whole) { 1.0 } else { 0.0 };
        }
        let mut found = vec![0.0_f64; self.words.len()];
        for word in words(text) {
            for (term, score) in self.words.iter().zip(&mut found) {
                *score = score.max(likeness(term, &word));
            }
        }
        let found: f64 = found.iter().sum();
        #[expect(clippy::cast_precision_loss, reason = "a query has far fewer words")]
        let most = self.words.len() as f64;
        found / most
    }
}

fn likeness(term: &str, word: &str) -> f64 {
    if word == term {
        return 1.0;
    }
    let begins = word.starts_with(term) || term.starts_with(word);
    if begins && word.chars().count().min(term.chars().count()) >= STEM { 0.5 } else { 0.0 }
}

/// The distinct words of a query, up to the limit.
pub(in crate::mock) fn looked_for(query: &str) -> Vec<String> {
    Terms::of(query).words
}

/// The words of a text in lower case: the maximal runs of letters and digits.
pub(in crate::mock) fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

/// Whether a record has any, or all, of the wanted tags.
pub(in crate::mock) fn tagged<T: AsRef<str>>(present: &[String], wanted: &[T], all: bool) -> bool {
    let has = |tag: &T| present.iter().any(|present| present == tag.as_ref());
    wanted.is_empty() || if all { wanted.iter().all(has) } else { wanted.iter().any(has) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_fits_by_the_share_of_words_it_has() {
        for (query, text, expected) in [
            ("tea", "Sam likes tea.", 1.0),
            ("TEA", "sam likes Tea", 1.0),
            ("green tea", "Sam likes tea", 0.5),
            ("like", "Sam likes tea", 0.5),
            ("liked", "They like tea", 0.5),
            ("te", "Sam likes tea", 0.0),
            ("coffee", "Sam likes tea", 0.0),
            ("tea tea tea", "tea", 1.0),
            ("Über", "das ist über", 1.0),
            ("?!", "what?!", 1.0),
            ("?!", "what", 0.0),
            ("", "anything", 1.0),
        ] {
            assert!((Terms::of(query).score(text) - expected).abs() < f64::EPSILON, "{query}: {text}");
        }
    }

    #[test]
    fn tags_match_any_or_all() {
        let present = ["a".to_owned(), "b".to_owned()];
        for (wanted, any, all) in [
            (vec![], true, true),
            (vec!["a"], true, true),
            (vec!["a", "c"], true, false),
            (vec!["a", "b"], true, true),
            (vec!["c"], false, false),
        ] {
            assert_eq!((tagged(&present, &wanted, false), tagged(&present, &wanted, true)), (any, all), "{wanted:?}");
        }
    }
}
