use serde_json::{Value, json, value::RawValue};

use super::{Plan, Request, Verdict};
use crate::{
    access::Operation,
    error::ApiError,
    journal::{Answer, CallerKind, Entry, Identified, Phase, Sent, SentBody},
};

fn plan(request: Value) -> Result<Plan, ApiError> {
    let request: Request = serde_json::from_value(request).unwrap();
    Plan::new(request)
}

/// A request to send or to read, with the text that is sent.
fn entry(id: u64, operation: Operation, text: &str) -> Entry {
    let body = json!({"messages": [{"role": "user", "content": text}]}).to_string();
    Entry {
        id,
        phase: if text == "slow" { Phase::Decided } else { Phase::Finished },
        operation: Some(operation),
        method: operation.row().method.as_str().into(),
        target: operation.row().template.replace("{agent_id}", "agent-1").into(),
        agents: vec!["agent-1".into()],
        caller: Identified { kind: CallerKind::ClientToken, ..Identified::default() },
        sent: Sent {
            body: Some(SentBody::Json(RawValue::from_string(body).unwrap())),
            headers: [("x-stainless-retry-count".into(), "0".into())].into(),
            ..Sent::default()
        },
        answer: Some(Answer { status: Some(200), ..Answer::default() }),
        ..Entry::default()
    }
}

/// A journal in short: `s` sends hi, `S` sends bye, `w` sends and is not finished, `r` reads.
fn journal(entries: &str) -> Vec<Entry> {
    let entry = |(index, letter): (usize, char)| {
        let (operation, text) = match letter {
            's' => (Operation::StreamMessage, "hi"),
            'S' => (Operation::StreamMessage, "bye"),
            'w' => (Operation::StreamMessage, "slow"),
            _ => (Operation::RetrieveAgent, ""),
        };
        entry(u64::try_from(index + 1).unwrap(), operation, text)
    };
    entries.chars().enumerate().map(entry).collect()
}

fn verdict(request: Value, entries: &[Entry]) -> Verdict {
    plan(request).unwrap().verdict(|seen| entries.iter().for_each(seen))
}

/// The ids that matched; `None` if it failed.
fn matched(request: Value, entries: &str) -> Option<Vec<Vec<u64>>> {
    match verdict(request, &journal(entries)) {
        Verdict::Verified(matched) => Some(matched),
        Verdict::Failed(_) => None,
    }
}

fn failure(request: Value, entries: &[Entry]) -> Value {
    match verdict(request, entries) {
        Verdict::Failed(report) => report.into_error().to_body(""),
        Verdict::Verified(matched) => unreachable!("verified: {matched:?}"),
    }
}

#[test]
fn expectations_count_what_meets_them() {
    let send = json!({"operation": "StreamMessage"});
    let hi = json!({"operation": "StreamMessage", "body": {"/messages/0/content": {"matches": "^h"}}});
    let read = json!({"operation": "RetrieveAgent", "status": 200});
    let times = |mut expectation: Value, times: Value| {
        expectation["times"] = times;
        expectation
    };
    for (name, request, entries, expected) in [
        ("one", json!({"expect": [send]}), "rs", Some(vec![vec![2]])),
        ("none", json!({"expect": [send]}), "r", None),
        ("in any order", json!({"expect": [send, read]}), "rsr", Some(vec![vec![2], vec![1, 3]])),
        ("an entry meets several", json!({"expect": [send, hi]}), "s", Some(vec![vec![1], vec![1]])),
        ("exactly once", json!({"expect": [times(send.clone(), json!(1))]}), "ss", None),
        ("never", json!({"expect": [times(send.clone(), json!(0))]}), "r", Some(vec![vec![]])),
        ("not never", json!({"expect": [times(send.clone(), json!(0))]}), "s", None),
        ("up to", json!({"expect": [times(send.clone(), json!({"max": 2}))]}), "sss", None),
        ("from", json!({"expect": [times(send.clone(), json!({"min": 2}))]}), "sS", Some(vec![vec![1, 2]])),
        ("nothing else", json!({"expect": [send], "nothing_else": true}), "sr", None),
        ("nothing at all", json!({"nothing_else": true}), "", Some(vec![])),
        ("something", json!({"nothing_else": true}), "r", None),
        ("received", json!({"expect": [send]}), "w", Some(vec![vec![1]])),
        ("finished", json!({"expect": [send], "phase": "finished"}), "w", None),
        (
            "unfinished is not unexpected",
            json!({"expect": [send], "phase": "finished", "nothing_else": true}),
            "sw",
            Some(vec![vec![1]]),
        ),
        ("in order", json!({"expect": [send, read], "order": "in_order"}), "ssr", Some(vec![vec![1, 2], vec![3]])),
        ("out of order", json!({"expect": [send, read], "order": "in_order"}), "rs", None),
        ("once too often", json!({"expect": [send, read], "order": "in_order"}), "srs", None),
        ("others between", json!({"expect": [hi, read], "order": "in_order"}), "sSr", Some(vec![vec![1], vec![3]])),
        (
            "exactly",
            json!({"expect": [send, read, send], "order": "exactly"}),
            "srS",
            Some(vec![vec![1], vec![2], vec![3]]),
        ),
        ("not exactly", json!({"expect": [hi, read], "order": "exactly"}), "sSr", None),
        ("header", json!({"expect": [{"headers": {"X-Stainless-Retry-Count": "0"}}]}), "s", Some(vec![vec![1]])),
        (
            "other header",
            json!({"expect": [{"headers": {"x-stainless-retry-count": {"matches": "[1-9]"}}}]}),
            "s",
            None,
        ),
    ] {
        assert_eq!(matched(request, entries), expected, "{name}");
    }
}

#[test]
fn a_request_that_breaks_a_rule_is_refused_with_its_place() {
    let many: Vec<Value> = (0..101).map(|_| json!({})).collect();
    for (request, at) in [
        (json!({}), "/expect"),
        (json!({"expect": many}), "/expect"),
        (json!({"expect": [1]}), "/expect/0"),
        (json!({"expect": [{"body": pointers(51, "x")}]}), "/expect/0"),
        (
            json!({"expect": [{"body": pointers(50, "x")}, {"body": pointers(50, "y")}, {"body": pointers(1, "z")}]}),
            "/expect",
        ),
        (json!({"expect": [{}, {"operation": "Nothing"}]}), "/expect/1/operation"),
        (json!({"expect": [{"operation": 1}]}), "/expect/0/operation"),
        (json!({"expect": [{"colour": "red"}]}), "/expect/0/colour"),
        (json!({"expect": [{"status": "40"}]}), "/expect/0/status"),
        (json!({"expect": [{"body": "hi"}]}), "/expect/0/body"),
        (json!({"expect": [{"body": {"messages": "hi"}}]}), "/expect/0/body/messages"),
        (json!({"expect": [{"body": {"/a/b": {"matches": "("}}}]}), "/expect/0/body/~1a~1b/matches"),
        (json!({"expect": [{"headers": {"accept": {"like": "y"}}}]}), "/expect/0/headers/accept/like"),
        (json!({"expect": [{"headers": {"Cookie": "y"}}]}), "/expect/0/headers/Cookie"),
        (json!({"expect": [{"times": "once"}]}), "/expect/0/times"),
        (json!({"expect": [{"times": -1}]}), "/expect/0/times"),
        (json!({"expect": [{"times": {}}]}), "/expect/0/times"),
        (json!({"expect": [{"times": {"min": 2, "max": 1}}]}), "/expect/0/times/max"),
        (json!({"expect": [{"times": {"min": "1"}}]}), "/expect/0/times/min"),
        (json!({"expect": [{}], "within": "61s"}), "/within"),
        (json!({"expect": [{}], "within": "soon"}), "/within"),
        (json!({"expect": [{}], "after": "x"}), "/after"),
    ] {
        let refusal = plan(request.clone()).unwrap_err();
        assert_eq!((refusal.status().as_u16(), &refusal.to_body("")["at"]), (422, &json!(at)), "{request}");
    }
}

#[test]
fn a_failure_names_the_nearest_entries_and_the_criterion_that_failed() {
    let expected = json!({"operation": "StreamMessage", "agent": "agent-1", "caller": "client_token",
        "body": {"/messages/0/content": {"matches": "^Hello"}}});
    let failure = failure(
        json!({"expect": [expected, {"operation": "ListAgents", "times": {"min": 1, "max": 3}}],
        "nothing_else": true}),
        &journal("rsSr"),
    );
    assert_eq!((&failure["code"], &failure["verified"]), (&json!("verification_failed"), &json!(false)));
    assert_eq!(failure["unexpected"], json!([1, 2, 3, 4]));
    let missing = &failure["missing"][0];
    assert_eq!((&missing["expected"], &missing["found"]), (&json!(0), &json!(0)));
    let nearest: Vec<(u64, u64)> = missing["nearest"]
        .as_array()
        .unwrap()
        .iter()
        .map(|near| (near["entry"].as_u64().unwrap(), near["score"].as_u64().unwrap()))
        .collect();
    assert_eq!(nearest, [(3, 3), (2, 3), (4, 2)]);
    assert_eq!(
        missing["nearest"][0]["criteria"],
        json!([
            {"name": "operation", "ok": true},
            {"name": "agent", "ok": true},
            {"name": "caller", "ok": true},
            {"name": "body/messages/0/content", "ok": false, "expected": "^Hello", "found": "bye"},
        ])
    );
    insta::assert_snapshot!(failure["text"].as_str().unwrap());
}

#[test]
fn a_broken_order_is_told_apart_from_what_is_missing() {
    let failure = failure(
        json!({"expect": [{"operation": "StreamMessage"}, {"operation": "RetrieveAgent"}], "order": "in_order"}),
        &journal("rs"),
    );
    let near = &failure["missing"][0]["nearest"][0];
    assert_eq!(near["entry"], 2);
    assert_eq!(
        near["criteria"][1],
        json!({"name": "order", "ok": false, "expected": "first",
        "found": "entry 1 in its place"})
    );
    insta::assert_snapshot!(failure["text"].as_str().unwrap());
}

/// So many pointers with a regular expression each.
fn pointers(number: usize, name: &str) -> Value {
    (0..number).map(|index| (format!("/{name}{index}"), json!({"matches": "a"}))).collect()
}

#[test]
fn times_are_said_in_words() {
    for (times, said) in [
        (0..=0, "never"),
        (1..=1, "once"),
        (3..=3, "3 times"),
        (1..=usize::MAX, "at least once"),
        (0..=2, "at most twice"),
        (1..=3, "1 to 3 times"),
    ] {
        assert_eq!(super::expectation::times_said(&times), said);
    }
}
