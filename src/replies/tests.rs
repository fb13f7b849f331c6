//! Tests of choosing, where the suite cannot see the order of events.

use serde_json::{Value, json};

use super::*;

fn replies(definitions: Value) -> Replies {
    let replies = Replies::new(None);
    let Value::Array(definitions) = definitions else { unreachable!("{definitions}") };
    replies.add(read_list(definitions, "", Limits::HTTP).unwrap()).unwrap();
    replies
}

fn facts(text: &str) -> Facts<'_> {
    Facts {
        text,
        agent: "helper",
        agent_id: "agent-1",
        agent_tags: &[],
        conversation: "default",
        turn: None,
        delivery: Deliveries::default(),
        approval: None,
        after: None,
        is_sleeptime: false,
    }
}

fn chosen(replies: &Replies, turn: &TurnReplies, step: usize, text: &str) -> Option<String> {
    let continues = if step == 0 { Continues::Begin } else { Continues::Step };
    replies.choose(turn, step, &facts(text), continues).map(|chosen| chosen.reply().id().to_owned())
}

#[test]
fn two_attempts_at_the_same_time_share_the_choice() {
    let many: Vec<Value> =
        (0..100).map(|n| json!({"id": format!("r{n}"), "times": 1, "steps": [{"assistant": "x"}]})).collect();
    let replies = replies(json!(many));
    let ids: Vec<Option<String>> = std::thread::scope(|scope| {
        let attempt = |n: usize| {
            let replies = &replies;
            scope.spawn(move || {
                let turn = replies.begin_turn(Some((n / 4).to_string().into()), "agent-1");
                chosen(replies, &turn, 0, "x")
            })
        };
        let attempts: Vec<_> = (0..200).map(attempt).collect();
        attempts.into_iter().map(|attempt| attempt.join().unwrap()).collect()
    });
    for attempts in ids.chunks(4) {
        assert!(attempts[0].is_some() && attempts.iter().all(|id| *id == attempts[0]), "{attempts:?}");
    }
    let distinct: std::collections::BTreeSet<_> = ids.iter().flatten().collect();
    assert_eq!((distinct.len(), replies.unused().len()), (50, 50));
}

#[test]
fn the_latest_turns_are_remembered() {
    let replies = replies(json!([{"id": "a", "times": 1, "steps": [{"assistant": "x"}]}]));
    let first = replies.begin_turn(Some("first".into()), "agent-1");
    assert_eq!(chosen(&replies, &first, 0, "x").as_deref(), Some("a"));
    for n in 0..999 {
        replies.begin_turn(Some(n.to_string().into()), "agent-1");
    }
    let again = replies.begin_turn(Some("first".into()), "agent-1");
    assert_eq!(chosen(&replies, &again, 0, "x").as_deref(), Some("a"));
    replies.begin_turn(Some("one more".into()), "agent-1");
    let forgotten = replies.begin_turn(Some("first".into()), "agent-1");
    assert_eq!(chosen(&replies, &forgotten, 0, "x"), None);
}

#[test]
fn what_is_saved_is_restored() {
    let replies = replies(json!([
        {"id": "a", "times": 3, "next_state": "x", "user": "(a)", "steps": [{"assistant": "$1"}]},
        {"priority": 5, "steps": [{"assistant": "b"}]},
    ]));
    assert_eq!(chosen(&replies, &TurnReplies::default(), 0, "a").as_deref(), Some("a"));
    replies.set_unmatched(Unmatched::Refuse);
    let saved = replies.save();
    let written = serde_json::to_string(&saved).unwrap();
    for saved in [saved, serde_json::from_str(&written).unwrap()] {
        let restored = Replies::restore(&saved, None);
        assert_eq!(restored.to_json(), replies.to_json());
        assert_eq!((&*restored.state(), restored.unmatched()), ("x", Unmatched::Refuse));
        // Ids and order go on.
        let more = read_list(vec![json!({"steps": [{"assistant": "c"}]})], "", Limits::HTTP).unwrap();
        assert_eq!(restored.add(more).unwrap(), ["reply-2"]);
        assert_eq!(chosen(&restored, &TurnReplies::default(), 0, "a").as_deref(), Some("reply-2"));
    }
    assert!(serde_json::from_str::<SavedReplies>(&written.replace("(a)", "(a")).is_err());
}
