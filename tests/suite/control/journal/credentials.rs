//! No credential is in the journal, wherever it was sent.

use super::*;
use crate::harness::form;

/// The text of the whole journal: entries, frames, and events.
async fn everything(observed: &Observed) -> String {
    let mut text = observed.get("/journal").await.text;
    for id in observed.ids("").await {
        text.push_str(&observed.get(&format!("/journal/{id}")).await.text);
        text.push_str(&observed.get(&format!("/journal/{id}/frames")).await.text);
    }
    let mut events =
        observed.owner.request(Method::GET, "/_gatelet/v1/ns/default/events?after=0").send().await.unwrap();
    let last = observed.ids("").await.last().copied().unwrap();
    while !text.contains(&format!("\nid: {last}\n")) {
        let chunk = events.chunk().await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    text
}

#[tokio::test]
async fn no_credential_is_in_the_journal() {
    let observed = Observed::new().await;
    let (owner, stranger) = (&observed.owner, observed.server.stranger());
    let key = observed.server.key().to_owned();
    let agent = owner.create_agent(&json!({"name": "a", "secrets": {"SECRET": "canary-of-a-secret"}})).await;
    let access = ["read_agent", "write_messages", "read_messages"];
    let token = owner.create_token(&agent, &access).await;
    let (path, jws) = (format!("/v1/agents/{agent}"), token.strip_prefix("ck-let-").unwrap().to_owned());
    let page = stranger.page(&token);
    page.get(&path).await.expect(200);
    let send = async |client: &Client, method: Method, path: &str, body: Value| {
        Answer::read(client.request(method, path).json(&body).send().await.unwrap()).await
    };
    // In the target, in each spelling.
    let target = format!("/v1/client-side-access-tokens/{token}");
    for path in [
        target.clone(),
        target.replacen("ck-let-", "ck%2Dlet%2D", 1),
        target.replacen("ck-let-", "%63k-let-", 1),
        format!("/v1/{jws}"),
        format!("{path}?token={token}&x={key}"),
        format!("{path}?api_key=canary-of-a-query"),
        format!("/v1//{token}"),
        format!("/v1/agents/{key}"),
    ] {
        send(&stranger, Method::GET, &path, Value::Null).await;
        send(owner, Method::GET, &path, Value::Null).await;
        let asks = stranger.with("origin", ORIGIN).with("access-control-request-method", "GET");
        send(&asks, Method::OPTIONS, &path, Value::Null).await;
    }
    // In headers.
    for (name, value) in [
        ("cookie", format!("token={token}")),
        ("x-bare-password", format!("password {key}")),
        ("user-agent", token.clone()),
        ("idempotency-key", key.clone()),
        ("x-stainless-lang", token.clone()),
        ("x-project", key.clone()),
        ("origin", format!("https://{token}")),
        ("referer", format!("https://app.example/{token}?key={key}")),
        ("x-api-key", "canary-of-a-header".into()),
    ] {
        send(&stranger.with(name, &value), Method::GET, &path, Value::Null).await;
        send(&stranger.bearer(&key).with(name, &value), Method::GET, &path, Value::Null).await;
    }
    // In bodies, and so in the frames of what the agent says.
    for text in [token.clone(), key.clone(), jws.clone(), format!("keys: {key}, {token}.")] {
        let body = json!({"messages": [{"role": "user", "content": text}], "stream_tokens": true, "streaming": true});
        for client in [&page, owner] {
            let answer = send(client, Method::POST, &format!("{path}/messages/stream"), body.clone()).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
        let escaped = body.to_string().replacen("ck-let-", "\\u0063k-let-", 1).replacen("sk-let-", "s\\u006b-let-", 1);
        let request =
            owner.request(Method::POST, &format!("{path}/messages")).header("content-type", "application/json");
        Answer::read(request.body(escaped.clone()).send().await.unwrap()).await;
        let request = owner.request(Method::POST, &format!("{path}/messages")).header("content-type", "text/plain");
        Answer::read(request.body(escaped + "not JSON").send().await.unwrap()).await;
    }
    // At the bound of a body, in a member that is cut with it.
    for padding in 65_400..65_420 {
        let body =
            json!({"description": "x".repeat(padding), "metadata": {"key": token, "api_key": "canary-of-a-body"}});
        send(owner, Method::PATCH, &path, body).await;
    }
    for (path, body) in [
        ("/v1/providers/", json!({"name": "p", "provider_type": "openai", "api_key": "canary-of-a-provider"})),
        (
            "/v1/mcp-servers/",
            json!({"server_name": "s", "config": {"mcp_server_type": "stdio", "command": "x",
            "args": [], "env": {"KEY": "canary-of-an-environment"}, "auth_token": "canary-of-a-token"}}),
        ),
        (path.as_str(), json!({"tool_exec_environment_variables": {"A": "canary-of-a-variable"}})),
    ] {
        let method = if path.ends_with('/') { Method::POST } else { Method::PATCH };
        send(owner, method, path, body).await;
    }
    let file = json!({"agents": [], "secrets": {"A": "canary-of-a-file"}}).to_string();
    owner.send_form("/v1/agents/import", form(&[("file", Some(("a.af", "application/json")), file.as_bytes())])).await;
    // A token that has ended, and one that was never issued.
    owner.delete(&target).await;
    page.get(&path).await.refused(401, "token_revoked");
    stranger.page(&format!("{token}x")).get(&path).await.refused(401, "bearer_invalid");
    let journal = everything(&observed).await;
    let (signature, payload) = (jws.rsplit('.').next().unwrap(), jws.split('.').nth(1).unwrap());
    for secret in [&key["sk-let-".len()..], signature, payload, &signature[..12], &key[10..22], "canary"] {
        let found = journal.find(secret).map(|at| &journal[at.saturating_sub(200)..(at + 100).min(journal.len())]);
        assert_eq!(found, None, "{secret}");
    }
    let jti = observed.list("caller=client_token&limit=1").await["entries"][0]["caller"]["jti"].clone();
    let deleted = observed.only("operation=DeleteClientSideAccessToken").await;
    assert_eq!(deleted["target"], format!("/v1/client-side-access-tokens/{}", jti.as_str().unwrap()), "{deleted}");
}
