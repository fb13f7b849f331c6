//! Each rule.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn send_retried_after_start() {
    let server = Gatelet::ephemeral().await;
    let named = |text: &str| json!({"messages": [{"role": "user", "content": text, "otid": format!("otid-{text}")}]});
    // By the SDK's count, as after a response that was lost on its way; and by the id of the message.
    for (second, body) in [("1", json!({"input": "once"})), ("0", named("once"))] {
        let stage = Stage::new(&server).await;
        let first = entry_of(&stage.attempt("0", &body).await);
        let again = entry_of(&stage.attempt(second, &body).await);
        let finding = stage.finding("send_retried_after_start").await;
        assert_eq!(finding["evidence"], json!([first, again]));
        assert!(finding["fix"].as_str().unwrap().contains("maxRetries"));
    }
    // A client that looks first, one that says the same later, and one whose first attempt had failed.
    let stage = Stage::new(&server).await;
    stage.attempt("0", &named("a")).await.expect(200);
    stage.page.get(&stage.path("/messages")).await.expect(200);
    stage.attempt("0", &named("a")).await.expect(200);
    stage.attempt("0", &json!({"input": "b"})).await.expect(200);
    stage.attempt("0", &json!({"input": "b"})).await.expect(200);
    let failing = json!({"input": "[[error:503]]"});
    for attempt in ["0", "1", "2"] {
        assert!(stage.attempt(attempt, &failing).await.status.is_server_error());
    }
    assert_eq!(stage.broken().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_hammered() {
    let server = Gatelet::ephemeral().await;
    for resumes in [false, true] {
        let stage = Stage::new(&server).await;
        stage.freeze().await;
        let stream = stage.begin_slow_stream("wait").await;
        for number in 0..3 {
            let hurry = json!({"input": format!("hurry {number}")});
            stage.page.post(&stage.path("/messages/stream"), &hurry).await.refused(409, "conflict");
            if resumes && number == 1 {
                stage.page.get(&format!("/v1/runs/active?agent_id={}", stage.agent)).await.expect(200);
            }
        }
        let expected: &[&str] = if resumes { &[] } else { &["busy_hammered"] };
        assert_eq!(stage.broken().await, expected);
        drop(stream);
    }
}

/// Lets the agent ask for an approval. Returns the call.
async fn ask_for_approval(stage: &Stage) -> String {
    let asked = stage.say(&stage.space.owner, "[[call:fetch_webpage {\"url\": \"x\"}]]").await.expect(200);
    assert_eq!(asked["stop_reason"]["stop_reason"], "requires_approval");
    let messages = asked["messages"].as_array().unwrap().iter();
    let mut requests = messages.filter(|message| message["message_type"] == "approval_request_message");
    requests.next().unwrap()["tool_call"]["tool_call_id"].as_str().unwrap().to_owned()
}

fn decide(call: &str, approve: bool) -> Value {
    let approvals = json!([{"type": "approval", "tool_call_id": call, "approve": approve}]);
    json!({"messages": [{"type": "approval", "approvals": approvals}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn approval_abandoned() {
    let server = Gatelet::ephemeral().await;
    let stage = Stage::new(&server).await;
    ask_for_approval(&stage).await;
    let plain = stage.say(&stage.space.owner, "never mind").await;
    plain.refused(409, "conflict");
    let finding = stage.finding("approval_abandoned").await;
    assert_eq!(finding["evidence"], json!([entry_of(&plain) - 1, entry_of(&plain)]));

    for cancels in [false, true] {
        let stage = Stage::new(&server).await;
        let call = ask_for_approval(&stage).await;
        let owner = &stage.space.owner;
        if cancels {
            owner.post(&stage.path("/messages/cancel"), &json!({})).await.expect(200);
        } else {
            owner.post(&stage.path("/messages"), &decide(&call, false)).await.expect(200);
        }
        stage.say(owner, "go on").await.expect(200);
        assert_eq!(stage.broken().await, [""; 0], "cancels: {cancels}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn approval_repeated() {
    let server = Gatelet::ephemeral().await;
    let stage = Stage::new(&server).await;
    let (owner, path) = (&stage.space.owner, stage.path("/messages"));
    let call = ask_for_approval(&stage).await;
    let first = entry_of(&owner.post(&path, &decide(&call, true)).await);
    assert_eq!(stage.broken().await, [""; 0]);
    let second = entry_of(&owner.post(&path, &decide(&call, true)).await);
    assert_eq!(stage.finding("approval_repeated").await["evidence"], json!([first, second]));
    // A decision that was refused may be sent again, and each call has its own.
    let stage = Stage::new(&server).await;
    let (owner, path) = (&stage.space.owner, stage.path("/messages"));
    for _ in 0..2 {
        let call = ask_for_approval(&stage).await;
        stage.page.post(&path, &decide(&call, true)).await.refused(403, "field_not_granted");
        owner.post(&path, &decide(&call, true)).await.expect(200);
    }
    assert_eq!(stage.broken().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_ignored() {
    let server = Gatelet::ephemeral().await;
    let limits = json!({"limits": {"requests_per_minute": 1}});
    let stage = Stage::with(&server, &limits).await;
    stage.until_broken("retry_after_ignored", async || drop(stage.page.get(&stage.path("")).await)).await;

    let stage = Stage::with(&server, &limits).await;
    stage.freeze().await;
    stage.page.get(&stage.path("")).await.expect(200);
    let told = stage.page.get(&stage.path("")).await;
    told.refused(429, "rate_limited");
    let seconds = told.header("retry-after").unwrap();
    stage.space.control.post("/clock/advance", &json!({"by": format!("{seconds}s")})).await.expect(200);
    stage.page.get(&stage.path("")).await.expect(200);
    assert_eq!(stage.broken().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn retried_refusal() {
    let server = Gatelet::ephemeral().await;
    let stage = Stage::new(&server).await;
    let forbidden = json!({"input": "x", "override_model": "y"});
    stage.until_broken("retried_refusal", async || drop(stage.attempt("0", &forbidden).await)).await;

    let stage = Stage::new(&server).await;
    for model in ["a", "b", "c"] {
        let other = json!({"input": "x", "override_model": model});
        stage.attempt("0", &other).await.refused(403, "field_not_granted");
        stage.page.get(&stage.path("/core-memory/blocks/nothing")).await.refused(404, "not_found");
    }
    assert_eq!(stage.broken().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_token_reused() {
    let server = Gatelet::ephemeral().await;
    let stage = Stage::new(&server).await;
    let expire = format!("/tokens/{}/expire", stage.token);
    stage.space.control.post(&expire, &json!({})).await.expect(200);
    stage.until_broken("expired_token_reused", async || drop(stage.page.get(&stage.path("")).await)).await;
    let finding = stage.finding("expired_token_reused").await;
    assert!(finding["evidence"].as_array().unwrap().len() >= 3, "{finding}");

    // All parts of a page learn of it at the same time, one asks once more, and then there is another token.
    let stage = Stage::new(&server).await;
    let expire = format!("/tokens/{}/expire", stage.token);
    stage.space.control.post(&expire, &json!({})).await.expect(200);
    let path = stage.path("");
    let (one, two, three) = tokio::join!(stage.page.get(&path), stage.page.get(&path), stage.page.get(&path));
    for answer in [one, two, three] {
        answer.refused(401, "token_expired");
    }
    stage.page.get(&path).await.refused(401, "token_expired");
    stage.renew().await.get(&path).await.expect(200);
    assert_eq!(stage.broken().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_by_failing() {
    let server = Gatelet::ephemeral().await;
    for fails in [true, false] {
        let stage = Stage::new(&server).await;
        let path = stage.path("");
        for _ in 0..4 {
            let token = stage.space.owner.create_token(&stage.agent, &EVERY_ACCESS).await;
            let page = stage.stranger.page(&token);
            page.get(&path).await.expect(200);
            page.get(&path).await.expect(200);
            if fails {
                stage.space.control.post(&format!("/tokens/{token}/expire"), &json!({})).await.expect(200);
                page.get(&path).await.refused(401, "token_expired");
            }
        }
        assert_eq!(stage.has_broken("refresh_by_failing").await, fails);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn token_per_request() {
    let server = Gatelet::ephemeral().await;
    for requests in [1, 2] {
        let stage = Stage::new(&server).await;
        for _ in 0..7 {
            let page = stage.renew().await;
            for _ in 0..requests {
                page.get(&stage.path("")).await.expect(200);
            }
        }
        let expected: &[&str] = if requests == 1 { &["token_per_request"] } else { &[] };
        assert_eq!(stage.broken().await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn run_never_read() {
    let server = Gatelet::ephemeral().await;
    let begin = async |body: Value| {
        let stage = Stage::new(&server).await;
        let run = stage.space.owner.post(&stage.path("/messages/async"), &body).await.expect(200);
        (stage, run["id"].as_str().unwrap().to_owned())
    };
    let input = json!({"input": "later"});
    let (left_alone, run) = begin(input.clone()).await;
    let (called_back, _) = begin(json!({"input": "later", "callback_url": "https://app.example/done"})).await;
    let (read, read_run) = begin(input.clone()).await;
    read.space.owner.get(&format!("/v1/runs/{read_run}")).await.expect(200);
    let (history, _) = begin(input).await;
    history.page.get(&history.path("/messages")).await.expect(200);
    // Whoever began it just now may still read it.
    left_alone.until_broken("run_never_read", async || ()).await;
    assert!(left_alone.finding("run_never_read").await["sentence"].as_str().unwrap().contains(&run));
    for stage in [called_back, read, history] {
        assert_eq!(stage.broken().await, [""; 0]);
    }
    left_alone.space.owner.get(&format!("/v1/runs/{run}/messages")).await.expect(200);
    assert_eq!(left_alone.broken().await, [""; 0], "it is read after all");
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_storm() {
    let server = Gatelet::ephemeral().await;
    let stage = Stage::new(&server).await;
    stage.until_broken("polling_storm", async || drop(stage.page.get(&stage.path("")).await)).await;
    // As many at once, and different ones.
    let stage = Stage::new(&server).await;
    for number in 1..=30 {
        stage.page.get(&stage.path("")).await.expect(200);
        stage.page.get(&stage.path(&format!("/messages?limit={number}"))).await.expect(200);
    }
    assert_eq!(stage.broken().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_single_request_shows() {
    let server = Gatelet::ephemeral().await;
    let stage = Stage::new(&server).await;
    let key = stage.stranger.bearer(&stage.space.key);
    let from_a_page = key.with("origin", "https://app.example");
    from_a_page.get("/v1/agents/").await.refused(403, "api_key_in_browser");
    assert_eq!(stage.broken().await, ["api_key_in_browser"]);

    let stage = Stage::new(&server).await;
    stage.page.get(&stage.path(&format!("?include=agent.tags&token={}", stage.token))).await;
    assert_eq!(stage.broken().await, ["fields_dropped", "token_in_target"]);
    let finding = stage.finding("token_in_target").await;
    assert!(!finding.to_string().contains(&stage.token));

    // What looks alike and is right.
    let stage = Stage::new(&server).await;
    let owner = &stage.space.owner;
    owner.get("/v1/agents/").await.expect(200);
    stage.page.get(&stage.path("?include=agent.tags")).await.expect(200);
    let token = owner.create_token_with(&token_request(&stage.agent, &["read_agent"])).await;
    owner.delete(&format!("/v1/client-side-access-tokens/{token}")).await;
    assert_eq!(stage.broken().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn double_send() {
    let server = Gatelet::ephemeral().await;
    // Two at the same time; and two clicks in a browser, of which the first was answered already.
    let stage = Stage::new(&server).await;
    stage.freeze().await;
    let stream = stage.begin_slow_stream("hello").await;
    let hello = json!({"input": "[[slow:60000]] hello"});
    stage.page.post(&stage.path("/messages/stream"), &hello).await.refused(409, "conflict");
    assert_eq!(stage.broken().await, ["double_send"]);
    drop(stream);
    let stage = Stage::new(&server).await;
    let browser = stage.page.with("user-agent", "Mozilla/5.0 (X11; Linux x86_64) Chrome/140");
    eventually("two within half a second", Duration::from_secs(10), || async {
        stage.say(&browser, "hello").await.expect(200);
        stage.say(&browser, "hello").await.expect(200);
        stage.has_broken("double_send").await
    })
    .await;
    // A script that says the same twice, one after the other, and two that are different at the same time.
    let stage = Stage::new(&server).await;
    for text in ["hello", "hello"] {
        stage.say(&stage.page, text).await.expect(200);
    }
    let other = stage.space.owner.create_agent(&json!({"name": "other"})).await;
    let there = format!("/v1/agents/{other}/messages");
    let hello = json!({"input": "hello"});
    let (one, two) = tokio::join!(stage.say(&stage.space.owner, "hello"), stage.space.owner.post(&there, &hello));
    assert!(one.status.is_success() && two.status.is_success());
    assert_eq!(stage.broken().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_stream_believed() {
    let server = Gatelet::ephemeral().await;
    let fault = |how: &str| {
        json!({"phase": "after", "where": {"operation": "StreamMessage"}, "when": {"nth": [1]},
        "do": {"cut": {"at": {"frame": 1}, "how": how}}})
    };
    for (how, looks) in [("clean", false), ("reset", false), ("clean", true), ("reset", true)] {
        let stage = Stage::new(&server).await;
        stage.space.control.post("/faults", &fault(how)).await.expect(201);
        let stream = async |text: &str| {
            let path = stage.path("/messages/stream");
            let request = stage.page.request(Method::POST, &path).json(&json!({"input": text}));
            let response = request.send().await.unwrap();
            let entry = response.headers()["x-gatelet-entry"].to_str().unwrap().split_once('/').unwrap().1.to_owned();
            (entry.parse::<u64>().unwrap(), response.text().await)
        };
        let (first, text) = stream("one").await;
        assert_eq!(text.is_ok(), how == "clean", "{how}");
        if looks {
            stage.page.get(&stage.path("/messages")).await.expect(200);
        }
        let (second, text) = stream("two").await;
        assert!(text.unwrap().contains("stop_reason"));
        if looks {
            assert_eq!(stage.broken().await, [""; 0], "{how}");
        } else {
            assert_eq!(stage.broken().await, ["cut_stream_believed"], "{how}");
            assert_eq!(stage.finding("cut_stream_believed").await["evidence"], json!([first, second]));
        }
    }
}

/// The fault is the test's, and what the client does about it the client's.
#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_response_that_was_lost() {
    let server = Gatelet::ephemeral().await;
    for (phase, broken) in [("before", &[][..]), ("after", &["send_retried_after_start"])] {
        let stage = Stage::new(&server).await;
        let fault = json!({"phase": phase, "when": {"nth": [1], "retry": false}, "where": {"operation": "SendMessage"},
            "do": {"status": 503}});
        stage.space.control.post("/faults", &fault).await.expect(201);
        let body = json!({"input": "hello"});
        assert_eq!(stage.attempt("0", &body).await.status, 503);
        assert_eq!(stage.attempt("1", &body).await.status, 200);
        assert_eq!(stage.broken().await, broken, "{phase}");
    }
    // Told to wait by a fault.
    let stage = Stage::new(&server).await;
    let fault = json!({"when": {"nth": [1], "retry": false}, "where": {"operation": "SendMessage"},
        "do": {"status": 429, "headers": {"retry-after": "30"}}});
    stage.space.control.post("/faults", &fault).await.expect(201);
    let body = json!({"input": "hello"});
    assert_eq!(stage.attempt("0", &body).await.status, 429);
    assert_eq!(stage.broken().await, [""; 0]);
    assert_eq!(stage.attempt("1", &body).await.status, 200);
    assert_eq!(stage.broken().await, ["retry_after_ignored"]);
}
