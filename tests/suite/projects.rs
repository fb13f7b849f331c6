//! Projects: what a key or token of one project does not see.

use serde_json::json;

use crate::harness::{NOBODY, Program, on_both_engines};

const TOKENS: &str = "/v1/client-side-access-tokens";

on_both_engines! {
    async fn what_belongs_to_another_project_does_not_exist(engine: Engine) {
        let program = Program::on(engine).await;
        let any = program.run(&["keys", "create", "--name", "any"]).await.ok();
        let red = program.run(&["keys", "create", "--name", "red", "--project", "red"]).await.ok();
        let server = program.start().await;
        let (any, red) = (server.stranger().bearer(&any), server.stranger().bearer(&red));
        // Both generations of the SDK name a project, each by a header of its own.
        let (any_red, any_blue) = (any.with("x-project-id", "red"), any.with("x-project", "blue"));

        let red_agent = red.create_agent(&json!({"name": "red"})).await;
        let blue_agent = any_blue.create_agent(&json!({"name": "blue"})).await;
        let default_agent = any.create_agent(&json!({"name": "default"})).await;
        let ids = |list: serde_json::Value| -> Vec<String> {
            list.as_array().unwrap().iter().map(|agent| agent["id"].as_str().unwrap().to_owned()).collect()
        };
        for (client, expected) in [(&red, &red_agent), (&any_red, &red_agent), (&any_blue, &blue_agent), (&any, &default_agent)] {
            assert_eq!(ids(client.get("/v1/agents/").await.expect(200)), std::slice::from_ref(expected));
            assert_eq!(client.get("/v1/agents/count").await.expect(200), 1);
        }
        assert_eq!(red.get(&format!("/v1/agents/{red_agent}")).await.expect(200)["project_id"], "red");

        // The limited key: 404, in the words of an agent that is not there.
        for path in [format!("/v1/agents/{blue_agent}"), format!("/v1/agents/{blue_agent}/messages"), format!("/v1/agents/{blue_agent}/folders")] {
            let hidden = red.get(&path).await;
            let missing = red.get(&path.replace(&blue_agent, NOBODY)).await;
            assert_eq!(hidden.status, 404, "{path}");
            assert_eq!(hidden.expect(404)["detail"].to_string().replace(&blue_agent, NOBODY), missing.expect(404)["detail"].to_string());
        }
        assert_eq!(red.delete(&format!("/v1/agents/{blue_agent}")).await.status, 404);
        red.with("x-project-id", "blue").get("/v1/agents/").await.refused(404, "not_found");
        red.with("x-project-id", "red").get("/v1/agents/").await.expect(200);
        any.with("x-project-id", "no such/project").get("/v1/agents/").await.refused(400, "invalid_request");

        // A token belongs to the project it was made in, whatever its policy names.
        let all = ["read_messages", "write_messages", "read_agent", "write_agent"];
        let body = json!({"hostname": crate::harness::ORIGIN, "policy": [
            {"type": "agent", "id": red_agent, "access": all}, {"type": "agent", "id": blue_agent, "access": all}]});
        let token = red.create_token_with(&body).await;
        let page = server.stranger().page(&token);
        page.get(&format!("/v1/agents/{red_agent}")).await.expect(200);
        page.get(&format!("/v1/agents/{blue_agent}")).await.refused(404, "not_found");
        page.post(&format!("/v1/agents/{blue_agent}/messages"), &json!({"input": "x"})).await.refused(404, "not_found");
        let run = any_blue.post(&format!("/v1/agents/{blue_agent}/messages/async"), &json!({"input": "x"})).await.expect(200);
        page.get(&format!("/v1/runs/{}", run["id"].as_str().unwrap())).await.refused(404, "not_found");

        // Tokens of another project are not listed.
        assert_eq!(any_blue.get(TOKENS).await.expect(200)["tokens"], json!([]));
        page.get(&format!("/v1/agents/{red_agent}")).await.expect(200);
    }

    async fn a_key_revokes_what_it_reaches_and_a_204_means_that_the_token_is_refused(engine: Engine) {
        let program = Program::on(engine).await;
        let any = program.run(&["keys", "create", "--name", "any"]).await.ok();
        let red = program.run(&["keys", "create", "--name", "red", "--project", "red"]).await.ok();
        let blue = program.run(&["keys", "create", "--name", "blue", "--project", "blue"]).await.ok();
        let server = program.start().await;
        let [any, red, blue] = [any, red, blue].map(|key| server.stranger().bearer(&key));
        // The unlimited key reaches every project, whichever one its header names, or none.
        for client in [&any, &any.with("x-project-id", "red"), &any.with("x-project-id", "blue"), &any.with("x-project", "new"), &red] {
            let token = red.create_token("agent-1", &["read_agent"]).await;
            let (page, path) = (server.stranger().page(&token), format!("{TOKENS}/{token}"));
            page.get("/v1/agents/").await.refused(403, "operation_not_available");
            for _ in 0..2 {
                let deleted = client.delete(&path).await;
                assert_eq!((deleted.status.as_u16(), deleted.text.as_str()), (204, ""));
                page.get("/v1/agents/").await.refused(401, "token_revoked");
            }
            // It is durable: whoever revokes it again is told that it was done before.
            let again = program.run(&["tokens", "revoke", &token]).await;
            assert!(again.failed().contains("done before"), "{}", again.stderr);
        }
        // A limited key is told of another project's token what it is told of one that nobody made.
        let token = red.create_token("agent-1", &["read_agent"]).await;
        let foreign = blue.delete(&format!("{TOKENS}/{token}")).await;
        let unknown = blue.delete(&format!("{TOKENS}/ck-let-eyJh.eyJi.c2ln")).await;
        assert_eq!((foreign.status, &foreign.text), (unknown.status, &unknown.text));
        server.stranger().page(&token).get("/v1/agents/").await.refused(403, "operation_not_available");
        assert_eq!(red.get(TOKENS).await.expect(200)["tokens"][0]["token"], token);
        // What is left of a token after it was cut short names none, for nobody.
        for client in [&any, &red, &blue] {
            let damaged = client.delete(&format!("{TOKENS}/{}", &token[..token.len() - 1])).await;
            assert!(damaged.refused(400, "invalid_request").contains("damaged"), "{damaged:?}");
        }
        server.stranger().page(&token).get("/v1/agents/").await.refused(403, "operation_not_available");
    }
}
