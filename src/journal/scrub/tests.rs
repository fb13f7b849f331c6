use serde_json::json;

use super::*;

const KEY: &str = "sk-let-0123456789abcdefABCDEF.-_~x";
const JWS: &str = "eyJ0eXAiOiJjayJ9.eyJqdGkiOiIwMTk0ZDFmYy0wMDAwLTcwMDAtODAwMC0wMDAwMDAwMDAwMDEifQ.c2lnbmF0dXJl";

fn token() -> String {
    format!("ck-let-{JWS}")
}

#[test]
fn a_credential_is_replaced_wherever_it_stands() {
    let token = token();
    for (sent, expected) in [
        (KEY.to_owned(), "sk-let-...".to_owned()),
        (format!("a {KEY}, b {token}!"), "a sk-let-..., b ck-let-...!".into()),
        (format!("Bearer {JWS} x"), "Bearer eyJ... x".into()),
        (format!("{KEY}{KEY}"), "sk-let-...".into()),
        ("sk-let-... and ck-let-...".into(), "sk-let-... and ck-let-...".into()),
        ("sk-let- is a prefix".into(), "sk-let-... is a prefix".into()),
        ("task-let-go".into(), "task-let-...".into()),
        ("eyJust a word. eyJ".into(), "eyJust a word. eyJ".into()),
        (format!("ck%2Dlet%2D{JWS}"), "ck-let-...".into()),
        (format!("%2563k-let-{JWS}"), "ck-let-...".into()),
        (format!("\\u0063k-let-{JWS}"), "ck-let-...".into()),
        (format!("{}\\u0064efghijk", &token[..20]), "ck-let-...".into()),
        ("100% of \\u00e9 and %C3%A9".into(), "100% of \\u00e9 and %C3%A9".into()),
    ] {
        assert_eq!(text(&sent), expected, "{sent}");
        assert_eq!(text(&expected), expected);
    }
}

#[test]
fn no_beginning_of_a_credential_remains() {
    for credential in [KEY, &token()] {
        for length in 8..credential.len() {
            let sent = format!("x{}", &credential[..length]);
            assert_eq!(text(&sent).len(), "xsk-let-...".len(), "{sent}");
        }
    }
}

#[test]
fn a_target_names_a_token_by_its_id() {
    let token = token();
    let id = "0194d1fc-0000-7000-8000-000000000001";
    for (sent, expected) in [
        (format!("/v1/client-side-access-tokens/{token}"), format!("/v1/client-side-access-tokens/{id}")),
        ("/v1/client-side-access-tokens/ck-let-x%3D%3D/".into(), "/v1/client-side-access-tokens/ck-let-.../".into()),
        (format!("/v1/agents/?a=1&token={KEY}&api-key=x&b"), "/v1/agents/?a=1&token=...&api-key=...&b".into()),
        (format!("/v1/agents/?q={token}"), "/v1/agents/?q=ck-let-...".into()),
        ("/v1/agents?name=b%C3%BCro&token=".into(), "/v1/agents?name=b%C3%BCro&token=".into()),
    ] {
        assert_eq!(target(&sent), expected);
    }
}

#[test]
fn a_body_keeps_its_shape_without_its_secrets() {
    let sent = json!({
        "messages": [{"role": "user", "content": format!("my key is {KEY}")}],
        "secrets": {"API": "canary"}, "tool_exec_environment_variables": {"A": {"B": ["canary", 7]}},
        "api_key": "canary", "Custom-Headers": {"Authorization": "canary"}, "config": {"env": {"X": "canary"}},
        "max_tokens": 7, "stream_tokens": true, KEY: 1, "token": null,
    });
    let (body, value) = body(sent.to_string().as_bytes(), false);
    let expected = json!({
        "messages": [{"role": "user", "content": "my key is sk-let-..."}],
        "secrets": {"API": "..."}, "tool_exec_environment_variables": {"A": {"B": ["...", "..."]}},
        "api_key": "...", "Custom-Headers": {"Authorization": "..."}, "config": {"env": {"X": "..."}},
        "max_tokens": 7, "stream_tokens": true, "sk-let-...": 1, "token": null,
    });
    assert_eq!(value, expected);
    assert_eq!(body.and_then(|body| body.json()), Some(expected));
}

#[test]
fn what_is_not_json_is_kept_up_to_its_first_secret() {
    for (sent, expected) in [
        (r#"{"a": 1, "api_key": "canary"#, r#"{"a": 1, "api_key""#),
        (r#"{"a": "b", "\u0061pi_key" : canary}"#, r#"{"a": "b", "\u0061pi_key""#),
        ("plain text", "plain text"),
    ] {
        assert_eq!(body(sent.as_bytes(), false).0.unwrap().text(), expected);
    }
    for nothing in [&b""[..], b" \n", b"\xff\xfe"] {
        assert!(body(nothing, false).0.is_none());
    }
}

#[test]
fn a_cut_body_stays_json_and_has_no_credential() {
    let token = token();
    let sent = json!({"a": "é", "messages": [{"content": token}], "secrets": {"X": "canary-canary"}}).to_string();
    for length in 2..sent.len() {
        let (body, _) = body(&sent.as_bytes()[..length], true);
        let body = body.unwrap();
        assert!(body.json().is_some(), "{sent} at {length}");
        assert!(!body.text().contains("canary") && !body.text().contains("eyJ0"), "{body:?}");
    }
}
