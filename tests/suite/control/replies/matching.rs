//! Which reply a turn gets.

use super::*;

#[tokio::test]
async fn a_reply_fits_if_all_of_its_criteria_do() {
    let stage = Stage::new().await;
    let (owner, control) = (stage.owner(), stage.control());
    let other = owner.create_agent(&json!({"name": "other"})).await;
    let conversation =
        owner.post(&format!("/v1/conversations/?agent_id={}", stage.agent), &json!({})).await.expect(200);
    let conversation = conversation["id"].as_str().unwrap();
    for (criteria, fits) in [
        (json!({}), true),
        (json!({"user": "^Wh.*Rome\\?$"}), true),
        (json!({"user": "^rome"}), false),
        (json!({"text": "weather in Rome?"}), true),
        (json!({"text": "weather in .*"}), false),
        (json!({"agent": "helper"}), true),
        (json!({"agent": "other"}), false),
        (json!({"agent_id": stage.agent}), true),
        (json!({"agent_id": other}), false),
        (json!({"agent_tag": "beta"}), true),
        (json!({"agent_tag": "user:7"}), false),
        (json!({"ref": "helper"}), true),
        (json!({"ref": "nobody"}), false),
        (json!({"conversation": "default"}), true),
        (json!({"conversation": conversation}), false),
        (json!({"delivery": ["json"]}), true),
        (json!({"delivery": ["stream", "background"]}), false),
        (json!({"state": "started"}), true),
        (json!({"state": "told"}), false),
        (json!({"after_tool": "web_search"}), false),
        (json!({"tool_result": "sunny"}), false),
        (json!({"approval": "approved"}), false),
        (json!({"user": "Rome", "agent": "helper", "ref": "helper", "conversation": "default"}), true),
        (json!({"user": "Rome", "agent": "helper", "state": "told"}), false),
    ] {
        let mut criteria = criteria;
        criteria["id"] = json!("tried");
        stage.reply(says(criteria.clone(), "It fits.")).await;
        let answer = stage.send(&json!({"input": "What is the weather in Rome?"})).await;
        assert_eq!(spoken(&answer.expect(200)) == "It fits.", fits, "{criteria}: {}", answer.text);
        let noted = stage.noted(&answer).await;
        if fits {
            let expected = json!({"source": "reply", "id": "tried", "step": 0, "steps": 1, "near_misses": []});
            assert_eq!(noted, expected, "{criteria}");
        } else {
            assert_eq!((&noted["source"], &noted["id"]), (&json!("echo"), &json!(null)), "{criteria}");
            let near = &noted["near_misses"][0];
            let failed: Vec<&Value> =
                near["criteria"].as_array().unwrap().iter().filter(|criterion| criterion["ok"] == false).collect();
            assert_eq!((&near["id"], failed.len()), (&json!("tried"), 1), "{noted}");
            assert!(criteria.get(failed[0]["name"].as_str().unwrap()).is_some(), "{noted}");
            assert!(failed[0].get("expected").is_some() && failed[0].get("found").is_some(), "{noted}");
        }
    }
    // In a conversation of its own.
    control.send(Method::DELETE, "/replies").await;
    stage.reply(says(json!({"conversation": conversation}), "Here.")).await;
    assert_eq!(stage.say("x").await, "Echo: x");
    let path = format!("/v1/conversations/{conversation}/messages");
    let answer = owner.post(&path, &json!({"input": "x", "streaming": false})).await.expect(200);
    assert_eq!(spoken(&answer), "Here.");
}

#[tokio::test]
async fn a_reply_may_be_for_one_way_of_delivery() {
    let stage = Stage::new().await;
    for kind in ["json", "stream", "background"] {
        stage.reply(says(json!({"id": kind, "delivery": [kind]}), kind)).await;
    }
    assert_eq!(stage.say("x").await, "json");
    let answer = stage.owner().post(&stage.path("/stream"), &json!({"input": "x"})).await;
    assert_eq!(streamed(&answer), "stream");
    // It is both, and the newest reply comes first.
    let answer = stage.owner().post(&stage.path("/stream"), &json!({"input": "x", "background": true})).await;
    assert_eq!(streamed(&answer), "background");
    let run = stage.owner().post(&stage.path("/async"), &json!({"input": "x"})).await.expect(200);
    let path = format!("/v1/runs/{}", run["id"].as_str().unwrap());
    crate::harness::eventually("the run ends", std::time::Duration::from_secs(20), || async {
        stage.owner().get(&path).await.expect(200)["status"] == "completed"
    })
    .await;
    let messages = stage.owner().get(&format!("{path}/messages")).await.expect(200);
    assert_eq!(spoken(&json!({"messages": messages})), "background");
}

#[tokio::test]
async fn replies_are_tried_in_their_order_until_they_are_used_up() {
    let script = "[[reply]]\nuser = 'x'\nsteps = [{ assistant = 'first of the script' }]\n\
        [[reply]]\nuser = 'x'\nsteps = [{ assistant = 'second of the script' }]";
    let stage = Stage::new().await;
    let control = stage.control();
    let path = "/_gatelet/v1/ns/-/script";
    let put = stage.owner().request(Method::PUT, path).header("content-type", "application/toml").body(script);
    let answer = Answer::read(put.send().await.unwrap()).await.expect(200);
    assert_eq!(answer["ids"], json!(["script-1", "script-2"]));
    stage.reply(says(json!({"id": "old", "times": 1}), "old")).await;
    let several = json!({"replies": [
        says(json!({"id": "a", "times": 2}), "a"),
        says(json!({"id": "b", "times": 1}), "b"),
        says(json!({"id": "first", "times": 1, "priority": -1}), "first"),
        says(json!({"id": "last", "priority": 1, "times": 1}), "last"),
    ]});
    assert_eq!(control.post("/replies", &several).await.expect(201)["ids"], json!(["a", "b", "first", "last"]));
    let list = control.get("/replies").await.expect(200);
    let ids: Vec<&str> =
        list["replies"].as_array().unwrap().iter().map(|reply| reply["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["first", "a", "b", "old", "last", "script-1", "script-2"]);
    assert_eq!(list["unmatched"], "echo");
    assert_eq!(
        list["replies"][1],
        json!({"id": "a", "source": "run_time", "hits": 0, "left": 2, "priority": 0,
            "definition": says(json!({"id": "a", "times": 2}), "a")})
    );
    for expected in ["first", "a", "a", "b", "old", "last", "first of the script", "first of the script"] {
        assert_eq!(stage.say("x").await, expected);
    }
    let used = stage.listed("a").await;
    assert_eq!((&used["hits"], &used["left"]), (&json!(2), &json!(0)));
    let of_script = stage.listed("script-1").await;
    assert_eq!(
        (&of_script["source"], &of_script["hits"], &of_script["left"]),
        (&json!("file"), &json!(2), &json!(null))
    );
    let answer = stage.send(&json!({"input": "x"})).await;
    assert_eq!(stage.noted(&answer).await["source"], "script");
    // A reply of the same id takes the place of the other one, and begins anew.
    stage.reply(says(json!({"id": "a", "times": 1}), "again")).await;
    assert_eq!((stage.say("x").await, stage.say("x").await), ("again".into(), "first of the script".into()));
    // What is removed is gone.
    control.send(Method::DELETE, "/replies/script-1").await;
    assert_eq!(stage.say("x").await, "second of the script");
    stage.reply(says(json!({}), "mine")).await;
    control.send(Method::DELETE, "/replies?source=run_time").await;
    assert_eq!(stage.say("x").await, "second of the script");
    control.send(Method::DELETE, "/replies").await;
    assert_eq!(stage.say("x").await, "Echo: x");
    assert_eq!(control.send(Method::DELETE, "/replies/nobody").await.status, 204);
    control.send(Method::DELETE, "/replies?source=mine").await.refused(400, "invalid_request");
}

#[tokio::test]
async fn a_reply_may_be_for_one_turn_of_the_user() {
    let stage = Stage::new().await;
    for turn in [0, 2] {
        stage.reply(says(json!({"turn": turn}), "turn ${turn}")).await;
    }
    let body = json!({"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]});
    assert_eq!(spoken(&stage.send(&body).await.expect(200)), "turn 0", "the messages of one request are one turn");
    assert_eq!(stage.say("c").await, "Echo: c");
    assert_eq!(stage.say("d").await, "turn 2");
    assert_eq!(stage.say("e").await, "Echo: e");
}

#[tokio::test]
async fn states_lead_from_one_reply_to_the_next() {
    let stage = Stage::new().await;
    let control = stage.control();
    let replies = json!({"replies": [
        says(json!({"text": "login", "state": "started", "next_state": "in"}), "Welcome."),
        says(json!({"text": "login", "state": "in"}), "You are in."),
        says(json!({"text": "logout", "state": "in", "next_state": "started"}), "Bye."),
    ]});
    control.post("/replies", &replies).await.expect(201);
    for (text, said, state) in [
        ("logout", "Echo: logout", "started"),
        ("login", "Welcome.", "in"),
        ("login", "You are in.", "in"),
        ("logout", "Bye.", "started"),
        ("login", "Welcome.", "in"),
    ] {
        assert_eq!(stage.say(text).await, said);
        assert_eq!(control.get("/state").await.expect(200), json!({"state": state}));
    }
    assert_eq!(control.put("/state", &json!({"state": "started"})).await.expect(200), json!({"state": "started"}));
    assert_eq!(stage.say("login").await, "Welcome.");
    for body in [json!({"state": ""}), json!({}), json!({"state": 5}), json!({"state": "x", "y": 1})] {
        control.put("/state", &body).await.refused(422, "control_invalid");
    }
}

#[tokio::test]
async fn a_later_step_may_get_another_reply() {
    let stage = Stage::new().await;
    let replies = json!({"replies": [
        {"id": "sunny", "after_tool": "get_weather", "tool_result": "sunny", "steps": [{"assistant": "Go out: $returned."}]},
        {"id": "other", "after_tool": "get_weather", "user": "to (?<city>\\w+)", "times": 1, "steps": [
            {"tool_call": "get_trains", "arguments": {"to": "$city"}, "returns": "at noon"},
            {"assistant": "Take the train $returned."},
        ]},
        {"id": "begin", "text": "trip", "steps": [
            {"tool_call": "get_weather", "returns": "fog"}, {"assistant": "No idea."},
        ]},
        {"id": "rain", "user": "trip in (rain|sun)", "steps": [
            {"tool_call": "get_weather", "returns": "${1}ny"}, {"assistant": "Stay in."},
        ]},
    ]});
    stage.control().post("/replies", &replies).await.expect(201);
    stage.control().send(Method::DELETE, "/replies/begin").await;
    // A reply goes on unless another one fits what the tool returned.
    let answer = stage.send(&json!({"input": "trip in rain"})).await;
    assert_eq!(spoken(&answer.expect(200)), "Stay in.");
    let noted = stage.noted(&answer).await;
    assert_eq!((&noted["id"], &noted["step"], &noted["steps"]), (&json!("rain"), &json!(1), &json!(2)));
    let answer = stage.send(&json!({"input": "trip in sun"})).await;
    assert_eq!(spoken(&answer.expect(200)), "Go out: sunny.");
    // It may call a tool of its own, and does not take over from itself.
    let answer = stage.send(&json!({"input": "trip in rain to Rome"})).await;
    let messages = answer.expect(200);
    assert_eq!(spoken(&messages), "Take the train at noon.");
    assert!(messages.to_string().contains("Rome"), "{messages}");
    let noted = stage.noted(&answer).await;
    assert_eq!((&noted["id"], &noted["step"], &noted["steps"]), (&json!("other"), &json!(1), &json!(3)));
    // It is used up.
    assert_eq!(stage.say("trip in rain to Rome").await, "Stay in.");
    assert_eq!((stage.hits("rain").await, stage.hits("sunny").await, stage.hits("other").await), (4, 1, 1));
}

#[tokio::test]
async fn a_turn_goes_on_after_a_decision_with_the_reply_that_asked_for_it() {
    let stage = Stage::new().await;
    let mail = json!({"approval": "send_mail", "arguments": {"to": "Sam"}, "returns": "sent to Sam"});
    stage
        .reply(json!({"id": "mail", "text": "mail", "times": 1, "next_state": "asked",
        "steps": [mail, {"assistant": "Done: $returned."}]}))
        .await;
    let asked = stage.send(&json!({"input": "mail"})).await.expect(200);
    assert_eq!(asked["stop_reason"]["stop_reason"], "requires_approval");
    // Also if it is the newest reply no longer.
    stage.reply(says(json!({"id": "newer", "text": "mail"}), "newer")).await;
    let call = |asked: &Value| asked["messages"][0]["tool_call"]["tool_call_id"].clone();
    let answer = stage.send(&approval(&call(&asked), true)).await;
    assert_eq!(spoken(&answer.expect(200)), "Done: sent to Sam.");
    assert_eq!(stage.noted(&answer).await["id"], "mail");
    assert_eq!((stage.hits("mail").await, stage.hits("newer").await), (1, 0));
    // A reply to the decision takes over.
    stage.control().send(Method::DELETE, "/replies/newer").await;
    stage.reply(json!({"id": "mail", "text": "mail", "steps": [mail, {"assistant": "Done."}]})).await;
    stage.reply(says(json!({"id": "no", "approval": "denied"}), "Then not.")).await;
    stage.reply(says(json!({"id": "yes", "approval": "approved", "times": 1}), "Gladly.")).await;
    for (approve, expected) in [(false, "Then not."), (true, "Gladly."), (true, "Done.")] {
        let asked = stage.send(&json!({"input": "mail"})).await.expect(200);
        assert_eq!(spoken(&stage.send(&approval(&call(&asked), approve)).await.expect(200)), expected);
    }
    // A snapshot has the reply that waits.
    let asked = stage.send(&json!({"input": "mail"})).await.expect(200);
    stage.control().send(Method::PUT, "/snapshots/waiting").await.expect(201);
    for _ in 0..2 {
        let answer = stage.send(&approval(&call(&asked), true)).await;
        assert_eq!(spoken(&answer.expect(200)), "Done.");
        stage.control().send(Method::POST, "/snapshots/waiting/restore").await.expect(200);
    }
}

#[tokio::test]
async fn sleeptime_agents_get_only_replies_that_name_them() {
    let stage = Stage::with(json!({"unmatched": "refuse"})).await;
    let agent = stage.owner().create_agent(&json!({"name": "main", "enable_sleeptime": true})).await;
    stage.reply(says(json!({"id": "all"}), "Yes.")).await;
    let path = format!("/v1/agents/{agent}/messages");
    let answer = stage.owner().post(&path, &json!({"input": "Hi"})).await.expect(200);
    assert_eq!(spoken(&answer), "Yes.");
    let run = format!("/v1/runs/{}", answer["usage"]["run_ids"][0].as_str().unwrap());
    crate::harness::eventually("the run ends", std::time::Duration::from_secs(20), || async {
        stage.owner().get(&run).await.expect(200)["status"] == "completed"
    })
    .await;
    assert_eq!(stage.hits("all").await, 1);
}

#[tokio::test]
async fn a_thousand_replies_are_each_found() {
    let stage = Stage::new().await;
    let user = |n: usize| match n % 4 {
        0 => json!({"text": format!("question {n}.")}),
        1 => json!({"user": format!("^question {n}\\.$")}),
        2 => json!({"user": format!("(?i)QUESTION {n}\\.")}),
        _ => json!({"user": format!("question (?<number>{n})\\.")}),
    };
    let replies: Vec<Value> = (0..1_000).map(|n| says(user(n), &format!("answer {n}"))).collect();
    let added = stage.control().post("/replies", &json!({"replies": replies})).await.expect(201);
    assert_eq!(added["ids"].as_array().unwrap().len(), 1_000);
    for n in [0, 1, 2, 3, 98, 99, 500, 501, 502, 503, 997, 999] {
        assert_eq!(stage.say(&format!("question {n}.")).await, format!("answer {n}"));
    }
    assert_eq!(stage.say("question 1000.").await, "Echo: question 1000.");
    let refused = stage.control().post("/replies", &says(json!({}), "one more")).await;
    assert!(refused.refused(422, "script_invalid").contains("1000"), "{}", refused.text);
    let unused = stage.control().get("/unused").await.expect(200);
    assert_eq!(unused["replies"].as_array().unwrap().len(), 988);
}
