//! The response that a fault gives instead of the handler's.

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::{definition::Effect, rules::code_of};
use crate::{
    error::{ApiError, Code},
    request::body::Body,
};

/// The code for a status, where a fault names none. Several codes share some statuses: these are the plainest.
const USUAL: [Code; 10] = [
    Code::InvalidRequest,
    Code::BearerInvalid,
    Code::AccessNotGranted,
    Code::NotFound,
    Code::Conflict,
    Code::RateLimited,
    Code::Internal,
    Code::UpstreamError,
    Code::StoreUnavailable,
    Code::UpstreamTimeout,
];

/// The response of a fault.
///
/// # Errors
/// The response, if it is an error in Gatelet's or Letta's form, which the pipeline writes.
pub(super) fn build(effect: &Effect, id: &str) -> Result<Response<Body>, ApiError> {
    let status = effect.status.and_then(|status| StatusCode::from_u16(status).ok());
    let named = effect.code.as_deref().and_then(code_of);
    if let Some(body) = &effect.body {
        return Ok(with_body(status.unwrap_or(StatusCode::OK), body));
    }
    match (named, status) {
        (Some(code), status) => Err(error(code, status.unwrap_or(code.status()), id)),
        (None, Some(status)) if status.is_client_error() || status.is_server_error() => {
            Err(error(code_for(status), status, id))
        }
        (None, status) => {
            let mut response = Response::new(Body::Empty);
            *response.status_mut() = status.unwrap_or(StatusCode::OK);
            Ok(response)
        }
    }
}

fn with_body(status: StatusCode, body: &Value) -> Response<Body> {
    let (text, media_type) = match body {
        Value::String(text) => (text.clone(), "text/plain; charset=utf-8"),
        json => (json.to_string(), "application/json"),
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

fn code_for(status: StatusCode) -> Code {
    let of_status = |code: &&Code| code.status() == status;
    let found = USUAL.iter().find(of_status).or_else(|| Code::ALL.iter().find(of_status));
    let other = if status.is_client_error() { Code::InvalidRequest } else { Code::Internal };
    found.copied().unwrap_or(other)
}

/// The error as Gatelet, or Letta for a provider's failure, writes it.
fn error(code: Code, status: StatusCode, id: &str) -> ApiError {
    let sentence = format!("{} (This response is the fault {id} of a test.)", code.meaning().trim());
    let error = if code.word().starts_with("llm_") {
        let detail = json!({"type": code.word(), "message": sentence, "detail": null});
        ApiError::provider(code, sentence, detail)
    } else {
        ApiError::new(code, sentence)
    };
    error.with_status(status)
}

/// Sets the headers of a fault.
pub(super) fn set_headers(effect: &Effect, response: &mut Response<Body>) {
    for (name, value) in &effect.headers {
        // Both were checked when the fault was read.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str())) {
            response.headers_mut().insert(name, value);
        }
    }
}
