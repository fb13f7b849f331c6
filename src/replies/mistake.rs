//! Mistakes in definitions of replies.

use crate::{
    error::{ApiError, Code},
    request::toml,
};

/// A mistake in a definition.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Mistake {
    /// Where, as a JSON pointer.
    pub(super) pointer: String,
    /// What is wrong, without a full stop.
    pub(super) problem: String,
}

/// A mistake in a text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TextMistake {
    /// Where and what, in one sentence.
    pub(crate) sentence: String,
    /// A JSON pointer, or `line 5`.
    pub(crate) at: String,
}

impl Mistake {
    pub(crate) fn new(pointer: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), problem: problem.into() }
    }

    /// The mistake in a value that stands at `pointer` of a document.
    pub(crate) fn within(self, pointer: &str) -> Self {
        Self { pointer: format!("{pointer}{}", self.pointer), ..self }
    }

    /// The mistake as one of a text in TOML.
    pub(crate) fn in_toml(&self, text: &str) -> TextMistake {
        TextMistake::on_line(toml::line_of(text, &self.pointer).unwrap_or(1), &self.problem)
    }
}

impl TextMistake {
    pub(super) fn on_line(line: usize, problem: &str) -> Self {
        Self { sentence: format!("line {line}: {problem}"), at: format!("line {line}") }
    }
}

impl From<Mistake> for ApiError {
    fn from(Mistake { pointer, problem }: Mistake) -> Self {
        let place = if pointer.is_empty() { "/" } else { &pointer };
        Self::new(Code::ScriptInvalid, format!("{place}: {problem}.")).at(pointer)
    }
}

impl From<TextMistake> for ApiError {
    fn from(TextMistake { sentence, at }: TextMistake) -> Self {
        Self::new(Code::ScriptInvalid, format!("{sentence}.")).at(at)
    }
}
