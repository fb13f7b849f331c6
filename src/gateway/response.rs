//! Passes an upstream's response on to the client.

use std::pin::pin;

use http::{HeaderMap, HeaderValue, Response, header, response::Parts};
use http_body::Body as _;
use http_body_util::{BodyExt, Limited};
use serde_json::Value;

use super::{
    connections::SMALL_BODY,
    error::{failed, interrupted},
    headers,
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

/// The largest response that is read whole in order to be redacted, in bytes.
const MAX_REDACTED_BYTES: usize = 16 * 1024 * 1024;

/// The largest 401 or 403 that is read to find out whose credential is refused, in bytes.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;

/// Passes a response on. One that is redacted whole is charged to the caller's budget as it is read; any other passes
/// frame by frame.
///
/// # Errors
/// 502 when the client must not receive the response, or it breaks off before its body begins; 429 when it exceeds the
/// caller's budget.
pub(super) async fn pass(
    mut response: Response<Body>,
    redaction: Redaction,
    is_client: bool,
    charge: &mut Charge<'_>,
) -> Result<Reply, ApiError> {
    if response.status().is_informational() {
        return Err(failed(format!("the upstream responded with status {}", response.status().as_u16())));
    }
    if response.status().is_redirection() && is_client {
        return Err(failed(format!("the upstream redirects with status {}", response.status().as_u16())));
    }
    if is_client {
        for name in headers::KEYS_ONLY {
            response.headers_mut().remove(name);
        }
    }
    match redaction {
        Redaction::None => return with_body_begun(response).await.map(Reply::Passed),
        // No coding was requested, and coded content cannot be redacted.
        Redaction::InPassing if is_coded(response.headers()) => {
            return Err(failed("the upstream responded with a content coding that was not requested"));
        }
        Redaction::InPassing => return with_body_begun(response).await.map(Reply::Passed),
        Redaction::Secrets | Redaction::SecretsAndUnsent => {}
    }
    let (mut head, body) = response.into_parts();
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

/// Holds a response back until its body begins, so that one that breaks off before can still become an error. A small
/// body of known length is read whole. A response that may be a stream is not held back, because its client waits for the
/// head.
async fn with_body_begun(response: Response<Body>) -> Result<Response<Body>, ApiError> {
    if matches!(response.body(), Body::Empty | Body::Whole(_)) {
        return Ok(response);
    }
    let length = response.body().size_hint().exact();
    if length.is_none() && !is_json(response.headers()) {
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let body = waits::wait(pin!(begin(body, length))).await.map_err(interrupted)?;
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

/// Whether the content has a coding such as gzip (RFC 9110, section 8.4).
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

/// Reads a whole body. Memory is charged before it is allocated, all of it at once if the upstream declares the length.
async fn read_whole(body: Body, charge: &mut Charge<'_>) -> Result<Vec<u8>, ApiError> {
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX).min(MAX_REDACTED_BYTES);
    charge.cover(declared)?;
    let mut whole = Vec::with_capacity(declared);
    let mut body = pin!(Limited::new(body, MAX_REDACTED_BYTES));
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(interrupted)?.into_data() {
            let needed = whole.len() + data.len();
            if needed > whole.capacity() {
                // A vector doubles its capacity.
                charge.cover(needed.max(2 * whole.capacity()))?;
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole)
}

/// The error for an upstream's error that is not JSON, such as a proxy's. It cannot be redacted, so only its status is
/// passed on.
fn unreadable(head: &Parts) -> ApiError {
    let sentence = format!(
        "The Letta server behind Gatelet responded with status {} and gave no reason that can be shown.",
        head.status.as_u16()
    );
    let error = ApiError::new(Code::UpstreamError, sentence).with_status(head.status);
    match head.headers.get(header::RETRY_AFTER) {
        Some(delay) => error.header(header::RETRY_AFTER, delay.clone()),
        None => error,
    }
}

/// Tells a refusal of the gateway's own credential, which only the operator can correct, from one that Letta passes on
/// from a model provider.
///
/// # Errors
/// 502 when the gateway's credential is refused, or the body breaks off.
pub(super) async fn check_refusal(response: Response<Body>) -> Result<Response<Body>, ApiError> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_REFUSAL_BYTES).collect().await.map_err(interrupted)?.to_bytes();
    let is_from_provider = serde_json::from_slice::<Value>(&body).is_ok_and(|body| body["error"].is_object());
    if is_from_provider {
        return Ok(Response::from_parts(head, Body::from(body)));
    }
    let refusal = ApiError::new(
        Code::UpstreamCredentialRefused,
        "The Letta server refuses Gatelet's own credential; its operator must correct upstream_api_key.",
    );
    Err(refusal.without_retry().because(format!("the upstream responded with status {}", head.status.as_u16())))
}
