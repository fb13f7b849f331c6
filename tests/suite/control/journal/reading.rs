//! Lists, filters, cursors, waiting, events, bounds.

use super::*;

/// Two agents, and a request of each kind of caller.
async fn traffic(observed: &Observed) -> (String, String) {
    let one = observed.owner.create_agent(&json!({"name": "one"})).await;
    let two = observed.owner.create_agent(&json!({"name": "two"})).await;
    let token = observed.owner.create_token(&one, &["read_agent"]).await;
    let page = observed.server.stranger().page(&token);
    page.get(&format!("/v1/agents/{one}")).await.expect(200);
    page.get(&format!("/v1/agents/{two}")).await.refused(403, "agent_not_in_policy");
    observed.server.stranger().get(&format!("/v1/agents/{one}")).await.refused(401, "bearer_missing");
    (one, two)
}

#[tokio::test]
async fn entries_are_found_by_each_criterion() {
    let observed = Observed::new().await;
    let (one, two) = traffic(&observed).await;
    let jti = observed.only("caller=client_token&outcome=admitted").await["caller"]["jti"].as_str().unwrap().to_owned();
    for (query, expected) in [
        (String::new(), vec![1, 2, 3, 4, 5, 6]),
        ("operation=RetrieveAgent".into(), vec![4, 5, 6]),
        (format!("agent={one}"), vec![4, 6]),
        ("agent=two".into(), vec![2]),
        (format!("agent={two}&outcome=denied"), vec![5]),
        ("caller=api_key".into(), vec![1, 2, 3]),
        ("caller=none".into(), vec![6]),
        (format!("token={jti}"), vec![4, 5]),
        (format!("origin={ORIGIN}"), vec![4, 5]),
        ("status=401".into(), vec![6]),
        ("status=4xx".into(), vec![5, 6]),
        ("code=agent_not_in_policy".into(), vec![5]),
        ("phase=received".into(), vec![]),
        ("text=two".into(), vec![2]),
        ("after=4".into(), vec![5, 6]),
        ("limit=2".into(), vec![1, 2]),
        ("after=2&limit=2&caller=client_token".into(), vec![4, 5]),
    ] {
        assert_eq!(observed.ids(&query).await, expected, "{query}");
    }
    let (mut read, mut after) = (Vec::new(), "0".to_owned());
    loop {
        let list = observed.list(&format!("status=2xx&limit=2&after={after}")).await;
        let entries = list["entries"].as_array().unwrap();
        if entries.is_empty() {
            break;
        }
        read.extend(entries.iter().map(|entry| entry["id"].as_u64().unwrap()));
        after = list["next"].as_str().unwrap().to_owned();
    }
    assert_eq!(read, [1, 2, 3, 4]);
    assert_eq!(observed.list("status=2xx&after=4").await["next"], "6", "the others never match");
}

#[tokio::test]
async fn what_no_entry_can_have_is_an_error_that_names_it() {
    let observed = Observed::new().await;
    for (query, named) in [
        ("operation=Stream", "operation"),
        ("caller=page", "caller"),
        ("status=forbidden", "status"),
        ("outcome=refused", "outcome"),
        ("phase=done", "phase"),
        ("after=x", "after"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("wait=61s", "wait"),
        ("wait=soon", "wait"),
        ("count=2&limit=1&wait=1s", "count"),
        ("agnet=x", "agnet"),
        ("code=a&code=b", "code"),
    ] {
        let sentence = observed.get(&format!("/journal?{query}")).await.refused(400, "invalid_request");
        assert!(sentence.contains(named), "{sentence}");
        if !["limit", "wait", "count"].contains(&named) {
            let sentence = observed.get(&format!("/events?{query}")).await.refused(400, "invalid_request");
            assert!(sentence.contains(named), "{sentence}");
        }
    }
    for path in ["/journal/1", "/journal/x", "/journal/99/frames", "/journal/-1"] {
        observed.get(path).await.refused(404, "entry_not_found");
    }
    let stranger = observed.server.stranger();
    for path in ["/journal", "/journal/1", "/journal/1/frames", "/events"] {
        let path = format!("/_gatelet/v1/ns/default{path}");
        let request = stranger.request(Method::GET, &path);
        Answer::read(request.send().await.unwrap()).await.refused(401, "bearer_missing");
        let request = stranger.bearer("ck-let-a.b.c").request(Method::GET, &path);
        Answer::read(request.send().await.unwrap()).await.refused(403, "control_not_allowed");
    }
}

#[tokio::test]
async fn waiting_begins_before_the_request_and_ends_with_it() {
    let observed = Observed::new().await;
    let agent = observed.owner.create_agent(&json!({"name": "a"})).await;
    let waited = observed.list("operation=RetrieveAgent&phase=finished&count=2&wait=30s");
    let requests = async {
        for _ in 0..2 {
            observed.owner.get(&format!("/v1/agents/{agent}")).await.expect(200);
        }
    };
    let (waited, ()) = tokio::join!(waited, requests);
    assert_eq!((waited["entries"].as_array().unwrap().len(), &waited["timed_out"]), (2, &json!(false)), "{waited}");
    let waited = observed.list("operation=DeleteAgent&wait=50ms").await;
    assert_eq!((&waited["entries"], &waited["timed_out"]), (&json!([]), &json!(true)));
    let waited = observed.list("operation=RetrieveAgent&count=9&wait=1ms").await;
    assert_eq!((waited["entries"].as_array().unwrap().len(), &waited["timed_out"]), (2, &json!(true)));
    assert_eq!(observed.list("operation=DeleteAgent").await["timed_out"], json!(false));
}

/// Reads events until `enough` of them are there.
async fn read_events(response: &mut reqwest::Response, mut enough: impl FnMut(&[Value]) -> bool) -> Vec<Value> {
    let (mut text, mut events) = (String::new(), Vec::new());
    while !enough(&events) {
        let chunk = tokio::time::timeout(Duration::from_secs(30), response.chunk()).await.unwrap().unwrap().unwrap();
        text.push_str(std::str::from_utf8(&chunk).unwrap());
        while let Some((event, rest)) = text.split_once("\n\n") {
            if let Some(data) = event.strip_prefix("event: entry\n").and_then(|event| event.split_once("data: ")) {
                events.push(serde_json::from_str(data.1).unwrap());
            }
            text = rest.to_owned();
        }
    }
    events
}

#[tokio::test]
async fn events_tell_of_new_and_changed_entries() {
    let observed = Observed::new().await;
    observed.owner.create_agent(&json!({"name": "before"})).await;
    let listen =
        |query: &str| observed.owner.request(Method::GET, &format!("/_gatelet/v1/ns/default/events?{query}")).send();
    let mut all = listen("after=0").await.unwrap();
    assert_eq!(all.headers()["content-type"], "text/event-stream; charset=utf-8");
    let mut refusals = listen("outcome=denied").await.unwrap();
    let agent = observed.owner.create_agent(&json!({"name": "after"})).await;
    observed.server.stranger().get(&format!("/v1/agents/{agent}")).await.refused(401, "bearer_missing");
    let is_finished =
        |id: u64| move |events: &[Value]| events.iter().any(|event| event["id"] == id && event["phase"] == "finished");
    let events = read_events(&mut all, is_finished(3)).await;
    let ids: std::collections::BTreeSet<u64> = events.iter().map(|event| event["id"].as_u64().unwrap()).collect();
    assert_eq!(Vec::from_iter(ids), [1, 2, 3]);
    let events = read_events(&mut refusals, is_finished(3)).await;
    assert!(events.iter().all(|event| event["decision"]["outcome"] == "denied" && event["id"] == 3), "{events:?}");
    // Two are listening.
    let mut others = Vec::new();
    for _ in 0..14 {
        others.push(listen("").await.unwrap());
    }
    assert!(others.iter().all(|other| other.status() == 200));
    Answer::read(listen("").await.unwrap()).await.refused(429, "rate_limited");
    drop(others);
    eventually("a place becomes free", Duration::from_secs(20), || async { listen("").await.unwrap().status() == 200 })
        .await;
}

#[tokio::test]
async fn clearing_removes_entries_and_resets_no_counter() {
    let observed = Observed::new().await;
    traffic(&observed).await;
    let cleared = observed.control.send(Method::DELETE, "/journal").await;
    assert_eq!((cleared.status.as_u16(), cleared.text.as_str()), (204, ""));
    let list = observed.list("").await;
    assert_eq!((&list["entries"], &list["dropped"]), (&json!([]), &json!(0)));
    observed.get("/journal/1").await.refused(404, "entry_not_found");
    observed.owner.create_agent(&json!({"name": "a"})).await;
    assert_eq!(observed.ids("").await, [7]);
}

#[tokio::test]
async fn the_oldest_entries_are_dropped_and_long_bodies_cut() {
    let observed = Observed::new().await;
    let agent = observed.owner.create_agent(&json!({"name": "a"})).await;
    let long = json!({"description": "x".repeat(100_000), "name": "long"});
    let answer = observed.owner.patch(&format!("/v1/agents/{agent}"), &long).await;
    let sent = observed.entry_of(&answer).await["sent"].clone();
    let kept = sent["body"]["description"].as_str().unwrap().len();
    assert!((65_000..65_536).contains(&kept) && sent["body"].get("name").is_none(), "{kept}");
    assert_eq!((&sent["body_cut"], &sent["body_bytes"]), (&json!(true), &json!(long.to_string().len())));
    let stranger = observed.server.stranger();
    let calls = (0..10).map(|_| async {
        for _ in 0..101 {
            stranger.get("/v1/agents/").await.refused(401, "bearer_missing");
        }
    });
    futures_util::future::join_all(calls).await;
    let list = observed.list("").await;
    assert_eq!((list["entries"].as_array().unwrap().len(), &list["dropped"]), (1_000, &json!(12)));
    assert_eq!(list["entries"][0]["id"], 13);
}
