//! Secrets stay out of every log line, at the most talkative level.

use std::time::Duration;

use serde_json::json;

use crate::harness::{NOBODY, Program, eventually, on_both_engines};

const TOKENS: &str = "/v1/client-side-access-tokens";

on_both_engines! {
    async fn no_secret_reaches_the_log(engine: Engine) {
        let program = Program::on(engine).await.env("GATELET_LOG", "trace");
        let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
        let server = program.start().await;
        let owner = server.stranger().bearer(&key);
        let agent = owner.create_agent(&json!({"name": "a", "secrets": {"TOOL": "canary-tool-secret"}})).await;
        let token = owner.create_token(&agent, &["read_agent", "write_messages"]).await;
        let page = server.stranger().page(&token);
        page.get(&format!("/v1/agents/{agent}")).await.expect(200);
        page.post(&format!("/v1/agents/{agent}/messages"), &json!({"input": "canary-message"})).await.expect(200);
        owner.get(&format!("{TOKENS}?agentId={agent}")).await.expect(200);
        owner.delete(&format!("{TOKENS}/{token}")).await;
        owner.delete(&format!("{TOKENS}/ck-let-canary-in-path")).await;
        page.get(&format!("/v1/agents/{agent}")).await.refused(401, "token_revoked");
        server.stranger().bearer("sk-let-canary-unknown-key").get("/v1/agents/").await.refused(401, "bearer_invalid");
        server.stranger().bearer("canary-garbage").get(&format!("/v1/agents/{NOBODY}?x=canary-query")).await;
        owner.post("/v1/agents/", &json!({"secrets": "canary-bad-body"})).await;

        let is_logged = || async { server.log().contains("POST /v1/agents/ -> 422") };
        eventually("the last request is logged", Duration::from_secs(10), is_logged).await;
        let log = server.log();
        assert!(log.contains("/v1/client-side-access-tokens/{token}"), "the template is logged");
        let body = token.split('.').nth(1).unwrap();
        for secret in [&key[7..], &key[..30], body, token.rsplit('.').next().unwrap(), "canary"] {
            if let Some(line) = log.lines().find(|line| line.contains(secret)) {
                panic!("{secret} is in the log: {line}");
            }
        }
        let lines: Vec<serde_json::Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let line = lines.iter().find(|line| line["operation"] == "DELETE /v1/client-side-access-tokens/{token}").unwrap();
        for field in ["request.id", "status", "token", "duration_us"] {
            assert!(!line[field].is_null(), "{field}: {line}");
        }
    }
}
