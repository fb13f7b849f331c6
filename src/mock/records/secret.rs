//! Secrets of agents, which their tools see as environment variables. Requests send a map, responses show a list.

use serde::{Deserialize, Serialize};

use super::{ACTOR, ORGANIZATION, timestamp::Timestamp};
use crate::{
    entropy,
    error::ApiError,
    mock::validation::body::{Fields, TextMap},
};

/// A secret.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct Secret {
    id: String,
    pub(super) key: String,
    pub(super) value: String,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// A secret as clients see it. The order of the fields is Letta's.
#[derive(Serialize)]
pub(super) struct WireSecret<'a> {
    created_by_id: &'static str,
    last_updated_by_id: &'static str,
    created_at: Timestamp,
    updated_at: Timestamp,
    organization_id: &'static str,
    id: &'a str,
    key: &'a str,
    value: &'a str,
    description: Option<&'a str>,
    value_enc: &'a str,
    agent_id: &'a str,
}

/// Replaces an agent's secrets by those of a request, if it has any. A secret that is kept keeps its id. The field has
/// two names; if both are sent, the current one wins.
pub(super) fn replace(secrets: &mut Vec<Secret>, fields: &Fields<'_>) -> Result<(), ApiError> {
    let deprecated = fields.optional::<TextMap>("tool_exec_environment_variables")?;
    let Some(TextMap(entries)) = fields.optional("secrets")?.or(deprecated) else { return Ok(()) };
    let now = Timestamp::now();
    let mut present = std::mem::take(secrets);
    for (key, value) in entries {
        let kept = present.iter().position(|secret| secret.key == key).map(|index| present.swap_remove(index));
        secrets.push(match kept {
            Some(secret) if secret.value == value => secret,
            Some(secret) => Secret { value, updated_at: now, ..secret },
            None => Secret { id: entropy::letta_id("agent-env"), key, value, created_at: now, updated_at: now },
        });
    }
    Ok(())
}

impl Secret {
    /// The secret as clients see it: in plain text, as Letta shows it.
    pub(super) fn wire<'a>(&'a self, agent_id: &'a str) -> WireSecret<'a> {
        WireSecret {
            created_by_id: ACTOR,
            last_updated_by_id: ACTOR,
            created_at: self.created_at,
            updated_at: self.updated_at,
            organization_id: ORGANIZATION,
            id: &self.id,
            key: &self.key,
            value: &self.value,
            description: None,
            value_enc: &self.value,
            agent_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn secrets_are_replaced_as_a_whole_and_keep_their_ids() {
        let mut secrets = Vec::new();
        let mut set = |body: &Value| {
            replace(&mut secrets, &Fields::of_body(body).unwrap()).unwrap();
            secrets.clone()
        };
        let first = set(&json!({"secrets": {"K": "1", "L": "2"}, "tool_exec_environment_variables": {"M": "3"}}));
        assert_eq!(first.iter().map(|secret| secret.key.as_str()).collect::<Vec<_>>(), ["K", "L"]);
        let second = set(&json!({"tool_exec_environment_variables": {"K": "3"}}));
        assert_eq!((second.len(), &second[0].id, second[0].value.as_str()), (1, &first[0].id, "3"));
        assert_eq!(set(&json!({})).len(), 1);
        assert!(set(&json!({"secrets": {}})).is_empty());
    }
}
