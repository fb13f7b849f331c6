//! Responses end with their token: also those of known length, read or not.

use std::time::{Duration, Instant};

use h2::Reason;
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    ALL, stages,
    unread::{SECOND, SOON, WINDOW, ask, ask_over, connect, end_of, get, is_reset, read, session},
};
use crate::harness::{Answer, ORIGIN, Scripted, eventually, head, token_request};

#[tokio::test]
async fn a_revoked_token_ends_responses_of_known_length_that_nobody_reads() {
    for stage in stages(&[]).await {
        let expected = stage.grow().await;
        let (token, other) = (stage.token().await, stage.token().await);
        let mut paths = vec![stage.path()];
        if let Some(upstream) = &stage.upstream {
            // This one passes as it comes.
            upstream.answer("GET", &stage.messages(), Scripted::Json(200, json!(["x".repeat(8 * 1024 * 1024)])));
            paths.push(stage.messages());
        }
        let session = session(&stage.server, WINDOW).await;
        let (mut connections, mut streams) = (Vec::new(), Vec::new());
        for path in &paths {
            let (connection, status) = ask(&stage.server, path, &token).await;
            assert_eq!(status, 200, "{}: {path}", stage.name);
            connections.push(connection);
            streams.push(ask_over(&session, &Method::GET, path, &token).await.1);
        }
        let mut pipelined = connect(&stage.server).await;
        pipelined.write_all(get(&stage.path(), &token).repeat(4).as_bytes()).await.unwrap();
        pipelined.read_exact(&mut [0; 12]).await.unwrap();
        connections.push(pipelined);
        let (others, status) = ask(&stage.server, &stage.path(), &other).await;
        assert_eq!(status, 200);
        let (_, mut neighbour) = ask_over(&session, &Method::GET, &stage.path(), &other).await;
        stage.delete(&token).await;
        let started = Instant::now();
        for connection in &connections {
            is_reset(connection, SECOND.saturating_sub(started.elapsed())).await;
        }
        for unread in &mut streams {
            assert_eq!(end_of(unread).await, Some(Reason::CANCEL), "{}", stage.name);
        }
        assert!(started.elapsed() < SECOND, "{}: {:?}", stage.name, started.elapsed());
        // Another token's go on, on the same connection as well.
        assert_eq!(read(&mut neighbour, Duration::ZERO).await, expected, "{}", stage.name);
        assert!(others.take_error().unwrap().is_none(), "{}", stage.name);
    }
}

#[tokio::test]
async fn a_token_that_ends_takes_along_what_is_still_to_come() {
    for at_expiry in ["finish", "cut"] {
        let [_, stage] = stages(&[("GATELET_TOKENS__STREAM_AT_EXPIRY", at_expiry)]).await;
        let upstream = stage.upstream.as_ref().unwrap();
        let half =
            [head(200, &[("content-type", "application/json"), ("content-length", "20000")]), vec![b'x'; 10_000]];
        for is_two in [false, true] {
            let client = reqwest::Client::builder().no_proxy();
            let client = if is_two { client.http2_prior_knowledge() } else { client }.build().unwrap();
            let begin = async |token: &str| {
                let held = upstream.hold("GET", &stage.messages());
                let request = client.get(format!("{}{}", stage.server.url(), stage.messages())).bearer_auth(token);
                let asking = tokio::spawn(request.header("origin", ORIGIN).send());
                held.asked().await;
                held.send(half.concat());
                let mut response = asking.await.unwrap().unwrap();
                assert!(response.chunk().await.unwrap().is_some());
                (held, response)
            };
            let token = stage.token().await;
            let (held, mut response) = begin(&token).await;
            stage.delete(&token).await;
            let rest = async { while let Ok(Some(_)) = response.chunk().await {} };
            tokio::time::timeout(SECOND, rest).await.expect("it is broken off");
            held.gone().await;

            let mut request = token_request(&stage.agent, &ALL);
            request["expires_at"] = json!((chrono::Utc::now() + chrono::TimeDelta::seconds(2)).to_rfc3339());
            let token = stage.owner.create_token_with(&request).await;
            let (held, response) = begin(&token).await;
            let page = stage.page_of(&token);
            eventually("the token has expired", SOON, async || page.get("/v1/agents/").await.status == 401).await;
            if at_expiry == "cut" {
                held.gone().await;
            } else {
                held.send([b'x'; 10_000]);
            }
            assert_eq!(response.bytes().await.is_err(), at_expiry == "cut", "HTTP/2: {is_two}");
        }
        // Nor does what is answered after its token was revoked reach anybody.
        let token = stage.token().await;
        let held = upstream.hold("POST", &stage.messages());
        let request = stage.page_of(&token).request(Method::POST, &stage.messages()).json(&json!({"input": "x"}));
        let asking = tokio::spawn(request.send());
        held.asked().await;
        stage.delete(&token).await;
        held.send(head(200, &[("content-type", "application/json"), ("content-length", "2")]));
        held.send("{}");
        Answer::read(asking.await.unwrap().unwrap()).await.refused(401, "token_revoked");
    }
}
