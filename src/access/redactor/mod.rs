//! Removes from responses what a client token must not see.

mod clean;
mod passing;
mod secrets;
mod text;
mod written;

use http::StatusCode;
use serde_json::Value;

use super::grant::{ClientGrant, Redaction};
use crate::{credentials::ClientToken, model::AgentId, request::body::Body};

pub use passing::Passing;
pub(crate) use passing::redact_in_passing;
use secrets::{Blank, Kind, blank_of};
pub(crate) use text::NotJson;
pub(crate) use text::end_of_string;
pub(crate) use written::Written;

/// What is removed from one response.
#[derive(Debug)]
pub(crate) struct Redactor {
    redaction: Redaction,
    /// The fields that remain for a caller who may not read what it changed; `None` if all may.
    visible: Option<Vec<String>>,
}

impl Redactor {
    /// For an API key's response.
    pub(super) const NOTHING: Self = Self { redaction: Redaction::None, visible: None };

    /// For the response to a client token that sent this body; the first of `agents` is the one that the request is about.
    pub(super) fn of(grant: &ClientGrant, sent: &Value, token: &ClientToken, agents: &[AgentId]) -> Self {
        let redaction = grant.redaction;
        let may_read = || {
            let held = agents.first().and_then(|agent| token.grants(agent.as_str()));
            held.is_some_and(|held| held.contains(grant.words_to_read()))
        };
        let sent = || {
            let sent = sent.as_object().into_iter().flatten();
            sent.filter(|(_, value)| !value.is_null()).map(|(name, _)| name.clone()).collect()
        };
        let visible = (redaction == Redaction::SecretsAndUnsent && !may_read()).then(sent);
        Self { redaction, visible }
    }

    /// The kind of redaction.
    #[must_use]
    pub(crate) fn redaction(&self) -> Redaction {
        self.redaction
    }

    /// Redacts a body while it passes.
    pub(crate) fn apply_in_passing(&self, body: Body) -> Body {
        if self.redaction == Redaction::None { body } else { redact_in_passing(body) }
    }

    /// Redacts JSON. An error does not show an agent's state, so only secrets are removed from it.
    pub(crate) fn apply(&self, status: StatusCode, response: &mut Value) {
        redact(response, self.redaction, self.visible(status));
    }

    /// Redacts JSON that is already written.
    ///
    /// # Errors
    /// When it is not JSON.
    pub(crate) fn apply_to_written(&self, status: StatusCode, response: Written) -> Result<Vec<u8>, NotJson> {
        redact_written(response, self.redaction, self.visible(status))
    }

    fn visible(&self, status: StatusCode) -> Option<&[String]> {
        self.visible.as_deref().filter(|_| status.is_success())
    }
}

/// Removes from a response what the table says a client token must not see. `visible`, if given, names the only fields
/// that remain besides the id.
pub fn redact(response: &mut Value, redaction: Redaction, visible: Option<&[String]>) {
    if redaction == Redaction::None {
        return;
    }
    blank(response);
    match (visible, response) {
        (Some(visible), Value::Object(map)) => map.retain(|key, _| key == "id" || visible.contains(key)),
        (Some(_), Value::Array(items)) => items.clear(),
        _ => {}
    }
}

/// The same for a response that is already written. Where only secrets are removed, they are left out while the text is
/// copied, without parsing it into a value, and pieces that their writer knows to be harmless are skipped.
///
/// # Errors
/// When it is not JSON.
pub fn redact_written(response: Written, redaction: Redaction, visible: Option<&[String]>) -> Result<Vec<u8>, NotJson> {
    let Written { text, harmless } = response;
    if redaction == Redaction::None {
        return Ok(text);
    }
    if visible.is_none() {
        let redacted = text::without(&text, &harmless, blank_of)?;
        debug_assert_eq!(
            redacted,
            text::without(&text, &[], blank_of)?,
            "a piece that is marked as harmless has a secret"
        );
        return Ok(redacted.unwrap_or(text));
    }
    let mut response = serde_json::from_slice(&text).map_err(|_| NotJson)?;
    redact(&mut response, redaction, visible);
    serde_json::to_vec(&response).map_err(|_| NotJson)
}

fn blank(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(blank),
        Value::Object(map) => {
            for (name, value) in map.iter_mut() {
                match blank_of(name.as_bytes(), Kind::of_value(value)) {
                    Some(Blank::List) => *value = Value::Array(Vec::new()),
                    Some(Blank::Null) => *value = Value::Null,
                    Some(Blank::Empty) => *value = Value::from(""),
                    None => blank(value),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// JSON whose members have names of all kinds, some of which need escapes.
    fn any_json() -> impl Strategy<Value = Value> {
        let name = || {
            let names = ["secrets", "api_key", "embedding", "value_enc", "name", "a\"b", "\\", "é", "secrets\u{1}", ""];
            prop::sample::select(names.to_vec()).prop_map(str::to_owned)
        };
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a:,\"\\\\{}\\[\\] é]{0,8}".prop_map(Value::from),
            name().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 64, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((name(), inner), 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn redact_text(text: Vec<u8>) -> Result<Vec<u8>, NotJson> {
        redact_written(text.into(), Redaction::Secrets, None)
    }

    proptest! {
        #[test]
        fn text_is_redacted_as_values_are(response in any_json(), is_pretty in any::<bool>()) {
            let write = if is_pretty { serde_json::to_vec_pretty } else { serde_json::to_vec };
            let text = redact_text(write(&response).unwrap()).unwrap();
            let mut expected = response;
            redact(&mut expected, Redaction::Secrets, None);
            prop_assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), expected);
        }
    }

    #[test]
    fn a_name_is_known_however_it_is_escaped() {
        let text = br#"{"\u0073ecrets":["canary"],"api_ke\u0079":{"x":"canary"},"n":1}"#;
        let text = redact_text(text.to_vec()).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), r#"{"\u0073ecrets":[],"api_ke\u0079":null,"n":1}"#);
    }

    #[test]
    fn what_is_harmless_is_skipped_but_not_inside_a_secret() {
        let harmless =
            |response: &mut Written, piece: &str| response.harmlessly(|text| text.extend_from_slice(piece.as_bytes()));
        let mut response = Written::default();
        response.push(r#"{"name":"#);
        harmless(&mut response, r#""a\"b\\""#);
        response.push(r#","secrets":[{"value":"#);
        harmless(&mut response, r#""canary","ids":["canary"]"#);
        response.push(r#"}],"ids":"#);
        harmless(&mut response, r#"["id-1","id-2"]"#);
        harmless(&mut response, r#","n":1"#);
        let mut list = Written::default();
        list.push("[");
        list.append(&response);
        list.push(r#","api_key":"canary"}]"#);
        let text = redact_written(list, Redaction::Secrets, None).unwrap();
        let expected = r#"[{"name":"a\"b\\","secrets":[],"ids":["id-1","id-2"],"n":1,"api_key":null}]"#;
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn truncated_json_is_refused() {
        for text in [r#"{"secrets":["#, r#"{"secrets"#, r#"{"secrets":"#, r#"{"api_key":"x"#, r#"{"api_key":{"a":1"#] {
            assert_eq!(redact_text(text.into()), Err(NotJson), "{text}");
        }
    }

    #[test]
    fn secrets_are_blanked_wherever_they_are_nested() {
        let mut response = json!({
            "id": "agent-1", "name": "n", "embedding": "openai/e",
            "secrets": [{"key": "K", "value": "canary"}],
            "tool_exec_environment_variables": [{"value": "canary"}],
            "llm_config": {"model": "m", "model_endpoint": "canary"},
            "tools": [{"name": "t", "source_code": "canary"}],
            "nested": {"agents": [{"secrets": [{"value": "canary"}]}]},
            "passages": [{"embedding": [0.1], "embedding_config": {"embedding_endpoint": "canary"}}],
        });
        redact(&mut response, Redaction::Secrets, None);
        assert!(!response.to_string().contains("canary"), "{response}");
        assert_eq!(response["embedding"], "openai/e");
        assert_eq!(response["passages"][0]["embedding"], Value::Null);
        assert_eq!(response["tools"][0]["name"], "t");
    }

    #[test]
    fn other_agents_and_people_are_not_named() {
        let mut response = json!({
            "agent_id": "agent-1", "sender_id": "canary", "group_id": "canary", "identity_ids": ["canary"],
            "identities": [{"id": "canary"}], "managed_group": {"id": "canary"}, "multi_agent_group": {"id": "canary"},
            "usage": {"run_ids": ["canary"]}, "manager_agent_id": "canary", "agent_ids": ["canary"],
            "forked_from_agent_id": "canary", "callback_url": "canary", "callback_status_code": 200,
            "tools": [{"json_schema": {"parameters": {"properties": {"other_agent_id": {"type": "string"}}}}}],
        });
        redact(&mut response, Redaction::InPassing, None);
        assert!(!response.to_string().contains("canary"), "{response}");
        assert_eq!((&response["agent_id"], &response["callback_status_code"]), (&json!("agent-1"), &Value::Null));
        assert_eq!((&response["callback_url"], &response["sender_id"]), (&json!(""), &json!("")));
        let properties = &response["tools"][0]["json_schema"]["parameters"]["properties"];
        assert_eq!(properties["other_agent_id"]["type"], "string", "a schema is not a value");
    }

    #[test]
    fn the_response_to_a_write_reveals_no_more_than_was_written() {
        let full = json!({"id": "agent-1", "name": "new", "system": "prompt", "secrets": ["x"]});
        let mut response = full.clone();
        redact(&mut response, Redaction::SecretsAndUnsent, Some(&["name".to_owned()]));
        assert_eq!(response, json!({"id": "agent-1", "name": "new"}));
        let mut names = json!(["a.txt"]);
        redact(&mut names, Redaction::SecretsAndUnsent, Some(&[]));
        assert_eq!(names, json!([]));
        let mut response = full;
        redact(&mut response, Redaction::SecretsAndUnsent, None);
        assert_eq!(response, json!({"id": "agent-1", "name": "new", "system": "prompt", "secrets": []}));
    }
}
