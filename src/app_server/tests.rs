//! The two tables against the protocol's own list of commands, messages and fields: `tests/data/app-server`.

#![expect(clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::{
    Command, Message, PROTOCOL,
    commands::{AgentSource, Grant, Handler},
    cuts::{Cut, Cuts, KINDS, MESSAGE, QUEUED, QUEUED_BY_OTHERS, SHOWN_DEVICE_STATUS},
    fields::{Field, Fields, Rule},
    messages::Shown,
};

type Members = BTreeMap<String, String>;

#[derive(Deserialize)]
struct Protocol {
    #[serde(rename = "WsProtocolCommand")]
    commands: BTreeMap<String, Members>,
    #[serde(rename = "WsProtocolMessage")]
    messages: BTreeMap<String, Members>,
    #[serde(rename = "Shapes")]
    shapes: BTreeMap<String, Members>,
}

fn protocol() -> Protocol {
    let file = format!("{}/tests/data/app-server/union-{PROTOCOL}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

fn names(members: &Members) -> BTreeSet<&str> {
    members.keys().map(String::as_str).collect()
}

fn open() -> impl Iterator<Item = (Command, Fields)> {
    Command::ALL.iter().filter_map(|command| match command.grant() {
        Grant::Client(grant) => Some((*command, grant.fields)),
        Grant::Never => None,
    })
}

#[test]
fn every_command_of_the_protocol_has_a_row_and_no_other() {
    let known = protocol();
    let rows: BTreeSet<&str> = Command::ALL.iter().map(|command| command.name()).collect();
    assert_eq!(rows, known.commands.keys().map(String::as_str).collect());
    assert_eq!((rows.len(), open().count()), (104, 22));
    for command in Command::ALL {
        assert_eq!(Command::parse(command.name()), Some(*command));
        assert!(!command.row().note.is_empty(), "{}", command.name());
    }
    assert_eq!(Command::parse("message"), None, "the older form of input is not in the table");
}

#[test]
fn every_field_of_an_open_command_is_decided_about() {
    let known = protocol();
    for (command, fields) in open() {
        let decided: BTreeSet<&str> = fields.iter().map(|field| field.name).collect();
        let mut expected = names(&known.commands[command.name()]);
        expected.remove("request_id");
        assert_eq!(decided, expected, "{}", command.name());
        let Grant::Client(grant) = command.grant() else { unreachable!() };
        let is_required =
            known.commands[command.name()].get("request_id").is_some_and(|form| form.starts_with("required"));
        assert_eq!(grant.needs_id, is_required, "{}", command.name());
    }
}

fn of<'a>(fields: &'a [Field], path: &[&str]) -> &'a [Field] {
    path.iter().fold(fields, |fields, name| {
        match fields.iter().find(|field| field.name == *name).map(|field| field.rule) {
            Some(Rule::Object(fields) | Rule::NewConversation(fields)) => fields,
            other => panic!("{name}: {other:?}"),
        }
    })
}

#[test]
fn every_field_inside_a_frame_is_decided_about() {
    let known = protocol();
    let fields = |command: Command| open().find(|(open, _)| *open == command).unwrap().1;
    for (shape, decided) in [
        ("InputCreateMessagePayload", of(fields(Command::Input), &["payload"])),
        ("ConversationForkBody", of(fields(Command::ConversationFork), &["body"])),
        ("RuntimeStartCreateConversationOptions", of(fields(Command::RuntimeStart), &["create_conversation"])),
    ] {
        let decided: BTreeSet<&str> = decided.iter().map(|field| field.name).collect();
        assert_eq!(decided, names(&known.shapes[shape]), "{shape}");
    }
}

fn every_field(fields: Fields, visit: &mut impl FnMut(&Field)) {
    for field in fields {
        visit(field);
        if let Rule::Object(inner) | Rule::NewConversation(inner) = field.rule {
            every_field(inner, visit);
        }
    }
}

#[test]
fn what_is_forced_is_json_and_disarms_the_turn() {
    let mut forced = BTreeMap::new();
    for (command, fields) in open() {
        every_field(fields, &mut |field| {
            if let Rule::Forced(json) = field.rule {
                let value: Value = serde_json::from_str(json).unwrap();
                assert_eq!(value.to_string(), json, "the bytes are always the same");
                forced.insert(format!("{}.{}", command.name(), field.name), json);
            }
        });
    }
    assert_eq!(
        forced.iter().map(|(name, json)| format!("{name} {json}")).collect::<Vec<_>>(),
        [
            "input.client_tool_allowlist []",
            r#"input.client_toolset {"base":"none"}"#,
            "input.exclude_interactive_tools true",
            "input.external_tool_scope_ids []",
            r#"runtime_start.execution_settings {"tools":[],"allowed_tools":[],"disallowed_tools":[],"disable_memory_guard":false}"#,
            r#"runtime_start.mode "strict""#,
            "runtime_start.preserve_skill_sources true",
            "runtime_start.recover_approvals false",
            "sync.recover_approvals false",
            "sync.resume_interrupted_turn false",
        ]
    );
}

/// Where a row says that the agent is named, its fields let the agent through, and nowhere else.
#[test]
fn the_agent_is_named_where_the_row_says() {
    for (command, fields) in open() {
        let Grant::Client(grant) = command.grant() else { unreachable!() };
        let mut places = BTreeSet::new();
        every_field(fields, &mut |field| {
            places.extend(match field.rule {
                Rule::Agent => Some("agent"),
                Rule::AgentOfDefault => Some("agent of default"),
                Rule::Conversation => Some("conversation"),
                Rule::Runtime => Some("runtime"),
                _ => None,
            });
        });
        let expected: &[&str] = match (grant.agent, command) {
            (AgentSource::Nothing, _) => &[],
            (AgentSource::AgentId, Command::RuntimeStart) => &["agent", "conversation"],
            (AgentSource::AgentId | AgentSource::Query | AgentSource::Body, _) => &["agent"],
            (AgentSource::Runtime, _) => &["runtime"],
            (AgentSource::Conversation, Command::ConversationMessagesList) => &["agent of default", "conversation"],
            (AgentSource::Conversation, _) => &["conversation"],
        };
        assert_eq!(places, expected.iter().copied().collect(), "{}", command.name());
        assert_eq!(grant.agent == AgentSource::Nothing, grant.handler != Handler::Server, "{}", command.name());
    }
}

/// Keys of every event and response, which `frame` keeps by itself.
const ENVELOPE: [&str; 7] = ["type", "request_id", "success", "runtime", "event_seq", "emitted_at", "idempotency_key"];

fn keys(lists: &[Cuts]) -> BTreeSet<&'static str> {
    lists.iter().copied().flatten().map(|(key, _)| *key).collect()
}

#[test]
fn every_message_of_the_protocol_has_a_row_and_every_key_that_is_shown_is_decided_about() {
    let known = protocol();
    let rows: BTreeSet<&str> = Message::ALL.iter().map(|message| message.row().name).collect();
    assert_eq!(rows, known.messages.keys().map(String::as_str).collect());
    assert_eq!(rows.len(), 113);
    let mut responses = BTreeSet::new();
    for message in Message::ALL {
        let row = message.row();
        assert_eq!(Message::parse(row.name), Some(*message));
        let cuts = match row.shown {
            Shown::Never => continue,
            Shown::Event(_, cuts) => cuts,
            Shown::Response(command, cuts) => {
                assert_eq!(command.row().response, row.name);
                responses.insert(command.name());
                cuts
            }
        };
        let mut decided = keys(&[cuts]);
        let mut expected = names(&known.messages[row.name]);
        for key in ENVELOPE {
            decided.remove(key);
            expected.remove(key);
        }
        // A type has no error where a refusal of the gate's own has one.
        decided.remove("error");
        expected.remove("error");
        assert_eq!(decided, expected, "{}", row.name);
    }
    let open: BTreeSet<&str> = open().map(|(command, _)| command.name()).collect();
    let without_response = ["app_server_info", "turn_finished_ack"];
    assert_eq!(responses, open.into_iter().filter(|name| !without_response.contains(name)).collect());
}

#[test]
fn every_key_inside_a_message_is_decided_about() {
    let known = protocol();
    assert_eq!(keys(&[QUEUED]), names(&known.shapes["QueueMessage"]));
    assert_eq!(keys(&[QUEUED_BY_OTHERS]), names(&known.shapes["QueueMessage"]));
    for (shape, kind) in [
        ("LoopErrorMessage", "loop_error"),
        ("RetryMessage", "retry"),
        ("StatusMessage", "status"),
        ("ClientToolStartMessage", "client_tool_start"),
        ("ClientToolEndMessage", "client_tool_end"),
    ] {
        let (_, cuts) = KINDS.iter().find(|(name, _)| *name == kind).unwrap();
        let decided = keys(&[MESSAGE, cuts]);
        let expected = names(&known.shapes[shape]);
        assert!(decided.is_superset(&expected), "{shape}: {:?}", expected.difference(&decided));
    }
    for hidden in ["ApprovalClassificationEndMessage", "CommandStartMessage", "SlashCommandEndMessage"] {
        let kind = known.shapes[hidden]["message_type"].trim_start_matches("required ").trim_matches('"');
        assert!(KINDS.iter().all(|(name, _)| *name != kind), "{hidden}");
    }
}

/// The status that stands in the place of the device's has every key that clients rely on, and no other.
#[test]
fn the_device_status_is_whole() {
    let shown: BTreeMap<String, Value> = serde_json::from_str(SHOWN_DEVICE_STATUS).unwrap();
    let known = &protocol().shapes["DeviceStatus"];
    for (key, form) in known {
        assert!(shown.contains_key(key) || form.starts_with("optional"), "{key}");
    }
    for (key, value) in &shown {
        assert!(known.contains_key(key), "{key}");
        let says_nothing = value.is_null() || value == &Value::Array(Vec::new());
        let is_harmless =
            ["is_online", "is_processing", "should_doctor", "current_permission_mode", "current_toolset_preference"];
        assert!(says_nothing || is_harmless.contains(&key.as_str()), "{key}: {value}");
    }
}

#[test]
fn a_constant_in_a_cut_is_json() {
    fn check(cut: &Cut) {
        match cut {
            Cut::Always(json) => drop(serde_json::from_str::<Value>(json).unwrap()),
            Cut::Object(cuts) => cuts.iter().for_each(|(_, cut)| check(cut)),
            Cut::List(cut) | Cut::If(_, cut) => check(cut),
            _ => {}
        }
    }
    for message in Message::ALL {
        if let Shown::Event(_, cuts) | Shown::Response(_, cuts) = message.row().shown {
            for (_, cut) in cuts {
                check(cut);
            }
        }
    }
    for (_, cuts) in KINDS.iter().chain([("queued", QUEUED_BY_OTHERS)].iter()) {
        for (_, cut) in *cuts {
            check(cut);
        }
    }
    for command in Command::ALL {
        if let Grant::Client(grant) = command.grant() {
            serde_json::from_str::<serde_json::Map<String, Value>>(grant.empty).unwrap();
        }
    }
}
