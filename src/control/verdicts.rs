//! The verdicts on the clients of a namespace: what was found, and which rules may be broken.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::RawQuery,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ControlState, caller::Ns, error::ControlResult, input::Input, journal::each};
use crate::{
    error::{ApiError, Code},
    verdicts::{Rule, Severity},
};

/// The longest reason, in bytes.
const MOST_REASON: usize = 1_000;

pub(super) fn routes() -> Router<Arc<ControlState>> {
    Router::new().route("/ns/{ns}/verdicts", get(list)).route("/ns/{ns}/verdicts/allow", post(allow))
}

/// A rule that a test breaks on purpose.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Allowance {
    rule: String,
    reason: String,
}

async fn list(Ns(namespace): Ns, RawQuery(query): RawQuery) -> ControlResult<Json<Value>> {
    let mut least = Severity::Info;
    each(query.as_deref(), |name, value| {
        if name != "min" {
            return Ok(false);
        }
        least = Severity::parse(value).ok_or_else(|| "must be info, warn or error".to_owned())?;
        Ok(true)
    })?;
    Ok(Json(namespace.verdicts().to_json(least)))
}

async fn allow(Ns(namespace): Ns, Input(allowance): Input<Allowance>) -> ControlResult<Json<Value>> {
    let Allowance { rule: name, reason } = allowance;
    let Some(rule) = Rule::parse(&name) else {
        let names: Vec<&str> = Rule::ALL.iter().map(|rule| rule.row().name).collect();
        return Err(invalid("/rule", &format!("there is no such rule; the rules are {}", names.join(", "))).into());
    };
    let reason = reason.trim();
    if reason.is_empty() || reason.len() > MOST_REASON {
        let problem = "say why this test breaks the rule, in at most 1000 bytes";
        return Err(invalid("/reason", problem).into());
    }
    namespace.verdicts().allow(rule, reason.to_owned());
    Ok(Json(json!({"rule": rule.row().name, "reason": reason})))
}

fn invalid(place: &str, problem: &str) -> ApiError {
    ApiError::new(Code::ControlInvalid, format!("{place}: {problem}.")).at(place)
}
