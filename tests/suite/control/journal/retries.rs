//! What belongs together: a request and the one that it repeats, a request and its preflight.

use super::*;

#[tokio::test]
async fn a_request_that_repeats_another_names_it() {
    let observed = Observed::new().await;
    let owner = &observed.owner;
    let agent = owner.create_agent(&json!({"name": "a"})).await;
    let (one, two) =
        (owner.create_token(&agent, &["write_messages"]).await, owner.create_token(&agent, &["write_messages"]).await);
    let page = |token: &str, retry: &str| observed.server.stranger().page(token).with("x-stainless-retry-count", retry);
    let path = format!("/v1/agents/{agent}/messages");
    let said = |text: &str| json!({"messages": [{"role": "user", "content": text}]});
    let named = |otid: &str| json!({"messages": [{"role": "user", "content": "x", "otid": otid}]});
    let (send, preview) = (path.clone(), format!("{path}/preview-raw-payload"));
    let mut ids: Vec<u64> = Vec::new();
    // Each with the position of the request that it repeats.
    for (number, (token, retry, path, body, repeated)) in [
        (&one, "0", &send, said("a"), None),
        (&one, "0", &send, said("a"), None),
        (&one, "1", &send, said("a"), Some(1)),
        (&one, "2", &send, said("a"), Some(2)),
        (&one, "1", &send, said("b"), None),
        (&two, "1", &send, said("b"), None),
        (&two, "2", &send, said("b"), Some(5)),
        (&one, "0", &send, named("otid-1"), None),
        (&one, "0", &send, named("otid-1"), Some(7)),
        (&one, "0", &send, named("otid-2"), None),
        (&two, "0", &send, named("otid-2"), None),
        // Refused before its body is read.
        (&one, "0", &preview, said("c"), None),
        (&one, "1", &preview, said("c"), Some(11)),
    ]
    .into_iter()
    .enumerate()
    {
        let request = page(token, retry).request(Method::POST, path).json(&body);
        let answer = Answer::read(request.send().await.unwrap()).await;
        let id: u64 = answer.header("x-gatelet-entry").unwrap().split_once('/').unwrap().1.parse().unwrap();
        ids.push(id);
        // A body that was not read is drained in the background.
        let entry = observed.list(&format!("after={}&limit=1", id - 1)).await["entries"][0].clone();
        if path == &preview {
            eventually("it is linked", Duration::from_secs(10), || async {
                let entry = observed.list(&format!("after={}&limit=1", id - 1)).await["entries"][0].clone();
                entry["retry_of"] == json!(repeated.map(|position: usize| ids[position]))
            })
            .await;
            continue;
        }
        assert_eq!(entry["retry_of"], json!(repeated.map(|position: usize| ids[position])), "{number}: {entry}");
    }
}

#[tokio::test]
async fn a_preflight_is_part_of_the_request_that_it_precedes() {
    let observed = Observed::new().await;
    let agent = observed.owner.create_agent(&json!({"name": "a"})).await;
    let token = observed.owner.create_token(&agent, &["read_agent"]).await;
    let path = format!("/v1/agents/{agent}");
    let preflight = async |origin: &str, method: &str, path: &str| {
        let asks = observed.server.stranger().with("origin", origin).with("access-control-request-method", method);
        let response = Answer::read(asks.request(Method::OPTIONS, path).send().await.unwrap()).await;
        assert_eq!(response.header("x-gatelet-entry"), None);
    };
    let before = observed.ids("").await;
    preflight(ORIGIN, "PATCH", &path).await;
    preflight("https://other.example", "GET", &path).await;
    preflight(ORIGIN, "GET", "/v1/agents/").await;
    preflight(ORIGIN, "GET", &path).await;
    assert_eq!(observed.ids("").await, before, "a preflight has no entry of its own");
    let page = observed.server.stranger().page(&token);
    let entry = observed.entry_of(&page.get(&path).await).await;
    assert_eq!(entry["preflight"]["status"], 204, "{entry}");
    assert!(entry["preflight"]["at"].as_str() <= entry["real_at"].as_str(), "{entry}");
    let entry = observed.entry_of(&page.get(&path).await).await;
    assert_eq!(entry["preflight"], Value::Null, "it preceded the first one only");
    // A preflight that is refused.
    preflight(ORIGIN, "GET", "/v1//agents").await;
    let entry = observed.entry_of(&page.get("/v1//agents").await).await;
    assert_eq!(entry["preflight"]["status"], 400, "{entry}");
}
