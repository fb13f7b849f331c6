//! Seeds over HTTP.

use std::sync::Arc;

use axum::{Json, Router, extract::State, routing::put};
use serde_json::Value;

use super::{
    ControlState,
    caller::Ns,
    error::ControlResult,
    input::{Format, Raw},
};
use crate::{
    error::{ApiError, Code},
    seed::Seed,
};

pub(super) fn routes() -> Router<Arc<ControlState>> {
    Router::new().route("/ns/{ns}/seed", put(apply))
}

/// Adds a seed to what a namespace holds.
async fn apply(State(control): State<Arc<ControlState>>, Ns(namespace): Ns, body: Raw) -> ControlResult<Json<Value>> {
    namespace.check_in_memory()?;
    let applied = control.directory.seed(&namespace, read(&body, "")?).await.map_err(ApiError::from)?;
    Ok(Json(applied.to_json()))
}

/// Reads the seed in a body; `pointer` is its place there.
///
/// # Errors
/// 422 for the first mistake.
pub(super) fn read(body: &Raw, pointer: &str) -> Result<Seed, ApiError> {
    let text = std::str::from_utf8(&body.bytes)
        .map_err(|_| ApiError::new(Code::SeedInvalid, "A seed is a text in UTF-8, and this one is not."))?;
    let seed = match body.format {
        Format::Json => Seed::from_json(text, pointer),
        Format::Toml => Seed::from_toml(text, pointer),
    };
    seed.map_err(ApiError::from)
}
