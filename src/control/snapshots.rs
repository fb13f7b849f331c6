//! Snapshots of namespaces: take, restore, export, import and delete them.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::to_bytes,
    extract::{FromRequest, Path, Request, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    ControlState,
    caller::Ns,
    error::{ControlError, ControlResult},
    input::{BODY_BYTES, Input},
    namespaces::state,
};
use crate::{
    error::{ApiError, Code},
    namespaces::{MEDIA_TYPE, MOST_BYTES},
};

/// The largest body of an import: a snapshot, and the counters of ids.
const IMPORT_BYTES: usize = MOST_BYTES + BODY_BYTES;

pub(super) fn routes() -> Router<Arc<ControlState>> {
    Router::new()
        .route("/ns/{ns}/snapshots", get(list))
        .route("/ns/{ns}/snapshots/{name}", get(show).put(put).delete(delete))
        .route("/ns/{ns}/snapshots/{name}/restore", post(restore))
}

/// The body of a call that has nothing to say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn list(Ns(namespace): Ns) -> Json<Value> {
    Json(json!({"snapshots": namespace.snapshots()}))
}

/// What is to become a snapshot.
enum Content {
    /// The state of the namespace.
    Now,
    /// A snapshot that was exported.
    Exported(Bytes),
}

impl<S: Send + Sync> FromRequest<S> for Content {
    type Rejection = ControlError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ControlError> {
        if is_named_by(request.headers().get(header::CONTENT_TYPE)) {
            let bytes = to_bytes(request.into_body(), IMPORT_BYTES).await.map_err(|_| {
                ApiError::new(Code::BodyTooLarge, format!("A snapshot may have at most {MOST_BYTES} bytes."))
            })?;
            return Ok(Self::Exported(bytes));
        }
        let Input(Nothing {}) = Input::from_request(request, state).await?;
        Ok(Self::Now)
    }
}

async fn put(
    State(control): State<Arc<ControlState>>,
    Ns(namespace): Ns,
    Path((_, name)): Path<(String, String)>,
    content: Content,
) -> ControlResult<Response> {
    let (is_new, summary) = match content {
        Content::Now => control.directory.take_snapshot(&namespace, &name).await?,
        Content::Exported(bytes) => control.directory.import_snapshot(&namespace, &name, &bytes).await?,
    };
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(summary)).into_response())
}

/// Shows a snapshot, or exports it.
async fn show(
    State(control): State<Arc<ControlState>>,
    Ns(namespace): Ns,
    Path((_, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, ControlError> {
    let mut accepted = headers.get_all(header::ACCEPT).iter();
    if !accepted.any(|value| is_named_by(Some(value))) {
        return Ok(Json(namespace.snapshot(&name)?).into_response());
    }
    let bytes = control.directory.export_snapshot(&namespace, &name).await?;
    let headers = [(header::CONTENT_TYPE, MEDIA_TYPE), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, bytes).into_response())
}

async fn restore(
    State(control): State<Arc<ControlState>>,
    Ns(namespace): Ns,
    Path((_, name)): Path<(String, String)>,
    Input(Nothing {}): Input<Nothing>,
) -> ControlResult<Json<Value>> {
    control.directory.restore(&namespace, &name).await?;
    Ok(Json(state(&namespace, &Map::new()).await?.into()))
}

async fn delete(Ns(namespace): Ns, Path((_, name)): Path<(String, String)>) -> StatusCode {
    namespace.delete_snapshot(&name);
    StatusCode::NO_CONTENT
}

/// Whether a header names the media type of snapshots.
fn is_named_by(value: Option<&HeaderValue>) -> bool {
    let text = value.and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(',').any(|part| part.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(MEDIA_TYPE)))
}
