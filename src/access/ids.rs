//! Checks the form of the ids in a path, before anything else is decided about them.

use serde_json::json;

use super::{Operation, Params, step::shown};
use crate::error::{ApiError, Code};

/// Names an agent's first conversation, which has no id. Every agent has one, so it does not tell which agent is meant.
pub(crate) const DEFAULT_CONVERSATION: &str = "default";

const UUID4: &str = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}";
const EXAMPLE_UUID: &str = "123e4567-e89b-42d3-8456-426614174000";

/// The prefix of the ids in each parameter; other parameters are free text.
const PREFIXES: &[(&str, &str)] = &[
    ("agent_id", "agent"),
    ("archive_id", "archive"),
    ("block_id", "block"),
    ("file_id", "file"),
    ("folder_id", "source"),
    ("group_id", "group"),
    ("identity_id", "identity"),
    ("job_id", "job"),
    ("message_id", "message"),
    ("passage_id", "passage"),
    ("provider_id", "provider"),
    ("source_id", "source"),
    ("step_id", "step"),
    ("tool_id", "tool"),
];

/// Whether `id` is `<prefix>-<uuid4>` with lower case digits.
#[must_use]
pub(crate) fn is_letta_id(id: &str, prefix: &str) -> bool {
    let Some(uuid) = id.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-')) else { return false };
    uuid.len() == 36
        && uuid.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            14 => byte == b'4',
            19 => matches!(byte, b'8' | b'9' | b'a' | b'b'),
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        })
}

/// Checks every id in a path.
///
/// # Errors
/// 422 as Letta words it; 400 for the ids that Letta checks elsewhere.
pub(super) fn check(operation: Operation, params: &Params) -> Result<(), ApiError> {
    for (name, value) in params.iter() {
        match name {
            "run_id" if !is_letta_id(value, "run") => return Err(bad_argument("run", value)),
            "archive_id" | "identity_id" if is_attachment(operation) => {
                let prefix = name.trim_end_matches("_id");
                if !is_letta_id(value, prefix) {
                    return Err(bad_argument(prefix, value));
                }
            }
            "conversation_id" => check_conversation(operation, value)?,
            _ => {
                if let Some((_, prefix)) = PREFIXES.iter().find(|(parameter, _)| *parameter == name)
                    && !is_letta_id(value, prefix)
                {
                    return Err(bad_id(name, prefix, value));
                }
            }
        }
    }
    Ok(())
}

/// The ids in a path, for a step.
pub(super) fn describe(params: &Params) -> String {
    let is_id = |name: &str| {
        matches!(name, "run_id" | "conversation_id") || PREFIXES.iter().any(|(parameter, _)| *parameter == name)
    };
    let ids = params.iter().filter(|(name, _)| is_id(name));
    let ids: Vec<String> = ids.map(|(name, value)| format!("{name} {}", shown(value))).collect();
    if ids.is_empty() { "the path has no ids".into() } else { format!("sent {}", ids.join(", ")) }
}

/// Only the routes that work on messages take `default` or an agent id in place of a conversation.
fn check_conversation(operation: Operation, value: &str) -> Result<(), ApiError> {
    let own_object = matches!(
        operation,
        Operation::RetrieveConversation | Operation::ModifyConversation | Operation::DeleteConversation
    );
    let stands_for_one = !own_object && (value == DEFAULT_CONVERSATION || is_letta_id(value, "agent"));
    if stands_for_one || is_letta_id(value, "conv") { Ok(()) } else { Err(bad_id("conversation_id", "conv", value)) }
}

fn bad_id(name: &str, prefix: &str, value: &str) -> ApiError {
    ApiError::validation(
        "string_pattern_mismatch",
        &["path", name],
        &format!("String should match pattern '{prefix}-{{uuid4}}'"),
        &json!(value),
    )
    .with_context(&format!("'ctx': {{'pattern': '^{prefix}-{UUID4}$'}}"))
    .with("examples", json!([format!("{prefix}-{EXAMPLE_UUID}")]))
}

/// Whether the operation is one for which Letta checks the second id by itself, with a refusal of its own.
fn is_attachment(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::AttachArchiveToAgent
            | Operation::DetachArchiveFromAgent
            | Operation::AttachIdentityToAgent
            | Operation::DetachIdentityFromAgent
    )
}

fn bad_argument(prefix: &str, value: &str) -> ApiError {
    let shown: String = value.chars().take(80).collect();
    ApiError::letta(
        Code::InvalidRequest,
        format!("INVALID_ARGUMENT: Invalid {prefix} ID format: {shown}. Expected format: '{prefix}-<uuid4>'"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_prefix_and_a_lower_case_version_4_uuid() {
        assert!(is_letta_id("agent-123e4567-e89b-42d3-8456-426614174000", "agent"));
        for id in [
            "agent-123e4567-e89b-12d3-8456-426614174000",
            "agent-123E4567-e89b-42d3-8456-426614174000",
            "agent-123e4567-e89b-42d3-c456-426614174000",
            "agent-123e4567-e89b-42d3-8456-42661417400",
            "agent-123e4567-e89b-42d3-8456-4266141740000",
            "agents-123e4567-e89b-42d3-8456-426614174000",
            "123e4567-e89b-42d3-8456-426614174000",
            "agent-",
            "",
        ] {
            assert!(!is_letta_id(id, "agent"), "{id}");
        }
    }
}
