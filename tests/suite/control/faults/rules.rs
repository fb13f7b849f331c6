//! What is not a fault is refused, with its place; what is one is shown as it is.

use http::Method;
use serde_json::{Value, json};

use super::Stage;
use crate::harness::ORIGIN;

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_breaks_a_rule_is_refused_with_its_place() {
    let stage = Stage::new().await;
    let at = json!({"at": {"frame": 1}});
    for (body, place) in [
        (json!({}), ""),
        (json!({"do": {}}), "/do"),
        (json!({"do": {"status": 199}}), "/do/status"),
        (json!({"do": {"status": 600}}), "/do/status"),
        (json!({"do": {"status": "500"}}), "/do/status"),
        (json!({"do": {"code": "no_such_code"}}), "/do/code"),
        (json!({"do": {"code": "internal", "body": {}}}), "/do/body"),
        (json!({"do": {"status": 500, "cut": at}}), "/do/status"),
        (json!({"do": {"code": "internal", "slice": {"bytes": 1}}}), "/do/code"),
        (json!({"do": {"body": {}, "token": {"revoke": at}}}), "/do/body"),
        (json!({"do": {"status": 500, "colour": "red"}}), "/do/colour"),
        (json!({"do": {"status": 500}, "if": {}}), "/if"),
        (json!({"do": {"headers": {"content-length": "1"}}}), "/do/headers/content-length"),
        (json!({"do": {"headers": {"Access-Control-Allow-Origin": "*"}}}), "/do/headers/Access-Control-Allow-Origin"),
        (json!({"do": {"headers": {"a/b": "1"}}}), "/do/headers/a~1b"),
        (json!({"do": {"headers": {"x": "a\nb"}}}), "/do/headers/x"),
        (json!({"do": {"delay": "soon"}}), "/do/delay"),
        (json!({"do": {"delay": "2h"}}), "/do/delay"),
        (json!({"do": {"cut": {"how": "clean"}}}), "/do/cut/at"),
        (json!({"do": {"cut": {"how": "reset"}, "first_byte": "1s"}}), "/do/cut/at"),
        (json!({"do": {"cut": {"how": "hard"}}}), "/do/cut/how"),
        (json!({"do": {"cut": {"at": "end"}}}), "/do/cut/at"),
        (json!({"do": {"cut": {"at": {"frame": 1, "nth": 2}}}}), "/do/cut/at"),
        (json!({"do": {"cut": {"at": {"frame": -1}}}}), "/do/cut/at/frame"),
        (json!({"do": {"cut": {"at": {"type": "x", "nth": 0}}}}), "/do/cut/at"),
        (json!({"do": {"cut": at, "half": {"at": {"frame": 2}, "bytes": 1}}}), "/do/half"),
        (json!({"do": {"half": {"at": {"frame": 2}}}}), "/do/half"),
        (json!({"do": {"half": {"at": {"frame": 2}, "bytes": "all"}}}), "/do/half/bytes"),
        (json!({"do": {"corrupt": {"at": "done", "as": "everything"}}}), "/do/corrupt/as"),
        (json!({"do": {"error_event": {"at": "usage", "status": 200}}}), "/do/error_event/status"),
        (json!({"do": {"pings": "many"}}), "/do/pings"),
        (json!({"do": {"pings": {"every": "1s", "count": 0}}}), "/do/pings/count"),
        (json!({"do": {"slice": {"bytes": 0}}}), "/do/slice/bytes"),
        (json!({"do": {"slice": {"bytes": [9, 3]}}}), "/do/slice/bytes"),
        (json!({"do": {"slice": {"bytes": [1, 2, 3]}}}), "/do/slice/bytes"),
        (json!({"do": {"slice": {"bytes": 1}, "coalesce": true}}), "/do/coalesce"),
        (json!({"do": {"coalesce": 0}}), "/do/coalesce"),
        (json!({"do": {"coalesce": false}}), "/do/coalesce"),
        (json!({"do": {"lines": "lf"}}), "/do/lines"),
        (json!({"do": {"length": "10"}}), "/do/length"),
        (json!({"do": {"length": 10}}), "/do/length"),
        (json!({"do": {"length": "+10", "chunk": "malformed"}}), "/do/chunk"),
        (json!({"do": {"chunk": "missing"}}), "/do/chunk"),
        (json!({"do": {"token": "steal"}}), "/do/token"),
        (json!({"do": {"token": {"expire": at}}}), "/do/token/expire"),
        (json!({"do": {"token": "expire", "status": 500}}), "/do/token"),
        (json!({"do": {"token": "quota", "stall": at}}), "/do/token"),
        (json!({"when": {"nth": []}, "do": {"status": 500}}), "/when/nth"),
        (json!({"when": {"nth": [0]}, "do": {"status": 500}}), "/when/nth"),
        (json!({"when": {"nth": 1}, "do": {"status": 500}}), "/when/nth"),
        (json!({"when": {"first": 1, "every": 2}, "do": {"status": 500}}), "/when"),
        (json!({"when": {"first": 0}, "do": {"status": 500}}), "/when/first"),
        (json!({"when": {"every": 0}, "do": {"status": 500}}), "/when/every"),
        (json!({"when": {"probability": 1.5}, "do": {"status": 500}}), "/when/probability"),
        (json!({"where": {"operation": "NoSuchThing"}, "do": {"status": 500}}), "/where/operation"),
        (json!({"where": {"operation": ["ListAgents", "get /v1"]}, "do": {"status": 500}}), "/where/operation/1"),
        (json!({"where": {"caller": "browser"}, "do": {"status": 500}}), "/where/caller"),
        (json!({"phase": "during", "do": {"status": 500}}), "/phase"),
        (json!({"priority": 1.5, "do": {"status": 500}}), "/priority"),
        (json!({"id": "", "do": {"status": 500}}), "/id"),
        (json!({"id": "a b", "do": {"status": 500}}), "/id"),
        (json!({"preset": "storm"}), "/preset"),
        (json!({"preset": "rough-network", "do": {}}), "/do"),
        (json!({"preset": "rough-network", "where": {"caller": 1}}), "/where/caller"),
        (json!({"faults": {}}), "/faults"),
        (json!({"faults": [], "do": {}}), "/do"),
        (json!({"faults": [{"do": {"status": 500}}, {"do": {"status": 1}}]}), "/faults/1/do/status"),
        (json!({"faults": [1]}), "/faults/0"),
    ] {
        let answer = stage.namespace.control.post("/faults", &body).await;
        assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (422, None), "{body}");
        let refusal: Value = serde_json::from_str(&answer.text).unwrap();
        assert_eq!((&refusal["code"], &refusal["at"]), (&json!("fault_invalid"), &json!(place)), "{body}: {refusal}");
    }
    assert_eq!(stage.listed().await, json!([]), "of several, none is added");
    // Also where a namespace is created.
    let body = json!({"faults": [{"do": {"status": 1}}]});
    let refusal = stage.server.owner().post("/_gatelet/v1/ns", &body).await.expect(422);
    assert_eq!((&refusal["code"], &refusal["at"]), (&json!("fault_invalid"), &json!("/faults/0/do/status")));
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_shown_as_they_were_given() {
    let stage = Stage::new().await;
    let at = json!({"at": {"frame": 3}});
    let given = json!([
        {"id": "all", "where": {"operation": ["StreamMessage", "POST /v1/agents/*/messages*"], "agent": "helper",
            "caller": "client_token", "token": "page", "conversation": "default"},
         "when": {"nth": [1, 4], "retry": false}, "phase": "after", "priority": -3,
         "do": {"headers": {"x-a": "b"}, "delay": "1s", "first_byte": "300ms", "frame_delay": "10ms", "jitter": "5ms",
            "cut": {"at": {"frame": 3}, "how": "reset"}, "stall": {"at": "usage", "for": "1m"}, "drop": {"at": "done"},
            "duplicate": at, "swap": {"at": "stop_reason"}, "corrupt": {"at": {"type": "assistant_message", "nth": 2}, "as": "huge"},
            "pings": {"every": "1ms", "count": 5}, "slice": {"bytes": [1, 40]}, "lines": "crlf", "comments": true}},
        {"id": "half", "when": {"every": 2}, "do": {"half": {"at": {"frame": 1}, "bytes": "in_character"}, "coalesce": true,
            "pings": "none", "token": {"revoke": at}}},
        {"id": "own", "when": {"probability": 0.25}, "do": {"status": 503, "code": "store_busy", "length": "-10"}},
        {"id": "chunk", "when": {"first": 2}, "do": {"body": {"a": [1, null]}, "chunk": "malformed"}},
        {"id": "token", "do": {"token": "store_away"}},
        {"id": "error", "do": {"error_event": {"at": {"frame": 1}, "status": 429}, "coalesce": 3}},
    ]);
    let ids = stage.namespace.control.post("/faults", &json!({"faults": given})).await.expect(201);
    assert_eq!(ids["ids"], json!(["all", "half", "own", "chunk", "token", "error"]));
    let shown = async || {
        let mut listed = stage.listed().await.as_array().unwrap().clone();
        listed.sort_by_key(|fault| given.as_array().unwrap().iter().position(|given| given["id"] == fault["id"]));
        listed.iter().map(|fault| fault["definition"].clone()).collect::<Value>()
    };
    assert_eq!(shown().await, given);
    // An id is one fault's; ids are made for those without.
    let refusal =
        stage.namespace.control.post("/faults", &json!({"id": "own", "do": {"status": 500}})).await.expect(422);
    assert_eq!(refusal["at"], "/id");
    let made = stage.add(&json!({"do": {"status": 500}})).await;
    assert!(made.starts_with("fault-"), "{made}");
    stage.namespace.control.send(Method::DELETE, &format!("/faults/{made}")).await;
    // A snapshot, an export and a reset that keeps them have them; any other reset has not.
    let control = &stage.namespace.control;
    control.put("/snapshots/s", &json!({})).await.expect(201);
    control.post("/reset", &json!({"keep": ["faults"]})).await.expect(200);
    assert_eq!(shown().await, given);
    let dropped = control.post("/reset", &json!({})).await.expect(200);
    assert_eq!((&dropped["dropped"]["fault"], stage.listed().await), (&json!(6), json!([])));
    control.post("/snapshots/s/restore", &json!({})).await.expect(200);
    assert_eq!(shown().await, given);
    // They are those of TOML as well.
    stage.clear().await;
    let toml = "id = \"toml\"\n[do.cut]\nat = { frame = 2 }\nhow = \"close\"\n";
    let url = "/_gatelet/v1/ns/stage/faults";
    let request = stage.server.owner().request(Method::POST, url).header("content-type", "application/toml");
    assert_eq!(request.body(toml).send().await.unwrap().status(), 201);
    assert_eq!(shown().await, json!([{"id": "toml", "do": {"cut": {"at": {"frame": 2}, "how": "close"}}}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_limits_and_presets() {
    let stage = Stage::new().await;
    let about = stage.server.owner().get("/_gatelet/v1").await.expect(200);
    let most = about["limits"]["faults"].as_u64().unwrap();
    assert!(most == 100 && about["features"].as_array().unwrap().contains(&json!("faults")), "{about}");
    let presets = stage.namespace.control.get("/faults/presets").await.expect(200)["presets"].clone();
    let mut count = 0;
    for preset in presets.as_array().unwrap() {
        let ids = stage.namespace.control.post("/faults", &json!({"preset": preset["preset"]})).await.expect(201);
        assert_eq!(ids["ids"].as_array().map(Vec::len), preset["faults"].as_array().map(Vec::len), "{preset}");
        count += ids["ids"].as_array().unwrap().len() as u64;
        assert!(preset["meaning"].is_string());
    }
    let refusal = stage.namespace.control.post("/faults", &json!({"preset": "rough-network"})).await.expect(422);
    assert_eq!(refusal["at"], "/id");
    let narrow = json!({"preset": "flaky-provider", "id": "mine", "where": {"agent": "nobody"}, "priority": 4});
    count += stage.namespace.control.post("/faults", &narrow).await.expect(201)["ids"].as_array().unwrap().len() as u64;
    let rest: Vec<Value> = (count..most).map(|_| json!({"do": {"status": 500}})).collect();
    stage.namespace.control.post("/faults", &json!({"faults": rest})).await.expect(201);
    stage.namespace.control.post("/faults", &json!({"do": {"status": 500}})).await.expect(422);
    assert_eq!(stage.listed().await.as_array().map(Vec::len), Some(100));
}

/// Those who may not control a namespace cannot add faults to it, nor see them.
#[tokio::test(flavor = "multi_thread")]
async fn only_those_who_control_a_namespace_reach_its_faults() {
    let stage = Stage::new().await;
    let path = "/_gatelet/v1/ns/stage/faults";
    let fault = json!({"do": {"status": 500}});
    let other = super::Namespace::create(&stage.server, &json!({"name": "other"})).await;
    for caller in [stage.stranger().page(&stage.token), stage.stranger(), other.owner] {
        for (method, body) in [(Method::GET, None), (Method::POST, Some(&fault)), (Method::DELETE, None)] {
            let status = caller.send(method, path, body).await.status.as_u16();
            assert!(matches!(status, 401 | 403), "{status}");
        }
    }
    stage.server.owner().with("origin", ORIGIN).post(path, &fault).await.refused(403, "control_not_allowed");
    assert_eq!(stage.listed().await, json!([]));
}
