//! Each rule on entries as the journal has them: the times that a test over HTTP would have to wait for, and the endings that
//! only a fault brings about.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json, value::to_raw_value};

use super::{judge::Judge, rules::Rule};
use crate::{
    access::{Operation, Outcome, Step},
    journal::{Answer, CallerKind, Ended, Entry, SentBody},
};

const AGENT: &str = "agent-1";

/// A request of one page, at a millisecond.
fn request(id: u64, at: i64, operation: Operation) -> Entry {
    let row = operation.row();
    let mut entry = Entry {
        id,
        real_at: DateTime::<Utc>::from_timestamp_millis(1_800_000_000_000 + at).unwrap(),
        operation: Some(operation),
        method: row.method.as_str().into(),
        target: row.template.replace("{agent_id}", AGENT).into(),
        agents: vec![AGENT.into()],
        ..Entry::default()
    };
    entry.at = entry.real_at;
    (entry.caller.kind, entry.caller.jti) = (CallerKind::ClientToken, Some("token-1".into()));
    entry.decision.outcome = Some(Outcome::Admitted);
    entry
}

fn body(mut entry: Entry, body: &Value) -> Entry {
    entry.sent.body = Some(SentBody::Json(to_raw_value(body).unwrap()));
    entry
}

fn answer(mut entry: Entry, lasts: u64, answer: Answer) -> Entry {
    entry.answer = Some(Answer { ended_ms: Some(lasts), ended: answer.ended.or(Some(Ended::Done)), ..answer });
    entry
}

/// A message that a stream responds to; it ends as given.
fn stream(id: u64, at: i64, text: &str, ended: Ended, stop_reason: Option<&str>) -> Entry {
    let entry = body(request(id, at, Operation::StreamMessage), &json!({"input": text}));
    let stop_reason = stop_reason.map(Into::into);
    let begun =
        Answer { status: Some(200), is_stream: true, frames: 3, ended: Some(ended), stop_reason, ..Answer::default() };
    answer(entry, 100, begun)
}

fn refused(id: u64, at: i64, operation: Operation, status: u16, code: &'static str) -> Entry {
    answer(request(id, at, operation), 1, Answer { status: Some(status), code: Some(code), ..Answer::default() })
}

/// What is found in entries, each rule once, when everything happens at its time.
fn found(entries: &[Entry]) -> Vec<&'static str> {
    let mut events: Vec<(i64, bool, &Entry)> = Vec::new();
    for entry in entries {
        let at = entry.real_at.timestamp_millis();
        let lasts = entry.answer.as_ref().and_then(|answer| answer.ended_ms).unwrap_or(0);
        events.push((at, false, entry));
        events.push((at + i64::try_from(lasts).unwrap(), true, entry));
    }
    events.sort_by_key(|(at, has_ended, entry)| (*at, *has_ended, entry.id));
    let mut judge = Judge::default();
    for (_, has_ended, entry) in events {
        if has_ended {
            judge.ended(entry)
        } else {
            judge.asked(entry)
        };
    }
    let mut names: Vec<&str> = judge.findings.all(Vec::new()).iter().map(|finding| finding.rule.row().name).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_stream_that_was_cut_must_be_looked_at_before_the_next_message() {
    let cut = |ended| stream(1, 0, "a", ended, None);
    let next = || stream(3, 1_000, "b", Ended::Done, Some("end_turn"));
    let look = |operation| answer(request(2, 500, operation), 1, Answer { status: Some(200), ..Answer::default() });
    let by_another = |mut entry: Entry| {
        entry.caller.jti = Some("token-2".into());
        entry
    };
    let decision = body(next(), &json!({"messages": [{"type": "approval", "approvals": [{"tool_call_id": "c"}]}]}));
    let filtered =
        body(cut(Ended::Done), &json!({"input": "a", "include_return_message_types": ["assistant_message"]}));
    let failed = Answer { has_error: true, ..cut(Ended::Done).answer.unwrap() };
    for (why, entries, expected) in [
        ("broken off", vec![cut(Ended::Cut), next()], true),
        ("ended cleanly", vec![cut(Ended::Done), next()], true),
        ("the client left", vec![cut(Ended::ClientLeft), next()], false),
        ("the token ended", vec![cut(Ended::Token), next()], false),
        ("it was whole", vec![stream(1, 0, "a", Ended::Done, Some("end_turn")), next()], false),
        ("the turn was reported to have failed", vec![answer(cut(Ended::Done), 100, failed), next()], false),
        ("the history was read", vec![cut(Ended::Cut), look(Operation::ListMessages), next()], false),
        ("a run was read", vec![cut(Ended::Cut), look(Operation::RetrieveRun), next()], false),
        ("the run was resumed", vec![cut(Ended::Cut), look(Operation::StreamRun), next()], false),
        ("the run was cancelled", vec![cut(Ended::Cut), look(Operation::CancelMessages), next()], false),
        ("tools were read", vec![cut(Ended::Cut), look(Operation::ListTools), next()], true),
        ("somebody else sends", vec![cut(Ended::Cut), by_another(next())], false),
        ("a call is decided", vec![cut(Ended::Cut), decision], false),
        ("the end was not asked for", vec![filtered, next()], false),
        ("it was sent before the cut", vec![cut(Ended::Cut), stream(3, 50, "b", Ended::Done, Some("end_turn"))], false),
    ] {
        let expected = if expected { vec!["cut_stream_believed"] } else { vec![] };
        assert_eq!(found(&entries), expected, "{why}");
    }
}

#[test]
fn a_message_must_not_be_repeated_once_its_run_has_begun() {
    let again = |mut entry: Entry| {
        entry.retry_of = Some(1);
        entry
    };
    let second = || again(stream(3, 1_000, "a", Ended::Done, Some("end_turn")));
    let first = |status: u16, code: Option<&'static str>, has_begun: bool| {
        let mut entry = body(request(1, 0, Operation::StreamMessage), &json!({"input": "a"}));
        entry.reply = has_begun.then(|| json!({"source": "echo"}));
        answer(entry, 100, Answer { status: Some(status), code, ..Answer::default() })
    };
    let look = answer(request(2, 500, Operation::ListMessages), 1, Answer { status: Some(200), ..Answer::default() });
    let refused_again = again(refused(3, 1_000, Operation::StreamMessage, 409, "conflict"));
    let gave_up = answer(first(0, None, true), 2_000, Answer { ended: Some(Ended::ClientLeft), ..Answer::default() });
    for (why, entries, expected) in [
        ("it was cut", vec![stream(1, 0, "a", Ended::Cut, None), second()], true),
        ("it was whole", vec![stream(1, 0, "a", Ended::Done, Some("end_turn")), second()], true),
        ("the response was lost", vec![first(503, None, true), second()], true),
        ("the client gave up, and closed the connection later", vec![gave_up, second()], true),
        ("it had not begun", vec![first(503, None, false), second()], false),
        ("it was refused", vec![first(429, Some("rate_limited"), false), second()], false),
        ("the model failed, and the client knows", vec![first(500, Some("llm_error"), true), second()], false),
        ("the turn was cancelled", vec![stream(1, 0, "a", Ended::Done, Some("cancelled")), second()], false),
        ("the history was read", vec![stream(1, 0, "a", Ended::Cut, None), look, second()], false),
        ("it does not begin again", vec![stream(1, 0, "a", Ended::Cut, None), refused_again], false),
    ] {
        let expected = if expected { vec!["send_retried_after_start"] } else { vec![] };
        assert_eq!(found(&entries), expected, "{why}");
    }
}

#[test]
fn a_client_waits_as_long_as_it_was_told() {
    let told = |id, at, asked| {
        let mut entry = answer(
            request(id, at, Operation::ListMessages),
            1,
            Answer { status: Some(429), code: Some("rate_limited"), retry_after_ms: Some(10_000), ..Answer::default() },
        );
        entry.decision.steps = vec![Step::new(asked, "no".into())];
        entry
    };
    let next = |at, operation| answer(request(9, at, operation), 1, Answer { status: Some(200), ..Answer::default() });
    let retry = |mut entry: Entry| {
        entry.sent.headers.insert("x-stainless-retry-count".into(), "1".into());
        entry
    };
    let advanced = |mut entry: Entry| {
        entry.at += TimeDelta::seconds(10);
        entry
    };
    for (why, entries, expected) in [
        ("too early", vec![told(1, 0, "quota"), next(5_000, Operation::ListMessages)], true),
        ("the quota concerns all", vec![told(1, 0, "quota"), next(5_000, Operation::RetrieveAgent)], true),
        ("other limits concern the same", vec![told(1, 0, "streams"), next(5_000, Operation::RetrieveAgent)], false),
        ("in time", vec![told(1, 0, "quota"), next(10_000, Operation::ListMessages)], false),
        ("sent before the client could know", vec![told(1, 0, "quota"), next(100, Operation::RetrieveAgent)], false),
        ("again and again", (1..=20).map(|id| told(id, i64::try_from(id).unwrap() * 20, "quota")).collect(), true),
        ("a retry at once", vec![told(1, 0, "quota"), retry(next(100, Operation::ListMessages))], true),
        ("the clock was advanced", vec![told(1, 0, "quota"), advanced(next(400, Operation::ListMessages))], false),
    ] {
        let expected = if expected { vec!["retry_after_ignored"] } else { vec![] };
        assert_eq!(found(&entries), expected, "{why}");
    }
}

#[test]
fn an_expired_token_may_be_tried_once_more() {
    let expired = |id, at| refused(id, at, Operation::ListMessages, 401, "token_expired");
    for (why, entries, expected) in [
        ("once", vec![expired(1, 0)], false),
        ("once more", vec![expired(1, 0), expired(2, 1_000)], false),
        ("again and again", vec![expired(1, 0), expired(2, 1_000), expired(3, 2_000)], true),
        ("at the same time", vec![expired(1, 0), expired(2, 0), expired(3, 1), expired(4, 200)], false),
        ("at the same time, and later", vec![expired(1, 0), expired(2, 0), expired(3, 900), expired(4, 1_000)], true),
    ] {
        let expected = if expected { vec!["expired_token_reused"] } else { vec![] };
        assert_eq!(found(&entries), expected, "{why}");
    }
}

#[test]
fn polling_is_a_storm_only_if_it_lasts() {
    let polls = |count: u64, every: i64| -> Vec<Entry> {
        let poll = |id: u64| {
            let entry = request(id, i64::try_from(id).unwrap() * every, Operation::RetrieveAgent);
            answer(entry, 1, Answer { status: Some(200), ..Answer::default() })
        };
        (1..=count).map(poll).collect()
    };
    for (why, entries, expected) in [
        ("ten a second for three seconds", polls(30, 100), true),
        ("a burst", polls(100, 1), false),
        ("ten a second for one second", polls(10, 100), false),
        ("four a second", polls(40, 250), false),
        ("five a second", polls(40, 200), false),
    ] {
        let expected = if expected { vec!["polling_storm"] } else { vec![] };
        assert_eq!(found(&entries), expected, "{why}");
    }
}

#[test]
fn a_refusal_is_repeated_only_where_nothing_can_have_changed() {
    let twice = |status, code, pause| {
        vec![
            refused(1, 0, Operation::ListMessages, status, code),
            refused(2, pause, Operation::ListMessages, status, code),
        ]
    };
    let forbidden =
        |id: u64| refused(id, i64::try_from(id).unwrap() * 20, Operation::ListMessages, 403, "access_not_granted");
    let without_a_pause: Vec<Entry> = (1..=20).map(forbidden).collect();
    for (why, entries, expected) in [
        ("forbidden", twice(403, "access_not_granted", 1_000), true),
        ("malformed", twice(422, "validation_failed", 1_000), true),
        ("not there yet", twice(404, "not_found", 1_000), false),
        ("in conflict", twice(409, "conflict", 1_000), false),
        ("at the same time", twice(403, "access_not_granted", 50), false),
        ("without a pause", without_a_pause, true),
        ("much later", twice(403, "access_not_granted", 60_000), false),
    ] {
        let expected = if expected { vec!["retried_refusal"] } else { vec![] };
        assert_eq!(found(&entries), expected, "{why}");
    }
}

#[test]
fn the_table_is_whole() {
    for rule in Rule::ALL {
        let row = rule.row();
        assert_eq!(Rule::parse(row.name), Some(*rule));
        for text in [row.seen, row.why, row.fix] {
            assert!(text.ends_with('.') || text.ends_with(")."), "{}: {text}", row.name);
        }
    }
}

#[test]
fn what_is_kept_is_bounded() {
    let mut judge = Judge::default();
    for id in 1..=5_000 {
        let mut entry = refused(id, i64::try_from(id).unwrap(), Operation::ListMessages, 403, "origin_missing");
        entry.caller.jti = Some(format!("token-{}", id % 500).into());
        judge.asked(&entry);
        judge.ended(&entry);
    }
    let all = judge.findings.all(Vec::new());
    assert_eq!(all.len(), 50);
    assert!(all.iter().all(|finding| finding.count == 10 && finding.evidence.len() == 10));
}
