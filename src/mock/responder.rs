//! What stands in for the model: something that answers what was said, the same way every time.

use super::records::{Message, Part, Role};

/// Answers what was said. One call is one model step.
pub(super) trait Responder: Send + Sync + 'static {
    /// The next step of a turn.
    fn respond(&self, situation: &Situation<'_>) -> Answer;
}

/// What a responder sees.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation<'a> {
    /// What was said in this turn so far, oldest first.
    pub(super) said: &'a [Message],
}

/// What a responder says in one step: parts that become one stored message. Text and reasoning are all there is so far;
/// a step that only says something ends its turn.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// What is said, in order.
    pub(super) parts: Vec<Part>,
}

/// The default responder: repeats what the user said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Echo {
    /// Whether it says first what it is going to do.
    pub(super) reasoning: bool,
}

impl Responder for Echo {
    fn respond(&self, situation: &Situation<'_>) -> Answer {
        let of_user = situation.said.iter().rev().find(|message| message.role == Role::User);
        let text = of_user.or(situation.said.last()).map(Message::text).unwrap_or_default();
        let mut parts = Vec::new();
        if self.reasoning {
            parts.push(Part::Reasoning { is_native: true, reasoning: thought(&text), signature: None });
        }
        parts.push(Part::text(format!("Echo: {text}")));
        Answer { parts }
    }
}

/// What the default responder thinks of a text.
fn thought(text: &str) -> String {
    const QUOTED: usize = 60;
    let characters = text.chars().count();
    let quote: String = text.chars().take(QUOTED).collect();
    let rest = if characters > QUOTED { "..." } else { "" };
    let plural = if characters == 1 { "" } else { "s" };
    format!(
        "The message is {characters} character{plural} long and begins with \"{quote}{rest}\". I will repeat it as it is."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::records::Timestamp;

    fn said(role: Role, text: &str) -> Message {
        Message {
            id: "message-1".into(),
            role,
            content: vec![Part::text(text)],
            created_at: Timestamp::now(),
            name: None,
            otid: None,
            sender_id: None,
            group_id: None,
            batch_item_id: None,
            step_id: None,
            run_id: None,
        }
    }

    #[test]
    fn the_last_thing_the_user_said_is_repeated() {
        let said = [said(Role::User, "one"), said(Role::User, "two"), said(Role::System, "three")];
        let answer = Echo { reasoning: false }.respond(&Situation { said: &said });
        assert_eq!(answer.parts, [Part::text("Echo: two")]);
        let with_reasoning = Echo { reasoning: true }.respond(&Situation { said: &said });
        assert!(matches!(with_reasoning.parts.as_slice(), [Part::Reasoning { .. }, Part::Text { .. }]));
    }

    #[test]
    fn a_thought_is_a_function_of_the_text_and_short() {
        assert_eq!(thought("Hello"), thought("Hello"));
        assert!(thought(&"ä".repeat(1_000_000)).chars().count() < 200);
    }
}
