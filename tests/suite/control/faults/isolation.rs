//! A fault concerns its namespace alone.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::super::harness::Namespace;
use crate::harness::{Client, Gatelet};

const NAMESPACES: usize = 200;
const REQUESTS: usize = 6;

/// What a namespace responds to requests that differ, in order.
async fn statuses(url: &str, namespace: &Namespace) -> Vec<(u16, Value)> {
    let client = Client::new(url, false).bearer(&namespace.key);
    let mut seen = Vec::new();
    for number in 0..REQUESTS {
        let answer = client.get(&format!("/v1/agents/?limit={}", number + 1)).await;
        let body: Value = serde_json::from_str(&answer.text).unwrap();
        seen.push((answer.status.as_u16(), body.get("of").cloned().unwrap_or_default()));
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn no_fault_of_200_namespaces_fires_in_another() {
    let server = Gatelet::ephemeral().await;
    let mut namespaces = Vec::new();
    for number in 0..NAMESPACES {
        let name = format!("n{number}");
        // Every third has none.
        let hits: Vec<usize> = (1..=REQUESTS).filter(|nth| (nth + number) % 4 == 0).collect();
        let fault = json!({"id": "same", "when": {"nth": hits}, "do": {"status": 503, "body": {"of": name}}});
        let faults = if number % 3 == 0 || hits.is_empty() { json!([]) } else { json!([fault]) };
        namespaces.push(Namespace::create(&server, &json!({"name": name, "faults": faults})).await);
    }
    let seen = join_all(namespaces.iter().map(|namespace| statuses(server.url(), namespace))).await;
    let mut fired = 0;
    for (number, (namespace, seen)) in namespaces.iter().zip(seen).enumerate() {
        for (index, response) in seen.into_iter().enumerate() {
            let is_hit = number % 3 != 0 && (index + 1 + number) % 4 == 0;
            let expected = if is_hit { (503, json!(namespace.name)) } else { (200, Value::Null) };
            assert_eq!(response, expected, "request {index} of {}", namespace.name);
            fired += usize::from(is_hit);
        }
    }
    assert!(fired > NAMESPACES / 2, "{fired}");
}
