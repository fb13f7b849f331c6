//! What leaves the gate for an App Server, of a frame that a page sends.

use gatelet::{
    app_server::{
        Answer, Checked, Frame, Limits, Lookup, Outbound, Reflection, SocketState, Stamp,
        commands::Grant,
        fields::{Fields, Rule},
        outbound,
    },
    model::{Access, Policy, PolicyEntry},
};
use serde_json::{Map, Value, json};

const AGENT: &str = "agent-local-1";
const CONVERSATION: &str = "local-conv-1";

pub(crate) fn is_accepted(bytes: &[u8]) -> bool {
    let Ok(frame) = Frame::parse(bytes) else { return false };
    match decide(&frame) {
        Checked::Forward(text) => {
            let again = Frame::parse(text.as_bytes()).expect("what is forwarded is a frame");
            assert_eq!(decide(&again), Checked::Forward(text.clone()), "the same decision again");
            let object: Map<String, Value> = serde_json::from_str(&text).expect("an object");
            let command = again.command().expect("a command of the table");
            let Grant::Client(grant) = command.grant() else { panic!("{} is closed", command.name()) };
            holds_only(&object, grant.fields, &["type", "request_id"]);
            names_no_other_agent(&Value::Object(object));
            true
        }
        Checked::Respond(text, _) => {
            let response: Map<String, Value> = serde_json::from_str(&text).expect("a response is an object");
            assert!(response["type"].is_string());
            false
        }
        Checked::Ignore(_) | Checked::Hold => false,
        Checked::Needs(lookup) => panic!("{lookup:?} was answered"),
    }
}

/// Decides about a frame on a connection where one runtime is open, with everything known that can be looked up.
fn decide(frame: &Frame) -> Checked {
    let mut state = connection();
    loop {
        match frame.check(&mut state, stamp()) {
            Checked::Needs(lookup) => {
                let answer = answer(&lookup);
                state.learn(&lookup, answer);
            }
            checked => return checked,
        }
    }
}

fn answer(lookup: &Lookup) -> Answer {
    let owner = |id: &str| id.parse().expect("an id");
    match lookup {
        Lookup::Owner { conversation } if conversation == CONVERSATION => Answer::Owner(Some(owner(AGENT))),
        Lookup::Owner { conversation } if conversation.starts_with('f') => Answer::Owner(Some(owner("agent-local-2"))),
        Lookup::Owner { .. } => Answer::Owner(None),
        Lookup::Reflection { .. } => Answer::Reflection(Reflection::Off),
        Lookup::Info => {
            let response = json!({
                "type": "app_server_info_response", "request_id": "g", "success": true, "backend": "local",
                "letta_code_version": "0.34.12", "protocol_version": 1, "capabilities": {"runtime_start": true},
            });
            lookup.answer("g", response.to_string().as_bytes()).expect("the response is complete")
        }
    }
}

fn stamp() -> Stamp {
    Stamp { now: 0, id: uuid::Uuid::nil() }
}

fn connection() -> SocketState {
    let mut policy = Policy::default();
    policy.add(PolicyEntry { id: AGENT.parse().expect("an id"), access: Access::ALL.to_vec() });
    let mut state = SocketState::of_policy(&policy, Limits { runtimes: 8, allow_reflection: true });
    let owner = Lookup::Owner { conversation: CONVERSATION.into() };
    state.learn(&owner, answer(&owner));
    let start = json!({
        "type": "runtime_start", "request_id": "gatelet", "agent_id": AGENT, "conversation_id": CONVERSATION,
    });
    let start = Frame::parse(start.to_string().as_bytes()).expect("a frame");
    assert!(matches!(start.check(&mut state, stamp()), Checked::Forward(_)));
    let started = json!({
        "type": "runtime_start_response", "request_id": "gatelet", "success": true,
        "runtime": {"agent_id": AGENT, "conversation_id": CONVERSATION},
    });
    assert!(matches!(outbound(started.to_string().as_bytes(), &mut state), Outbound::Send(_)));
    state
}

/// Every member is named by the list, and so on inside.
fn holds_only(object: &Map<String, Value>, fields: Fields, more: &[&str]) {
    for (name, value) in object {
        if more.contains(&name.as_str()) {
            continue;
        }
        let field = fields.iter().find(|field| field.name == name).unwrap_or_else(|| panic!("{name} is forwarded"));
        match (field.rule, value) {
            (Rule::Object(inner) | Rule::NewConversation(inner), Value::Object(value)) => holds_only(value, inner, &[]),
            (Rule::Runtime, Value::Object(value)) => {
                assert!(value.keys().eq(["agent_id", "conversation_id"]), "{value:?}");
            }
            (Rule::Forced(json), value) => assert_eq!(&value.to_string(), json, "{name}"),
            (Rule::Drop | Rule::Refuse(_), value) => panic!("{name} is forwarded: {value}"),
            (Rule::Messages, Value::Array(messages)) => messages.iter().for_each(is_of_a_user),
            _ => {}
        }
    }
}

fn is_of_a_user(message: &Value) {
    let message = message.as_object().expect("a message is an object");
    assert!(message.keys().eq(["role", "content", "client_message_id"]), "{message:?}");
    assert_eq!(message["role"], "user");
    let content = message["content"].to_string().to_ascii_lowercase();
    assert!(!content.contains("<system-reminder") && !content.contains("<task-notification"), "{content}");
}

/// Whatever names an agent names that of the policy. What an application stores about its agent may say anything.
fn names_no_other_agent(value: &Value) {
    match value {
        Value::Array(items) => items.iter().for_each(names_no_other_agent),
        Value::Object(members) => {
            for (name, value) in members.iter().filter(|(name, _)| *name != "metadata") {
                assert!(name != "agent_id" || value == AGENT, "{value}");
                assert!(name != "acting_user_id", "{value}");
                names_no_other_agent(value);
            }
        }
        _ => {}
    }
}
