//! What a turn may produce, in bytes as they are written. Whoever makes a text of a size that a request decides charges
//! its bytes first, so a small request cannot take much memory, nor store what nobody can read again.

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering},
};

use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use crate::error::{ApiError, Code};

/// What is left of the bytes that a turn may produce, or that an answer may be made of.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    left: AtomicUsize,
    code: Code,
}

/// The budget is spent.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("the budget of {limit} bytes is spent")]
pub(super) struct Overspent {
    limit: usize,
    code: Code,
}

impl Budget {
    /// That of a turn.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, left: AtomicUsize::new(limit), code: Code::TurnTooLarge }
    }

    /// That of an answer made of stored data.
    pub(super) fn of_answer(limit: usize) -> Self {
        Self { code: Code::AnswerTooLarge, ..Self::new(limit) }
    }

    /// Takes bytes out of the budget, before they are allocated.
    ///
    /// # Errors
    /// When fewer are left.
    pub(super) fn charge(&self, bytes: usize) -> Result<(), Overspent> {
        let take = |left: usize| left.checked_sub(bytes);
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(()),
            Err(_) => Err(Overspent { limit: self.limit, code: self.code }),
        }
    }

    /// A budget of its own with what is left of this one, for what is made and not kept.
    pub(super) fn draft(&self) -> Self {
        Self { limit: self.limit, left: AtomicUsize::new(self.left()), code: self.code }
    }

    pub(super) fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }
}

impl From<Overspent> for ApiError {
    fn from(Overspent { limit, code }: Overspent) -> Self {
        if code == Code::AnswerTooLarge {
            return Self::answer_too_large(limit);
        }
        let sentence = format!("This would produce more than {limit} bytes; ask for less, or raise mock.turn_bytes.");
        Self::letta(Code::TurnTooLarge, sentence).without_retry()
    }
}

/// How long a text is within JSON: one byte may become six.
pub(super) fn written_length(text: &str) -> usize {
    let length = |byte: u8| match byte {
        0x08 | 0x09 | 0x0a | 0x0c | 0x0d | b'"' | b'\\' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(length).sum()
}

/// How long a value is as JSON, without writing it.
pub(super) fn json_length(value: &impl Serialize) -> usize {
    struct Counter(usize);
    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    // Counting cannot fail, nor can keys that are texts.
    let _ = serde_json::to_writer(&mut counter, value);
    counter.0
}

/// About how much memory a value takes: many small ones take more than their texts.
pub(super) fn value_weight(value: &Value) -> usize {
    const NODE: usize = 100;
    NODE + match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(value_weight).sum(),
        Value::Object(map) => map.iter().map(|(key, value)| NODE + key.len() + value_weight(value)).sum(),
        _ => 0,
    }
}

/// Runs what may take long without keeping the requests of others waiting. `size` says how much there is to do, in bytes
/// that are looked at: for little of it, moving the others to another thread would cost more.
pub(super) fn aside<T>(size: usize, work: impl FnOnce() -> T) -> T {
    const MUCH: usize = 16 * 1024;
    let is_shared = || {
        tokio::runtime::Handle::try_current()
            .is_ok_and(|runtime| runtime.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread)
    };
    if size > MUCH && is_shared() { tokio::task::block_in_place(work) } else { work() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_budget_is_spent_once() {
        let budget = Budget::new(10);
        assert_eq!(budget.charge(6), Ok(()));
        assert_eq!(budget.draft().charge(4), Ok(()));
        assert_eq!(budget.charge(5), Err(Overspent { limit: 10, code: Code::TurnTooLarge }));
        assert_eq!((budget.left(), budget.charge(4), budget.left()), (4, Ok(()), 0));
        let overspent = |budget: Budget| ApiError::from(budget.charge(11).unwrap_err()).message().to_owned();
        assert!(overspent(Budget::new(10)).contains("mock.turn_bytes"));
        assert!(overspent(Budget::of_answer(10)).contains("mock.answer_bytes"));
    }

    #[test]
    fn lengths_are_those_of_json() {
        for text in ["", "plain", "\"\\\n\r\t\u{8}\u{c}", "\0\u{1f}\u{7f}", "é😀"] {
            assert_eq!(written_length(text) + 2, json!(text).to_string().len(), "{text:?}");
            assert_eq!(json_length(&text), json!(text).to_string().len());
        }
    }
}
