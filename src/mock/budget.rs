//! Budgets: how many bytes of JSON a turn may produce, and a response may be made of. Code that builds a text whose size
//! depends on a request charges its bytes first, so a small request can neither take much memory nor store what is too
//! large to be read again.

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering},
};

use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use crate::error::{ApiError, Code};

/// The bytes that a turn may still produce, or that a response may still be made of.
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
    /// The budget of a turn, in bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, left: AtomicUsize::new(limit), code: Code::TurnTooLarge }
    }

    /// The budget of a response that is made of stored data, in bytes.
    pub(super) fn of_response(limit: usize) -> Self {
        Self { code: Code::AnswerTooLarge, ..Self::new(limit) }
    }

    /// Takes bytes from the budget, before they are allocated.
    ///
    /// # Errors
    /// If fewer are left.
    pub(super) fn charge(&self, bytes: usize) -> Result<(), Overspent> {
        let take = |left: usize| left.checked_sub(bytes);
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(()),
            Err(_) => Err(Overspent { limit: self.limit, code: self.code }),
        }
    }

    /// A separate budget with the rest of this one, for what is built and not kept.
    pub(super) fn draft(&self) -> Self {
        Self { limit: self.limit, left: AtomicUsize::new(self.left()), code: self.code }
    }

    /// How many bytes are left.
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

/// The length of a text in JSON, in bytes and without its quotes: one byte may become six.
pub(super) fn written_length(text: &str) -> usize {
    let length = |byte: u8| match byte {
        0x08 | 0x09 | 0x0a | 0x0c | 0x0d | b'"' | b'\\' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(length).sum()
}

/// The length of a value as JSON, in bytes, without writing it.
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
    // Neither counting nor keys that are strings can fail.
    let _ = serde_json::to_writer(&mut counter, value);
    counter.0
}

/// About how many bytes of memory a value takes. For many small values that is more than their text.
pub(super) fn value_weight(value: &Value) -> usize {
    const NODE: usize = 100;
    NODE + match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(value_weight).sum(),
        Value::Object(map) => map.iter().map(|(key, value)| NODE + key.len() + value_weight(value)).sum(),
        _ => 0,
    }
}

/// Runs work that may take long without delaying the other tasks of this thread. `size` is the number of bytes that the
/// work reads: below a threshold, moving the other tasks to another thread would cost more than it saves.
pub(super) fn offload<T>(size: usize, work: impl FnOnce() -> T) -> T {
    const THRESHOLD: usize = 16 * 1024;
    let can_block = || {
        tokio::runtime::Handle::try_current()
            .is_ok_and(|runtime| runtime.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread)
    };
    if size > THRESHOLD && can_block() { tokio::task::block_in_place(work) } else { work() }
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
        assert!(overspent(Budget::of_response(10)).contains("mock.answer_bytes"));
    }

    #[test]
    fn lengths_are_those_of_json() {
        for text in ["", "plain", "\"\\\n\r\t\u{8}\u{c}", "\0\u{1f}\u{7f}", "é😀"] {
            assert_eq!(written_length(text) + 2, json!(text).to_string().len(), "{text:?}");
            assert_eq!(json_length(&text), json!(text).to_string().len());
        }
    }
}
