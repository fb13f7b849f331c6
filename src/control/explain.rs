//! Explains what the guard of a namespace would decide, without doing anything.

use std::sync::Arc;

use axum::{Json, Router, routing::post};

use super::{ControlState, caller::Ns, clock::world_of, error::ControlResult, input::Input};
use crate::explain::{self, Answer, Question};

pub(super) fn routes() -> Router<Arc<ControlState>> {
    Router::new().route("/ns/{ns}/explain", post(explain))
}

async fn explain(Ns(namespace): Ns, Input(question): Input<Question>) -> ControlResult<Json<Answer>> {
    let app = namespace.app();
    let explained = explain::explain(&question, &app.guard, &app.backend, &app.tokens.clock);
    Ok(Json(world_of(&app)?.enter(explained).await?))
}
