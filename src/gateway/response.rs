//! The upstream's answer on its way back.

use std::pin::pin;

use http::{HeaderMap, HeaderValue, Response, header, response};
use http_body::Body as _;
use http_body_util::{BodyExt, Limited};
use serde_json::Value;

use super::{
    headers,
    upstream::{broken, failed},
};
use crate::{
    access::{Charge, grant::Redaction},
    error::{ApiError, Code},
    reply::Reply,
    request::{
        body::{Body, BodyError},
        waits,
    },
};

/// The largest answer that is read whole, to remove something from it.
const REDACTED_BYTES: usize = 16 * 1024 * 1024;

/// A body of known length that has no more bytes is handed on whole.
pub(super) const SMALL_BODY: u64 = 16 * 1024;

/// The largest refusal that is read, to find out who is refused.
const REFUSAL_BYTES: usize = 64 * 1024;

/// Passes an answer on. One that is not read whole passes frame by frame; any other is charged as it is read.
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
        for name in headers::KEYS_ONLY {
            answer.headers_mut().remove(name);
        }
    }
    match redaction {
        Redaction::None => return begun(answer).await.map(Reply::Passed),
        // No coding was asked for, and none can be looked into.
        Redaction::InPassing if is_coded(answer.headers()) => {
            return Err(failed("the upstream answered with a content coding that was not asked for"));
        }
        Redaction::InPassing => return begun(answer).await.map(Reply::Passed),
        Redaction::Secrets | Redaction::SecretsAndUnsent => {}
    }
    let (mut head, body) = answer.into_parts();
    for name in [header::CONTENT_ENCODING, header::ETAG] {
        head.headers.remove(name);
    }
    let body = waits::wait(pin!(read_whole(body, charge))).await?;
    match serde_json::from_slice(&body) {
        Ok(value) => Ok(Reply::Rewritten(head, value)),
        Err(_) if head.status.is_client_error() || head.status.is_server_error() => Err(unreadable(&head)),
        Err(error) => Err(failed(error)),
    }
}

/// Holds an answer until its body has begun: one that breaks off before is refused in words, while nothing of it was
/// handed on. A small body of known length is waited for whole. What may be a stream is not held, because its head says
/// something by itself.
async fn begun(answer: Response<Body>) -> Result<Response<Body>, ApiError> {
    if matches!(answer.body(), Body::Empty | Body::Whole(_)) {
        return Ok(answer);
    }
    let length = answer.body().size_hint().exact();
    if length.is_none() && !is_json(answer.headers()) {
        return Ok(answer);
    }
    let (head, body) = answer.into_parts();
    let body = waits::wait(pin!(begin(body, length))).await.map_err(broken)?;
    Ok(Response::from_parts(head, body))
}

async fn begin(mut body: Body, length: Option<u64>) -> Result<Body, BodyError> {
    if length.is_some_and(|length| length <= SMALL_BODY) {
        return Ok(Body::from(body.collect().await?.to_bytes()));
    }
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) if !data.is_empty() => return Ok(Body::Begun(data, Box::new(body))),
            _ => {}
        }
    }
    Ok(Body::Empty)
}

/// Whether the content must be decoded before it can be read (RFC 9110, section 8.4).
fn is_coded(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(header::CONTENT_ENCODING).iter();
    codings.into_iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn is_json(headers: &HeaderMap) -> bool {
    const JSON: &[u8] = b"application/json";
    let media_type = headers.get(header::CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    let (essence, rest) = media_type.split_at(media_type.len().min(JSON.len()));
    essence.eq_ignore_ascii_case(JSON) && matches!(rest, [] | [b';' | b' ', ..])
}

/// Reads a body. Memory is charged before it is taken: all of it at once where the upstream says how much it is.
async fn read_whole(body: Body, charge: &mut Charge<'_>) -> Result<Vec<u8>, ApiError> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX).min(REDACTED_BYTES);
    charge.cover(announced)?;
    let mut whole = Vec::with_capacity(announced);
    let mut body = pin!(Limited::new(body, REDACTED_BYTES));
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(broken)?.into_data() {
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
    let body = Limited::new(body, REFUSAL_BYTES).collect().await.map_err(broken)?.to_bytes();
    let is_providers = serde_json::from_slice::<Value>(&body).is_ok_and(|body| body["error"].is_object());
    if is_providers {
        return Ok(Response::from_parts(head, Body::from(body)));
    }
    let refusal = ApiError::new(
        Code::UpstreamCredentialRefused,
        "The Letta server refuses Gatelet's own credential; its operator must correct upstream_api_key.",
    );
    Err(refusal.without_retry().because(format!("the upstream answered with status {}", head.status.as_u16())))
}
