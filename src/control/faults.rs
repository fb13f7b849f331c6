//! Faults: add, list and delete them.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::Path,
    routing::{delete, get},
};
use http::StatusCode;
use serde_json::{Value, json};

use super::{ControlState, caller::Ns, error::ControlResult, input::Input};
use crate::{
    error::ApiError,
    faults::{self, Faults},
    http::App,
};

pub(super) fn routes() -> Router<Arc<ControlState>> {
    Router::new()
        .route("/ns/{ns}/faults", get(list).post(add).delete(clear))
        .route("/ns/{ns}/faults/presets", get(presets))
        .route("/ns/{ns}/faults/{id}", delete(remove))
}

async fn add(Ns(namespace): Ns, Input(body): Input<Value>) -> ControlResult<(StatusCode, Json<Value>)> {
    let ids = faults_of(&namespace.app())?.add(faults::read(body)?)?;
    Ok((StatusCode::CREATED, Json(json!({"ids": ids}))))
}

async fn list(Ns(namespace): Ns) -> ControlResult<Json<Value>> {
    Ok(Json(json!({"faults": faults_of(&namespace.app())?.list()})))
}

async fn presets(Ns(_): Ns) -> Json<Value> {
    Json(json!({"presets": faults::presets()}))
}

async fn clear(Ns(namespace): Ns) -> ControlResult<StatusCode> {
    faults_of(&namespace.app())?.clear();
    Ok(StatusCode::NO_CONTENT)
}

async fn remove(Ns(namespace): Ns, Path((_, id)): Path<(String, String)>) -> ControlResult<StatusCode> {
    faults_of(&namespace.app())?.remove(&id);
    Ok(StatusCode::NO_CONTENT)
}

/// The faults of an app that is controlled.
pub(super) fn faults_of(app: &App) -> Result<&Faults, ApiError> {
    app.faults.as_ref().ok_or_else(|| ApiError::internal("a controlled app has no faults"))
}
