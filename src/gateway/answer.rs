//! The upstream's answer on its way back.

use std::pin::pin;

use http::{Response, header, response};
use http_body::Body as _;
use http_body_util::{BodyExt, Limited};
use serde_json::Value;

use super::upstream::failed;
use crate::{
    access::{Charge, grant::Redaction},
    body::Body,
    call::Reply,
    error::{ApiError, Code},
    stopwatch,
};

/// The largest answer that is read whole, to remove something from it.
const REDACTED_BYTES: usize = 16 * 1024 * 1024;

/// The largest refusal that is read, to find out who is refused.
const REFUSAL_BYTES: usize = 64 * 1024;

/// Passes an answer on. One from which nothing is removed passes frame by frame; any other is read whole, and charged as
/// it is read.
pub(super) async fn pass(
    mut answer: Response<Body>,
    redaction: Redaction,
    is_client: bool,
    charge: &mut Charge<'_>,
) -> Result<Reply, ApiError> {
    if answer.status().is_informational() {
        return Err(failed(format!("the upstream answered with status {}", answer.status().as_u16())));
    }
    if answer.status().is_redirection() && is_client {
        return Err(failed(format!("the upstream redirects with status {}", answer.status().as_u16())));
    }
    if is_client {
        answer.headers_mut().remove(header::LOCATION);
    }
    if redaction == Redaction::None {
        return Ok(Reply::Passed(answer));
    }
    let (mut head, body) = answer.into_parts();
    for name in [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::ETAG] {
        head.headers.remove(name);
    }
    let body = stopwatch::wait(pin!(read_whole(body, charge))).await?;
    match serde_json::from_slice(&body) {
        Ok(value) => Ok(Reply::Rewritten(head, value)),
        Err(_) if head.status.is_client_error() || head.status.is_server_error() => Err(unreadable(&head)),
        Err(error) => Err(failed(error)),
    }
}

/// Reads a body. Memory is charged before it is taken: all of it at once where the upstream says how much it is.
async fn read_whole(body: Body, charge: &mut Charge<'_>) -> Result<Vec<u8>, ApiError> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX).min(REDACTED_BYTES);
    charge.cover(announced)?;
    let mut whole = Vec::with_capacity(announced);
    let mut body = pin!(Limited::new(body, REDACTED_BYTES));
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(failed)?.into_data() {
            let needed = whole.len() + data.len();
            if needed > whole.capacity() {
                // A vector grows to twice its size.
                charge.cover(needed.max(2 * whole.capacity()))?;
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole)
}

/// An error that is not JSON, as a proxy on the way makes them: nothing can be removed from it, so its status alone is
/// handed out.
fn unreadable(head: &response::Parts) -> ApiError {
    let sentence = format!(
        "The Letta server behind Gatelet answered with status {} and gave no reason that could be shown.",
        head.status.as_u16()
    );
    let error = ApiError::new(Code::UpstreamError, sentence).with_status(head.status);
    match head.headers.get(header::RETRY_AFTER) {
        Some(delay) => error.header(header::RETRY_AFTER, delay.clone()),
        None => error,
    }
}

/// Tells a refusal of the gateway's own credential, which is the operator's to mend, from one that Letta passes on from a
/// model provider.
pub(super) async fn check_refusal(answer: Response<Body>) -> Result<Response<Body>, ApiError> {
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, REFUSAL_BYTES).collect().await.map_err(failed)?.to_bytes();
    let is_providers = serde_json::from_slice::<Value>(&body).is_ok_and(|body| body["error"].is_object());
    if is_providers {
        return Ok(Response::from_parts(head, Body::from(body)));
    }
    let refusal = ApiError::new(
        Code::UpstreamCredentialRefused,
        "The Letta server refuses Gatelet's own credential; its operator must correct upstream_api_key.",
    );
    Err(refusal.final_answer().because(format!("the upstream answered with status {}", head.status.as_u16())))
}
