//! The steps of a decision, for those who look into it: what was asked, and the result with both values.

use std::{borrow::Cow, fmt::Write, time::Duration};

use serde::Serialize;

use crate::{credentials::in_text::without_credentials, model::AccessSet};

/// One step of a decision.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Step {
    /// What was asked, in one word or two.
    pub asked: &'static str,
    /// The result: what was sent, and what is bound, granted or needed. Of a refusal also its sentence.
    pub said: String,
}

/// Whether a request is admitted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It is handled; the handler may still respond with an error.
    Admitted,
    /// It is refused before it is handled.
    Denied,
}

impl Outcome {
    /// Every outcome.
    pub(crate) const ALL: [Self; 2] = [Self::Admitted, Self::Denied];

    /// The word on the wire.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Denied => "denied",
        }
    }
}

/// How many items of a list a step shows.
const MOST_SHOWN: usize = 10;

impl Step {
    /// A step. Credentials in the text are cut short.
    pub(crate) fn new(asked: &'static str, said: String) -> Self {
        Self { asked, said: clean(said) }
    }
}

/// A text in which nothing remains of a credential but its prefix.
pub(super) fn clean(text: String) -> String {
    match without_credentials(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(clean) => clean,
    }
}

/// What a caller sent, short enough to be repeated in a sentence.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(128).filter(|c| !c.is_control()).collect()
}

/// Items with commas between them, of a long list only the first.
pub(super) fn listed<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    let mut items = items.into_iter();
    let mut text = String::new();
    for item in items.by_ref().take(MOST_SHOWN) {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&shown(item.as_ref()));
    }
    let more = items.count();
    if more > 0 {
        // Writing to a String cannot fail.
        let _ = write!(text, " and {more} more");
    }
    if text.is_empty() { "nothing".into() } else { text }
}

/// The words of a set, with commas between them.
pub(super) fn words(set: AccessSet) -> String {
    listed(set.words().map(crate::model::Access::word))
}

/// The words that an operation needs, as the end of a sentence.
pub(super) fn is_needed(needed: AccessSet) -> String {
    let verb = if needed.words().nth(1).is_some() { "are" } else { "is" };
    format!("{} {verb} needed", words(needed))
}

/// A duration to the second, or to the millisecond if it is less than one: `4m59s`.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = Duration::from_secs(duration.as_secs());
    let rounded = if seconds.is_zero() { Duration::from_millis(u64::from(duration.subsec_millis())) } else { seconds };
    humantime::format_duration(rounded).to_string().replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Access;

    #[test]
    fn nothing_remains_of_a_credential() {
        for (said, shown) in [
            ("nothing secret", "nothing secret"),
            ("id ck-let-eyJ0.eyJp.c2ln, and", "id ck-let-..., and"),
            ("sk-let-abc_-9 and ck-let-x", "sk-let-... and ck-let-..."),
            ("(sk-let-...) or (ck-let-...)", "(sk-let-...) or (ck-let-...)"),
            ("ck-let-sk-let-abc", "ck-let-..."),
            ("sk-let-é", "sk-let-...é"),
            ("ck%2dlet%2DeyJ0.eyJp", "ck-let-..."),
            ("sk-let-", "sk-let-..."),
        ] {
            assert_eq!(Step::new("path", said.into()).said, shown);
        }
    }

    #[test]
    fn lists_and_durations_are_short() {
        assert_eq!(listed(["a", "b"]), "a, b");
        assert_eq!(listed((0..13).map(|n| n.to_string())), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 3 more");
        assert_eq!(listed(Vec::<String>::new()), "nothing");
        assert_eq!(is_needed(AccessSet::of(&[Access::ReadAgent])), "read_agent is needed");
        assert_eq!(
            is_needed(AccessSet::of(&[Access::ReadAgent, Access::ReadMessages])),
            "read_messages, read_agent are needed"
        );
        for (millis, text) in [(299_900, "4m59s"), (3_600_000, "1h"), (512, "512ms"), (0, "0s")] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }
}
