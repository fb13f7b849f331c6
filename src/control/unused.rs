//! What a test has prepared and not used.

use std::sync::Arc;

use axum::{Json, Router, routing::get};
use serde_json::{Value, json};

use super::{ControlState, caller::Ns};
use crate::faults::Faults;

pub(super) fn routes() -> Router<Arc<ControlState>> {
    Router::new().route("/ns/{ns}/unused", get(show))
}

/// The replies that were never chosen, the faults that never fired though they must, and the refs that no request has named.
async fn show(Ns(namespace): Ns) -> Json<Value> {
    let (replies, journal) = (namespace.replies(), namespace.journal());
    let is_touched = |id: &str| journal.has_touched(id) || replies.has_touched(id);
    let refs = namespace.refs();
    let untouched = refs.iter().filter(|(_, id)| id.as_str().is_some_and(|id| !is_touched(id)));
    let untouched: Vec<&str> = untouched.map(|(name, _)| name.as_str()).collect();
    let faults = namespace.app().faults.as_ref().map(Faults::unused).unwrap_or_default();
    Json(json!({"replies": replies.unused(), "faults": faults, "refs": untouched}))
}
