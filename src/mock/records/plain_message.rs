//! Stored messages written as clients see them, from one text to the other: what the wire shows as it is stored is copied
//! and never read. Plain messages take this way, which is most of them; [`Message::expand`] knows them all.
//!
//! [`Message::expand`]: super::Message::expand

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    message::{Role, otid},
    wire::MessageType,
};

/// What a plain message is stored as. A text that is borrowed has no escapes and is the same in JSON.
#[derive(Deserialize)]
struct Stored<'a> {
    id: &'a str,
    role: Role,
    #[serde(borrow)]
    content: Vec<StoredPart<'a>>,
    created_at: &'a str,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    otid: Option<&'a RawValue>,
    #[serde(borrow)]
    sender_id: Option<&'a RawValue>,
    #[serde(borrow)]
    step_id: Option<&'a RawValue>,
    #[serde(borrow)]
    run_id: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_returns: Option<&'a RawValue>,
    #[serde(borrow)]
    approvals: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct StoredPart<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    is_native: Option<bool>,
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    signature: Option<&'a RawValue>,
}

/// A message that is plain: every part of it is text or reasoning, and nothing is called, returned or decided.
pub(in crate::mock) struct PlainMessage<'a> {
    stored: Stored<'a>,
    /// The instant at which it was said, to the second.
    second: &'a str,
    parts: Vec<PlainPart<'a>>,
}

#[derive(Clone, Copy)]
enum PlainPart<'a> {
    Text(MessageType, &'a RawValue),
    Reasoning { source: &'static str, reasoning: &'a RawValue, signature: Option<&'a RawValue> },
}

impl<'a> PlainMessage<'a> {
    /// Reads what is stored; none: it is not plain, or not readable at all.
    pub(in crate::mock) fn read(body: &'a str) -> Option<Self> {
        let stored: Stored<'a> = serde_json::from_str(body).ok()?;
        if stored.tool_calls.or(stored.tool_returns).or(stored.approvals).is_some() {
            return None;
        }
        let parts = match (stored.role, stored.content.as_slice()) {
            (Role::System, [part]) => vec![part.text(MessageType::SystemMessage)?],
            (Role::User | Role::Summary, [part]) => vec![part.text(MessageType::UserMessage)?],
            (Role::Assistant, parts) => parts.iter().map(StoredPart::said).collect::<Option<_>>()?,
            _ => return None,
        };
        let second = second(stored.created_at)?;
        Some(Self { stored, second, parts })
    }

    /// Writes the messages that clients see, those of the types that are wanted, each after a comma.
    pub(in crate::mock) fn write(&self, wants: impl Fn(MessageType) -> bool, out: &mut Vec<u8>) {
        for index in 0..self.parts.len() {
            self.write_part(index, &wants, out);
        }
    }

    /// The same from the last part to the first.
    pub(in crate::mock) fn write_backwards(&self, wants: impl Fn(MessageType) -> bool, out: &mut Vec<u8>) {
        for index in (0..self.parts.len()).rev() {
            self.write_part(index, &wants, out);
        }
    }

    fn write_part(&self, index: usize, wants: impl Fn(MessageType) -> bool, out: &mut Vec<u8>) {
        let (stored, part) = (&self.stored, self.parts[index]);
        let message_type = part.message_type();
        if !wants(message_type) {
            return;
        }
        let made_up = self.made_up_otid(index);
        let otid = match (stored.role, index, stored.otid, &made_up) {
            (Role::System, ..) => "null",
            (_, 0, Some(chosen), _) => chosen.get(),
            (_, _, _, Some(made_up)) => made_up,
            _ => "null",
        };
        for text in [
            r#",{"id":""#,
            stored.id,
            r#"","date":""#,
            self.second,
            r#"+00:00","name":"#,
            or_null(stored.name),
            r#","message_type":""#,
            message_type.word(),
            r#"","otid":"#,
            otid,
            r#","sender_id":"#,
            or_null(stored.sender_id),
            r#","step_id":"#,
            or_null(stored.step_id),
            r#","is_err":null,"seq_id":null,"run_id":"#,
            or_null(stored.run_id),
        ] {
            out.extend_from_slice(text.as_bytes());
        }
        let own = match part {
            PlainPart::Text(_, content) => [r#","content":"#, content.get(), "", "", "", ""],
            PlainPart::Reasoning { source, reasoning, signature } => {
                [r#","source":""#, source, r#"","reasoning":"#, reasoning.get(), r#","signature":"#, or_null(signature)]
            }
        };
        for text in own {
            out.extend_from_slice(text.as_bytes());
        }
        out.push(b'}');
    }

    /// The offline thread id of a part that nobody has chosen one for, as JSON.
    fn made_up_otid(&self, index: usize) -> Option<String> {
        let is_chosen = index == 0 && self.stored.otid.is_some();
        let otid = otid(self.stored.id, index as u128).filter(|_| self.stored.role == Role::Assistant && !is_chosen);
        otid.map(|otid| format!("\"{otid}\""))
    }
}

impl<'a> StoredPart<'a> {
    /// Its text, if it is nothing else.
    fn text(&self, message_type: MessageType) -> Option<PlainPart<'a>> {
        if self.kind == "text" { self.text.map(|text| PlainPart::Text(message_type, text)) } else { None }
    }

    /// What an assistant says or thinks.
    fn said(&self) -> Option<PlainPart<'a>> {
        if self.kind != "reasoning" {
            return self.text(MessageType::AssistantMessage);
        }
        let source = if self.is_native? { "reasoner_model" } else { "non_reasoner_model" };
        Some(PlainPart::Reasoning { source, reasoning: self.reasoning?, signature: self.signature })
    }
}

impl PlainPart<'_> {
    fn message_type(self) -> MessageType {
        match self {
            Self::Text(message_type, _) => message_type,
            Self::Reasoning { .. } => MessageType::ReasoningMessage,
        }
    }
}

/// An instant as it is stored (`2026-11-23T16:23:19.765515Z`) without what is less than a second.
fn second(instant: &str) -> Option<&str> {
    let (second, fraction) = instant.split_once('.')?;
    (second.len() == "2026-11-23T16:23:19".len() && fraction.ends_with('Z')).then_some(second)
}

fn or_null(value: Option<&RawValue>) -> &str {
    value.map_or("null", RawValue::get)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{
            message::{ImageSource, Message, Part},
            timestamp::Timestamp,
            tool_call::ToolCall,
        },
        *,
    };

    fn any_part() -> impl Strategy<Value = Part> {
        let signature = || prop::option::of("\\PC{0,8}");
        prop_oneof![
            ("(?s).{0,40}", signature()).prop_map(|(text, signature)| Part::Text { text, signature }),
            ("(?s).{0,40}", signature(), any::<bool>()).prop_map(|(reasoning, signature, is_native)| Part::Reasoning {
                is_native,
                reasoning,
                signature
            }),
            Just(Part::Image { source: ImageSource::Url { url: "https://x.example/a.png".into() } }),
        ]
    }

    fn any_message() -> impl Strategy<Value = Message> {
        let roles = [Role::System, Role::User, Role::Assistant, Role::Tool, Role::Approval, Role::Summary];
        let text = || prop::option::of("(?s).{0,8}");
        let call = ToolCall { name: "f".into(), arguments: "{}".into(), id: "call-1".into() };
        let calls = prop_oneof![4 => Just(Vec::new()), 1 => Just(vec![call])];
        let parts = prop_oneof![
            3 => prop::collection::vec(any_part(), 1),
            1 => prop::collection::vec(any_part(), 0..4),
        ];
        (prop::sample::select(roles.to_vec()), parts, text(), text(), text(), text(), text(), calls, any::<u32>())
            .prop_map(|(role, content, name, otid, sender_id, step_id, run_id, tool_calls, second)| Message {
                created_at: Timestamp::parse("2026-11-23T16:30:56.25Z").unwrap().after_millis(i64::from(second) * 999),
                name,
                otid,
                sender_id,
                step_id,
                run_id,
                tool_calls,
                ..Message::new(role, content)
            })
    }

    proptest! {
        #[test]
        fn plain_messages_are_written_as_all_are(message in any_message(), is_backwards in any::<bool>()) {
            let body = serde_json::to_string(&message).unwrap();
            let wants = |one| one != MessageType::UserMessage || message.name.is_none();
            let Some(plain) = PlainMessage::read(&body) else { return Ok(()) };
            let (mut written, mut expected) = (Vec::new(), Vec::new());
            let mut wire = message.expand();
            if is_backwards {
                plain.write_backwards(wants, &mut written);
                wire.reverse();
            } else {
                plain.write(wants, &mut written);
            }
            for wire in wire.iter().filter(|wire| wants(wire.message_type)) {
                expected.push(b',');
                serde_json::to_writer(&mut expected, wire).unwrap();
            }
            prop_assert_eq!(String::from_utf8(written).unwrap(), String::from_utf8(expected).unwrap());
        }
    }

    #[test]
    fn what_people_and_agents_say_is_plain() {
        let thought = Part::Reasoning { is_native: true, reasoning: "Hm.".into(), signature: None };
        for (role, content, is_plain) in [
            (Role::User, vec![Part::text("a")], true),
            (Role::System, vec![Part::text("a")], true),
            (Role::Assistant, vec![thought.clone(), Part::text("a")], true),
            (Role::User, vec![Part::text("a"), Part::text("b")], false),
            (Role::User, vec![thought], false),
            (Role::Tool, Vec::new(), false),
        ] {
            let body = serde_json::to_string(&Message::new(role, content)).unwrap();
            assert_eq!(PlainMessage::read(&body).is_some(), is_plain, "{body}");
        }
    }
}
