//! A fast path from stored JSON to the JSON that clients see: values that are the same in both are copied and never
//! parsed. It handles plain messages, which are most of them; [`Message::expand`] handles all.
//!
//! [`Message::expand`]: super::Message::expand

use memchr::memchr2;
use uuid::Uuid;

use super::{
    message::{Role, otid_uuid},
    wire_message::MessageType,
};
use crate::access::end_of_string;

/// A plain message: every part of it is text or reasoning, it has no calls, returns or decisions, it looks the same in
/// every view, and it has no sender.
///
/// The fields are JSON as it is stored, except for the id and the second.
pub(in crate::mock) struct PlainMessage<'a> {
    id: &'a str,
    role: Role,
    parts: [PlainPart<'a>; MOST_PARTS],
    count: usize,
    /// The creation time, to the second.
    second: &'a str,
    name: &'a str,
    otid: &'a str,
    step_id: &'a str,
    run_id: &'a str,
}

#[derive(Clone, Copy)]
enum PlainPart<'a> {
    Text(MessageType, &'a str),
    Reasoning { source: &'static str, reasoning: &'a str, signature: &'a str },
}

/// A message with more parts takes the slow path, so that the parts need no allocation.
const MOST_PARTS: usize = 4;

const NULL: &str = "null";

impl<'a> PlainMessage<'a> {
    /// Parses a stored message; `None` if it is not plain, or not written exactly as `Message` is serialized now.
    pub(in crate::mock) fn read(body: &'a str) -> Option<Self> {
        let mut scan = Scan(body);
        scan.literal(r#"{"id":"#)?;
        let id = scan.plain()?;
        scan.literal(r#","role":"#)?;
        let (role, message_type) = match scan.plain()? {
            "system" => (Role::System, MessageType::SystemMessage),
            "user" => (Role::User, MessageType::UserMessage),
            "summary" => (Role::Summary, MessageType::UserMessage),
            "assistant" => (Role::Assistant, MessageType::AssistantMessage),
            _ => return None,
        };
        scan.literal(r#","content":["#)?;
        let mut parts = [PlainPart::Text(message_type, NULL); MOST_PARTS];
        let mut count = 0;
        while !scan.skips("]") {
            if count > 0 {
                scan.literal(",")?;
            }
            *parts.get_mut(count)? = PlainPart::read(&mut scan, message_type)?;
            count += 1;
        }
        let is_one_text = matches!(parts[..count], [PlainPart::Text(..)]);
        if role != Role::Assistant && !is_one_text {
            return None;
        }
        let mut member = |name: &str| {
            scan.literal(name)?;
            scan.text_or_null()
        };
        let second = second(member(r#","created_at":"#)?)?;
        let [name, otid, NULL, _, _, step_id, run_id] = [
            member(r#","name":"#)?,
            member(r#","otid":"#)?,
            member(r#","sender_id":"#)?,
            member(r#","group_id":"#)?,
            member(r#","batch_item_id":"#)?,
            member(r#","step_id":"#)?,
            member(r#","run_id":"#)?,
        ] else {
            return None;
        };
        // Calls, returns, decisions and `monologue` would follow here.
        (scan.0 == "}").then_some(Self { id, role, parts, count, second, name, otid, step_id, run_id })
    }

    /// Writes the wire messages of the wanted types, each after a comma.
    pub(in crate::mock) fn write(&self, wants: impl Fn(MessageType) -> bool, out: &mut Vec<u8>) {
        for index in 0..self.count {
            self.write_part(index, &wants, out);
        }
    }

    /// The same, from the last part to the first.
    pub(in crate::mock) fn write_backwards(&self, wants: impl Fn(MessageType) -> bool, out: &mut Vec<u8>) {
        for index in (0..self.count).rev() {
            self.write_part(index, &wants, out);
        }
    }

    fn write_part(&self, index: usize, wants: impl Fn(MessageType) -> bool, out: &mut Vec<u8>) {
        let part = self.parts[index];
        let message_type = part.message_type();
        if !wants(message_type) {
            return;
        }
        // Separate calls, so that the compiler knows the lengths of the literals.
        let mut push = |text: &str| out.extend_from_slice(text.as_bytes());
        push(r#",{"id":""#);
        push(self.id);
        push(r#"","date":""#);
        push(self.second);
        push(r#"+00:00","name":"#);
        push(self.name);
        push(r#","message_type":""#);
        push(message_type.word());
        push(r#"","otid":"#);
        let mut text = Uuid::encode_buffer();
        match self.made_up_otid(index) {
            Some(made_up) => {
                push("\"");
                push(made_up.hyphenated().encode_lower(&mut text));
                push("\"");
            }
            None if self.role == Role::System || index > 0 => push(NULL),
            None => push(self.otid),
        }
        push(r#","sender_id":null,"step_id":"#);
        push(self.step_id);
        push(r#","is_err":null,"seq_id":null,"run_id":"#);
        push(self.run_id);
        match part {
            PlainPart::Text(_, content) => {
                push(r#","content":"#);
                push(content);
            }
            PlainPart::Reasoning { source, reasoning, signature } => {
                push(r#","source":""#);
                push(source);
                push(r#"","reasoning":"#);
                push(reasoning);
                push(r#","signature":"#);
                push(signature);
            }
        }
        push("}");
    }

    /// The generated offline thread id of a part, if it has none that a client chose.
    fn made_up_otid(&self, index: usize) -> Option<Uuid> {
        let is_chosen = index == 0 && self.otid != NULL;
        if self.role != Role::Assistant || is_chosen {
            return None;
        }
        otid_uuid(self.id, index as u128)
    }
}

impl<'a> PlainPart<'a> {
    fn read(scan: &mut Scan<'a>, message_type: MessageType) -> Option<Self> {
        let part = if scan.skips(r#"{"type":"text","text":"#) {
            let text = scan.text()?;
            scan.literal(r#","signature":"#)?;
            scan.text_or_null()?;
            Self::Text(message_type, text)
        } else {
            scan.literal(r#"{"type":"reasoning","is_native":"#)?;
            let source = if scan.skips("true") { "reasoner_model" } else { "non_reasoner_model" };
            scan.skips("false");
            scan.literal(r#","reasoning":"#)?;
            let reasoning = scan.text()?;
            scan.literal(r#","signature":"#)?;
            Self::Reasoning { source, reasoning, signature: scan.text_or_null()? }
        };
        scan.literal("}").map(|()| part)
    }

    fn message_type(self) -> MessageType {
        match self {
            Self::Text(message_type, _) => message_type,
            Self::Reasoning { .. } => MessageType::ReasoningMessage,
        }
    }
}

/// A stored instant (`"2026-11-23T16:23:19.765515Z"`) without the fraction of the second.
fn second(instant: &str) -> Option<&str> {
    let second = instant.get(1.."\"2026-11-23T16:23:19".len())?;
    let fraction = &instant[1 + second.len()..];
    (fraction.starts_with('.') && fraction.ends_with("Z\"")).then_some(second)
}

/// What is left of a message, which this program has written itself. What is in another order is left to a parser.
struct Scan<'a>(&'a str);

impl<'a> Scan<'a> {
    /// Passes over this text, which must come next.
    #[inline]
    fn literal(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    /// Passes over this text if it comes next.
    #[inline]
    fn skips(&mut self, text: &str) -> bool {
        self.literal(text).is_some()
    }

    /// A string that has no escapes, without its quotes.
    #[inline]
    fn plain(&mut self) -> Option<&'a str> {
        self.literal("\"")?;
        let end = memchr2(b'"', b'\\', self.0.as_bytes()).filter(|end| self.0.as_bytes()[*end] == b'"')?;
        let plain = self.take(end)?;
        self.literal("\"")?;
        Some(plain)
    }

    /// A string with its quotes, or null.
    #[inline]
    fn text_or_null(&mut self) -> Option<&'a str> {
        if self.0.starts_with(NULL) { self.take(NULL.len()) } else { self.text() }
    }

    /// A string with its quotes.
    #[inline]
    fn text(&mut self) -> Option<&'a str> {
        let bytes = self.0.as_bytes();
        bytes.first().filter(|first| **first == b'"')?;
        self.take(end_of_string(bytes, 0)?)
    }

    #[inline]
    fn take(&mut self, bytes: usize) -> Option<&'a str> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mock::records::{
        content::{ImageSource, Part},
        message::Message,
        message_view::MessageView,
        timestamp::Timestamp,
        tool_call::ToolCall,
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
        let seconds = any::<u32>();
        let monologue = prop::bool::weighted(0.2);
        let ids = (text(), text(), prop::option::weighted(0.2, "(?s).{0,8}"), text(), text());
        (prop::sample::select(roles.to_vec()), parts, ids, calls, monologue, seconds).prop_map(
            |(role, content, (name, otid, sender_id, step_id, run_id), tool_calls, monologue, second)| Message {
                created_at: Timestamp::parse("2026-11-23T16:30:56.25Z").unwrap().after_millis(i64::from(second) * 999),
                name,
                otid,
                sender_id,
                step_id,
                run_id,
                tool_calls,
                monologue,
                ..Message::new(role, content)
            },
        )
    }

    proptest! {
        #[test]
        fn plain_messages_are_written_as_all_are(message in any_message(), is_backwards in any::<bool>()) {
            let body = serde_json::to_string(&message).unwrap();
            let wants = |one| one != MessageType::UserMessage || message.name.is_none();
            let Some(plain) = PlainMessage::read(&body) else { return Ok(()) };
            let (mut written, mut expected) = (Vec::new(), Vec::new());
            let mut wire = message.shown(&MessageView::USUAL);
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
