//! Recorded frames: `tests/data/app-server/frames.jsonl`, which `derive.py` next to it derives from recordings.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::app_server::{Message, messages::Shown};

#[derive(Deserialize)]
struct Recorded {
    scenario: String,
    dir: String,
    frame: Value,
}

fn frames(dir: &str) -> Vec<Recorded> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/app-server/frames.jsonl");
    let text = std::fs::read_to_string(file).unwrap();
    let all = text.lines().map(|line| serde_json::from_str::<Recorded>(line).unwrap());
    all.filter(|recorded| recorded.dir == dir).collect()
}

fn text_at<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    value.pointer(path)?.as_str()
}

/// A socket that may receive the frame: its runtime is open, and its response is expected.
fn receiver(frame: &Value) -> SocketState {
    let owner = ["/runtime/agent_id", "/conversation/agent_id", "/conversations/0/agent_id", "/agent/id"];
    let owner = owner.iter().find_map(|path| text_at(frame, path)).unwrap_or(AGENT);
    let mut state = socket_of(&policy(&[(owner, &Access::ALL)]));
    let conversation = ["/runtime/conversation_id", "/conversation/id"];
    let conversation = conversation.iter().find_map(|path| text_at(frame, path)).map(str::to_owned);
    if let Some(conversation) = &conversation {
        open(&mut state, owner, conversation);
    }
    let shown = text_at(frame, "/type").and_then(Message::parse).map(|message| message.row().shown);
    if let Some(Shown::Response(command, _)) = shown {
        let request_id = text_at(frame, "/request_id").unwrap().to_owned();
        state.expect(Expected { command, request_id, agent: Some(agent(owner)), conversation, begins_turn: false });
    }
    state
}

/// The names of the keys that stay, in their order, with what is blank where it was not.
fn outline(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: Vec<String> = members.iter().map(|(key, value)| format!("{key}{}", outline(value))).collect();
            format!("{{{}}}", members.join(" "))
        }
        Value::Array(items) => items.first().map_or("[]".into(), |item| format!("[{}]", outline(item))),
        Value::String(text) if text.is_empty() => "=\"\"".into(),
        _ => String::new(),
    }
}

#[test]
fn every_recorded_frame_of_the_server_is_cut_as_reviewed() {
    let mut lines = BTreeMap::new();
    for Recorded { scenario, frame, .. } in frames("down") {
        let text = frame.to_string();
        let kind = text_at(&frame, "/type").unwrap();
        let kind = text_at(&frame, "/delta/message_type").map_or(kind.to_owned(), |delta| format!("{kind} {delta}"));
        let line = match super::super::outbound(text.as_bytes(), &mut receiver(&frame)) {
            Outbound::Send(text) => {
                for secret in ["/srv", "host-1", "system-reminder", "model_endpoint"] {
                    assert!(!text.contains(secret), "{secret} in {text}");
                }
                outline(&serde_json::from_str(&text).unwrap())
            }
            Outbound::Drop(reason) => format!("dropped: {reason}"),
        };
        lines.entry(kind).or_insert_with(BTreeMap::new).entry(line).or_insert_with(Vec::new).push(scenario);
    }
    let mut report = Vec::new();
    for (kind, outlines) in lines {
        report.push(kind);
        for (line, mut scenarios) in outlines {
            scenarios.dedup();
            report.push(format!("    {line}  ({})", scenarios.join(", ")));
        }
    }
    insta::assert_snapshot!(report.join("\n"));
}

/// What the recorder sent as an operator, a page may send only as the gate rebuilds it.
#[test]
fn every_recorded_frame_of_a_client_is_decided_about_as_reviewed() {
    let mut report = Vec::new();
    for Recorded { frame, .. } in frames("up") {
        let mut state = receiver(&frame);
        let parsed = Frame::parse(frame.to_string().as_bytes()).unwrap();
        let mut checked = parsed.check(&mut state, STAMP);
        while let Checked::Needs(lookup) = &checked {
            let answer = match lookup {
                Lookup::Owner { .. } => Answer::Owner(Some(agent(AGENT))),
                Lookup::Reflection { .. } => Answer::Reflection(Reflection::Off),
                Lookup::Info => Answer::Info(ServerInfo::unknown()),
            };
            state.learn(&lookup.clone(), answer);
            checked = parsed.check(&mut state, STAMP);
        }
        report.push(match checked {
            Checked::Forward(text) => {
                let again = Frame::parse(text.as_bytes()).unwrap().check(&mut receiver(&frame), STAMP);
                assert!(matches!(&again, Checked::Needs(_)) || again == Checked::Forward(text.clone()), "{again:?}");
                format!("> {frame}\n  {text}")
            }
            Checked::Respond(text, _) => format!("> {frame}\n< {text}"),
            other => format!("> {frame}\n  {other:?}"),
        });
    }
    insta::assert_snapshot!(report.join("\n"));
}
