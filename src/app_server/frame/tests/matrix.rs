//! The whole permission matrix: every command, sent by every kind of caller.

use std::collections::BTreeMap;

use super::*;
use crate::app_server::commands::Grant;

/// A frame of the command that lacks nothing, with all that its row refuses left out.
fn complete(command: Command) -> Value {
    let mut frame = json!({
        "type": command.name(), "request_id": "1", "agent_id": AGENT, "conversation_id": CONVERSATION,
        "path": "a.md", "file_path": "a.md", "ref": "0123abc", "sha": "0123abc", "item_id": "q-1",
    });
    let more = match command {
        Command::Input => json!({
            "runtime": runtime(),
            "payload": {"kind": "create_message", "messages": [{"role": "user", "content": "hi"}]},
        }),
        Command::ConversationCreate => json!({"body": {"agent_id": AGENT}}),
        Command::ConversationList => json!({"query": {"agent_id": AGENT}}),
        Command::ConversationUpdate => json!({"body": {"summary": "s"}}),
        Command::AgentUpdate => json!({"body": {"description": "d"}}),
        _ => json!({"runtime": runtime(), "body": {}, "query": {}}),
    };
    frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    frame
}

fn callers() -> Vec<(&'static str, Policy)> {
    let words = Access::ALL.map(|word| (word.word(), policy(&[(AGENT, &[word])])));
    let mut callers = vec![("no entry", Policy::default()), ("another agent", policy(&[(OTHER, &Access::ALL)]))];
    callers.extend(words);
    let messages = &[Access::ReadMessages, Access::WriteMessages];
    callers.push(("read_messages and write_messages", policy(&[(AGENT, messages)])));
    callers.push(("all access", policy(&[(AGENT, &Access::ALL)])));
    callers
}

fn outcome(command: Command, policy: &Policy, frame: &Value) -> String {
    let mut state = socket_of(policy);
    // A caller without the word cannot have it open, but the frame is refused for the word, not for that.
    open(&mut state, AGENT, CONVERSATION);
    state.runtimes[0].own_items.push("q-1".into());
    match check(&mut state, frame) {
        Checked::Forward(_) => "forwarded".into(),
        Checked::Respond(_, None) => "Gatelet responds".into(),
        Checked::Ignore(None) => "no effect".into(),
        Checked::Respond(_, Some(code)) => code.word().into(),
        other => panic!("{}: {other:?}", command.name()),
    }
}

#[test]
fn every_command_refuses_and_admits_as_reviewed() {
    let is_closed = |command: &&Command| matches!(command.grant(), Grant::Never);
    let closed: Vec<Command> = Command::ALL.iter().filter(is_closed).copied().collect();
    let names: Vec<&str> = closed.iter().map(|command| command.name()).collect();
    let mut report = vec![format!("every caller\noperation_not_available:\n    {}", names.join("\n    "))];
    for (caller, policy) in callers() {
        for command in &closed {
            assert_eq!(
                outcome(*command, &policy, &complete(*command)),
                "operation_not_available",
                "{}",
                command.name()
            );
        }
        let mut outcomes: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for command in Command::ALL.iter().filter(|command| !is_closed(command)) {
            let outcome = outcome(*command, &policy, &complete(*command));
            outcomes.entry(outcome).or_default().push(command.name());
        }
        let mut creates = complete(Command::RuntimeStart);
        creates.as_object_mut().unwrap().remove("conversation_id");
        let outcome = outcome(Command::RuntimeStart, &policy, &creates);
        outcomes.entry(outcome).or_default().push("runtime_start that creates");
        let lines = outcomes.iter().map(|(outcome, commands)| format!("{outcome}:\n    {}", commands.join("\n    ")));
        report.push(format!("{caller}\n{}", lines.collect::<Vec<_>>().join("\n")));
    }
    insta::assert_snapshot!(report.join("\n----\n\n"));
}
