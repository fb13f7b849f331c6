//! What a client token does not see in an answer.

use serde_json::Value;

use super::grant::Redaction;

/// Removes from an answer what the table says a client token must not see. `visible`, if given, names the only fields
/// that remain beside the id.
pub fn redact(answer: &mut Value, redaction: Redaction, visible: Option<&[String]>) {
    if redaction == Redaction::None {
        return;
    }
    blank(answer);
    if let (Some(visible), Value::Object(map)) = (visible, answer) {
        map.retain(|key, _| key == "id" || visible.contains(key));
    }
}

/// Blanks secrets by the names under which Letta nests them, at any depth. A field of the user's own that happens to
/// have such a name is blanked too: better one field too many than one too few.
fn blank(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(blank),
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                match key.as_str() {
                    "secrets" | "tool_exec_environment_variables" => *value = Value::Array(Vec::new()),
                    "source_code" | "model_endpoint" | "embedding_endpoint" | "azure_endpoint" | "error_data"
                    | "api_key" | "api_key_enc" | "access_key" | "access_key_enc" | "auth_token" | "auth_header"
                    | "custom_headers" | "server_url" | "value_enc" | "base_url" => *value = Value::Null,
                    // The handle of an embedding model is a string; a passage's vector is not.
                    "embedding" if value.is_array() => *value = Value::Null,
                    _ => blank(value),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_blanked_wherever_they_are_nested() {
        let mut answer = json!({
            "id": "agent-1", "name": "n", "embedding": "openai/e",
            "secrets": [{"key": "K", "value": "canary"}],
            "tool_exec_environment_variables": [{"value": "canary"}],
            "llm_config": {"model": "m", "model_endpoint": "canary"},
            "tools": [{"name": "t", "source_code": "canary"}],
            "managed_group": {"agents": [{"secrets": [{"value": "canary"}]}]},
            "passages": [{"embedding": [0.1], "embedding_config": {"embedding_endpoint": "canary"}}],
        });
        redact(&mut answer, Redaction::Secrets, None);
        assert!(!answer.to_string().contains("canary"), "{answer}");
        assert_eq!(answer["embedding"], "openai/e");
        assert_eq!(answer["passages"][0]["embedding"], Value::Null);
        assert_eq!(answer["tools"][0]["name"], "t");
    }

    #[test]
    fn a_write_answer_reveals_no_more_than_was_written() {
        let full = json!({"id": "agent-1", "name": "new", "system": "prompt", "secrets": ["x"]});
        let mut answer = full.clone();
        redact(&mut answer, Redaction::SecretsAndUnsent, Some(&["name".to_owned()]));
        assert_eq!(answer, json!({"id": "agent-1", "name": "new"}));
        let mut answer = full;
        redact(&mut answer, Redaction::SecretsAndUnsent, None);
        assert_eq!(answer, json!({"id": "agent-1", "name": "new", "system": "prompt", "secrets": []}));
    }
}
