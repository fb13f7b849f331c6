//! Verifies that the journal of a namespace shows what a test expects.

use std::sync::Arc;

use axum::{Json, Router, routing::post};
use serde_json::Value;

use super::{ControlState, caller::Ns, error::ControlResult, input::Input};
use crate::{
    namespaces,
    verify::{self, Plan, Verdict},
};

pub(super) fn routes() -> Router<Arc<ControlState>> {
    Router::new().route("/ns/{ns}/verify", post(verify))
}

async fn verify(Ns(namespace): Ns, Input(request): Input<verify::Request>) -> ControlResult<Json<Value>> {
    let plan = Plan::new(request)?;
    let journal = namespace.journal();
    let verdict = tokio::select! {
        verdict = plan.verify(journal) => verdict,
        () = journal.closed() => return Err(namespaces::not_found(namespace.name()).into()),
    };
    match verdict {
        Verdict::Verified(matched) => Ok(Json(verify::verified(&matched))),
        Verdict::Failed(report) => Err(report.into_error().into()),
    }
}
