//! Issues client tokens: the rules of a request for one, and the token itself. Shared by the endpoint and the command line.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, NaiveDateTime, Utc};
use serde_json::Value;

use crate::{
    clock::{self, Clock, Millis},
    credentials::{Keyring, client_token},
    entropy,
    error::{ApiError, Code},
    model::{Access, Hostname, Policy, PolicyEntry, Project},
    store::{ClientTokenRow, Store},
};

/// The lifetime of a token whose request names none, as in Letta.
const DEFAULT_LIFETIME: Millis = 5 * 60 * 1000;

/// Issues client tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Issuer {
    store: Store,
    keyring: Arc<Keyring>,
    clock: Clock,
    max_lifetime: Millis,
}

/// A valid request for a client token.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    policy: Policy,
    hostname: Hostname,
    expires_at: Option<Millis>,
}

/// Who issues a token.
#[derive(Clone, Debug)]
pub struct Minter<'a> {
    /// The API key's id.
    pub key_id: &'a str,
    /// The project that the token will belong to.
    pub project: &'a Project,
    /// When the key expires: a token never outlives it.
    pub key_expires_at: Option<Millis>,
}

impl TokenRequest {
    /// Parses the body of a request. Unknown fields are ignored, because the SDKs send some.
    ///
    /// # Errors
    /// 400 naming the field and its rule.
    pub fn parse(body: &Value) -> Result<Self, ApiError> {
        let Value::Object(body) = body else {
            return Err(invalid("The body", "must be a JSON object with policy and hostname"));
        };
        let policy = parse_policy(body.get("policy").unwrap_or(&Value::Null))?;
        let hostname = match body.get("hostname") {
            Some(Value::String(text)) => text.parse().map_err(|rule| invalid("hostname", rule))?,
            _ => return Err(invalid("hostname", "must be given, as an absolute http or https URL")),
        };
        let expires_at = match body.get("expires_at") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(parse_instant(text).ok_or_else(|| {
                invalid("expires_at", "must be an RFC 3339 date and time, such as 2026-12-31T23:59:59Z")
            })?),
            Some(_) => return Err(invalid("expires_at", "must be a string with an RFC 3339 date and time")),
        };
        Ok(Self { policy, hostname, expires_at })
    }

    /// The policy, and the hostname that the token will be bound to.
    #[must_use]
    pub(crate) fn into_parts(self) -> (Policy, Hostname) {
        (self.policy, self.hostname)
    }

    /// A request from its parts, for the command line.
    #[must_use]
    pub fn new(policy: Policy, hostname: Hostname, expires_at: Option<Millis>) -> Self {
        Self { policy, hostname, expires_at }
    }
}

impl Issuer {
    /// An issuer of tokens that live at most `max_lifetime`.
    #[must_use]
    pub fn new(store: Store, keyring: Arc<Keyring>, clock: Clock, max_lifetime: Duration) -> Self {
        let max_lifetime = Millis::try_from(max_lifetime.as_millis()).unwrap_or(Millis::MAX);
        Self { store, keyring, clock, max_lifetime }
    }

    /// Issues a token. It is durable before it is returned.
    ///
    /// # Errors
    /// 400 when the expiry breaks its rule or the token would be too long; 503 when the database fails.
    pub async fn issue(
        &self,
        request: TokenRequest,
        minter: &Minter<'_>,
    ) -> Result<(ClientTokenRow, String), ApiError> {
        let issued_at = self.clock.now_millis();
        let expires_at = match request.expires_at.map(clock::expiry_as_meant) {
            Some(expires_at) if expires_at <= issued_at => return Err(invalid("expires_at", "must be in the future")),
            Some(expires_at) if expires_at - issued_at > self.max_lifetime => {
                let most = humantime::format_duration(Duration::from_millis(self.max_lifetime.unsigned_abs()));
                return Err(invalid("expires_at", &format!("must be at most {most} from now (tokens.max_lifetime)")));
            }
            Some(expires_at) => expires_at,
            None => issued_at + DEFAULT_LIFETIME.min(self.max_lifetime),
        };
        let row = ClientTokenRow {
            id: entropy::token_id(issued_at),
            kid: self.keyring.active_kid(),
            key_id: minter.key_id.to_owned(),
            project: minter.project.clone(),
            origin: request.hostname.origin().to_owned(),
            hostname: request.hostname.as_sent().to_owned(),
            policy: request.policy,
            issued_at,
            expires_at: minter.key_expires_at.map_or(expires_at, |key_expires_at| expires_at.min(key_expires_at)),
        };
        let token = self.keyring.sign(&row)?;
        if token.len() > client_token::MAX_LENGTH {
            let rule = format!(
                "makes the token longer than {} characters, which headers and paths cannot carry; name fewer agents",
                client_token::MAX_LENGTH
            );
            return Err(invalid("policy", &rule));
        }
        self.store.insert_client_token(&row).await?;
        Ok((row, token))
    }

    /// The token of a stored row.
    ///
    /// # Errors
    /// 500 when the key that signed it is gone.
    pub fn token(&self, row: &ClientTokenRow) -> Result<String, ApiError> {
        Ok(self.keyring.sign(row)?)
    }
}

fn parse_policy(value: &Value) -> Result<Policy, ApiError> {
    let Value::Array(entries) = value else {
        return Err(invalid("policy", "must be given, as an array of entries"));
    };
    if entries.is_empty() || entries.len() > Policy::MAX_ENTRIES {
        return Err(invalid("policy", "must have 1 to 50 entries"));
    }
    let mut policy = Policy::default();
    for (index, entry) in entries.iter().enumerate() {
        let at = |field: &str| format!("policy[{index}]{field}");
        let Value::Object(entry) = entry else { return Err(invalid(&at(""), "must be an object")) };
        if entry.get("type").and_then(Value::as_str) != Some("agent") {
            return Err(invalid(&at(".type"), "must be 'agent'"));
        }
        let id = entry.get("id").and_then(Value::as_str).unwrap_or_default();
        let id = id.parse().map_err(|rule| invalid(&at(".id"), rule))?;
        let Some(Value::Array(words)) = entry.get("access") else {
            return Err(invalid(&at(".access"), "must be an array of access words"));
        };
        if words.is_empty() {
            return Err(invalid(&at(".access"), "must not be empty"));
        }
        let mut access = Vec::new();
        for (position, word) in words.iter().enumerate() {
            let Some(word) = word.as_str().and_then(Access::parse) else {
                let rule = "must be one of read_messages, write_messages, read_agent, write_agent";
                return Err(invalid(&at(&format!(".access[{position}]")), rule));
            };
            if !access.contains(&word) {
                access.push(word);
            }
        }
        policy.add(PolicyEntry { id, access });
    }
    Ok(policy)
}

/// Parses RFC 3339. A time without a zone is UTC, as Python's `datetime.isoformat()` writes it.
fn parse_instant(text: &str) -> Option<Millis> {
    let zoned = DateTime::parse_from_rfc3339(text).map(|instant| instant.with_timezone(&Utc));
    let naive = || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").map(|instant| instant.and_utc());
    zoned.or_else(|_| naive()).ok().map(|instant| instant.timestamp_millis())
}

pub(super) fn invalid(field: &str, rule: &str) -> ApiError {
    ApiError::new(Code::InvalidRequest, format!("{field} {rule}."))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_instant_may_lack_its_zone() {
        let expected = Some(1_795_451_509_123);
        for text in [
            "2026-11-23T16:31:49.123Z",
            "2026-11-23T16:31:49.123999Z",
            "2026-11-23T17:31:49.123+01:00",
            "2026-11-23T16:31:49.123456",
        ] {
            assert_eq!(parse_instant(text), expected, "{text}");
        }
        assert!(parse_instant("2026-11-23T16:31:49").is_some());
        for text in ["", "tomorrow", "2026-11-23", "1795451509", "2026-13-23T00:00:00Z", "2026-11-23T16:31:49 UTC"] {
            assert_eq!(parse_instant(text), None, "{text}");
        }
    }

    #[test]
    fn a_request_that_breaks_a_rule_is_told_which() {
        let policy = json!([{"type": "agent", "id": "agent-1", "access": ["read_agent"]}]);
        let entry = |entry: Value| json!({"policy": [entry], "hostname": "http://localhost:3000"});
        let many: Vec<Value> =
            (0..51).map(|n| json!({"type": "agent", "id": format!("agent-{n}"), "access": ["read_agent"]})).collect();
        for (field, body) in [
            ("The body", json!(null)),
            ("The body", json!([])),
            ("policy", json!({"hostname": "http://localhost:3000"})),
            ("policy", json!({"policy": {}, "hostname": "http://localhost:3000"})),
            ("policy", json!({"policy": [], "hostname": "http://localhost:3000"})),
            ("policy", json!({"policy": many, "hostname": "http://localhost:3000"})),
            ("policy[0]", entry(json!("agent-1"))),
            ("policy[0].type", entry(json!({"id": "agent-1", "access": ["read_agent"]}))),
            ("policy[0].type", entry(json!({"type": "block", "id": "agent-1", "access": ["read_agent"]}))),
            ("policy[0].id", entry(json!({"type": "agent", "access": ["read_agent"]}))),
            ("policy[0].id", entry(json!({"type": "agent", "id": "", "access": ["read_agent"]}))),
            ("policy[0].id", entry(json!({"type": "agent", "id": "agent/1", "access": ["read_agent"]}))),
            ("policy[0].id", entry(json!({"type": "agent", "id": "a".repeat(129), "access": ["read_agent"]}))),
            ("policy[0].access", entry(json!({"type": "agent", "id": "agent-1"}))),
            ("policy[0].access", entry(json!({"type": "agent", "id": "agent-1", "access": []}))),
            (
                "policy[0].access[1]",
                entry(json!({"type": "agent", "id": "agent-1", "access": ["read_agent", "admin"]})),
            ),
            ("hostname", json!({"policy": policy})),
            ("hostname", json!({"policy": policy, "hostname": 7})),
            ("hostname", json!({"policy": policy, "hostname": "https://app.example/"})),
            ("expires_at", json!({"policy": policy, "hostname": "https://app.example", "expires_at": "soon"})),
            ("expires_at", json!({"policy": policy, "hostname": "https://app.example", "expires_at": 1})),
        ] {
            let error = TokenRequest::parse(&body).unwrap_err();
            assert_eq!(error.code(), Code::InvalidRequest);
            assert!(error.message().starts_with(&format!("{field} ")), "{field}: {}", error.message());
        }
    }

    #[test]
    fn entries_for_one_agent_are_merged() {
        let request = TokenRequest::parse(&json!({"policy": [
            {"type": "agent", "id": "a", "access": ["write_messages", "read_messages"], "x": 1},
            {"type": "agent", "id": "b", "access": ["read_agent"]},
            {"type": "agent", "id": "a", "access": ["read_messages", "read_agent"]}
        ], "hostname": "https://app.example", "expires_at": null, "unknown": true}))
        .unwrap();
        assert_eq!(
            serde_json::to_value(&request.policy).unwrap(),
            json!([
                {"type": "agent", "id": "a", "access": ["write_messages", "read_messages", "read_agent"]},
                {"type": "agent", "id": "b", "access": ["read_agent"]}
            ])
        );
    }
}
