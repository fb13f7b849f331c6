//! What the pipeline tells the journal.

use std::{mem, sync::Arc};

use chrono::{DateTime, Utc};
use http::request::Parts;
use serde_json::Value;

use super::App;
use crate::{
    access::RequestContext,
    config::StreamAtExpiry,
    credentials::ClientToken,
    journal::{BrokenOff, Decided, Ended, Journal, Recording},
    model::AgentId,
    telemetry::request_id::RequestId,
};

/// Begins to record a request.
pub(super) fn begin(app: &App, journal: &Journal, head: &Parts, request_id: &RequestId) -> Recording {
    let world = app.world.as_ref().filter(|world| !world.is_real_time());
    let at = world.and_then(|world| DateTime::<Utc>::from_timestamp_micros(world.now()));
    journal.begin(head, request_id.as_str(), at)
}

/// What the guard has found out. The steps move out of the context.
pub(super) fn decided(context: &mut RequestContext, agents: &[AgentId]) -> Decided {
    Decided {
        operation: context.operation,
        caller: context.caller.take(),
        steps: context.steps.as_mut().map(mem::take).unwrap_or_default(),
        agents: agents.iter().map(|agent| agent.as_str().into()).collect(),
        dropped_fields: mem::take(&mut context.dropped_fields),
        needed: mem::take(&mut context.needed),
    }
}

/// Records when a token that was issued expires. The request may have counted by another clock, and its body is recorded too.
pub(super) fn expiry(recording: &Recording, created: &Value) {
    if let Some(expires_at) = created.get("expiresAt").and_then(Value::as_str) {
        recording.note("expiry", format!("the token expires at {expires_at} by the clock of the namespace"));
    }
}

/// Tells of a response that has ended early whether its token or its namespace has ended, which breaks it off.
pub(super) fn broken_off(token: Option<&Arc<ClientToken>>, namespace: Option<&Arc<App>>) -> BrokenOff {
    let (token, namespace) = (token.cloned(), namespace.cloned());
    Box::new(move || {
        let app = namespace.as_ref()?;
        let world = app.world.as_ref()?;
        if world.has_ended() {
            return Some(Ended::Cut);
        }
        let token = token.as_ref()?;
        let has_expired =
            || token.has_expired(world.now().div_euclid(1_000)) || world.has_token_expired(&token.id.to_string());
        let has_ended = app.feed.is_revoked(token) || app.stream_at_expiry == StreamAtExpiry::Cut && has_expired();
        has_ended.then_some(Ended::Token)
    })
}
