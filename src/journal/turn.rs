//! What a response tells about the turn that it belongs to, as far as the client can see it.

use memchr::memmem;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::entry::Answer;
use crate::access::Operation;

/// The largest whole response that is searched, in bytes.
const MOST_SEARCHED: usize = 1024 * 1024;

/// Whether an operation sends messages to an agent, and so begins a turn.
pub(crate) fn is_send(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::SendMessage
            | Operation::StreamMessage
            | Operation::SendMessageAsync
            | Operation::SendConversationMessage
    )
}

/// Notes what an event of a stream tells.
pub(super) fn note_frame(answer: &mut Answer, frame: &[u8]) {
    if answer.run_id.is_none() {
        answer.run_id = text_member(frame, b"\"run_id\":\"");
    }
    if answer.stop_reason.is_none() && memmem::find(frame, b"\"message_type\":\"stop_reason\"").is_some() {
        answer.stop_reason = text_member(frame, b"\"stop_reason\":\"");
    }
    answer.has_error |=
        frame.starts_with(b"event: error") || memmem::find(frame, b"\"message_type\":\"error_message\"").is_some();
}

/// The text of a member. Within a string of JSON the quotes of its name would be escaped, so it is found only where it is one.
fn text_member(json: &[u8], name: &[u8]) -> Option<Box<str>> {
    let begin = memmem::find(json, name)? + name.len();
    let length = memchr::memchr(b'"', &json[begin..])?;
    std::str::from_utf8(&json[begin..begin + length]).ok().map(Into::into)
}

/// The response to a send that does not stream: what was said, or the run of a turn in the background.
#[derive(Deserialize)]
struct Whole<'a> {
    id: Option<String>,
    #[serde(borrow)]
    messages: Option<Vec<&'a RawValue>>,
    stop_reason: Option<Value>,
}

/// Notes what a whole response tells.
pub(super) fn note_whole(answer: &mut Answer, operation: Operation, json: &[u8]) {
    if json.len() > MOST_SEARCHED {
        return;
    }
    let Ok(Whole { id, messages, stop_reason }) = serde_json::from_slice(json) else { return };
    if operation == Operation::SendMessageAsync {
        answer.run_id = id.map(Into::into);
        return;
    }
    answer.run_id =
        messages.iter().flatten().find_map(|message| text_member(message.get().as_bytes(), b"\"run_id\":\""));
    let stop_reason = stop_reason.as_ref().and_then(|reason| reason.get("stop_reason")).and_then(Value::as_str);
    answer.stop_reason = stop_reason.map(Into::into);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_tells_its_run_and_how_the_turn_ended() {
        let mut answer = Answer::default();
        for frame in [
            &br#"data: {"message_type":"assistant_message","content":"\"run_id\":\"x\" \"message_type\":\"stop_reason\"","run_id":"run-1"}"#[..],
            br#"data: {"message_type":"stop_reason","stop_reason":"end_turn"}"#,
            br#"data: {"message_type":"usage_statistics","run_ids":null}"#,
        ] {
            note_frame(&mut answer, frame);
        }
        assert_eq!((answer.run_id.as_deref(), answer.stop_reason.as_deref()), (Some("run-1"), Some("end_turn")));
        assert!(!answer.has_error);
        note_frame(&mut answer, b"event: error\ndata: {}");
        assert!(answer.has_error);
    }

    #[test]
    fn a_whole_response_tells_the_same() {
        let tell = |operation, json: &str| {
            let mut answer = Answer::default();
            note_whole(&mut answer, operation, json.as_bytes());
            (answer.run_id, answer.stop_reason)
        };
        let said = r#"{"messages":[{"id":"m","run_id":"run-1"}],"stop_reason":{"stop_reason":"requires_approval"}}"#;
        assert_eq!(tell(Operation::SendMessage, said), (Some("run-1".into()), Some("requires_approval".into())));
        let run = r#"{"id":"run-2","stop_reason":null}"#;
        assert_eq!(tell(Operation::SendMessageAsync, run), (Some("run-2".into()), None));
        assert_eq!(tell(Operation::SendMessage, "no JSON"), (None, None));
    }
}
