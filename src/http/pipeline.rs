//! What happens to every request: CORS, the guard, the answer, the log line.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

use axum::{
    body::Body,
    extract::{Request, State},
    response::Response,
};
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, StatusCode, header, request::Parts};
use serde_json::Value;
use tracing::{error, info};

use super::{Backend, cors, health, health::Readiness, lifeline};
use crate::{
    access::{Caller, Feed, Guard, Operation, Passed, guard::Trail},
    api::client_side_access_tokens::Endpoints,
    call::{Call, Reply},
    config::StreamAtExpiry,
    entropy,
    error::{ApiError, Code},
    store::Store,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What answers requests. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The guard.
    pub guard: Arc<Guard>,
    /// Token management.
    pub tokens: Endpoints,
    /// What answers Letta's operations.
    pub backend: Backend,
    /// The database, for the readiness check.
    pub store: Store,
    /// The feed of revocations, for the readiness check.
    pub feed: Feed,
    /// Whether the process wants more requests.
    pub readiness: Readiness,
    /// What becomes of a stream whose token expires.
    pub stream_at_expiry: StreamAtExpiry,
}

/// Answers any request to a Letta path.
pub(super) async fn handle(State(app): State<App>, request: Request) -> Response {
    let started = Instant::now();
    let request_id = entropy::request_id();
    let (head, body) = request.into_parts();
    let mut trail = Trail::default();
    let outcome = AssertUnwindSafe(app.respond(&head, body, &mut trail)).catch_unwind().await;
    let outcome = outcome.unwrap_or_else(|_| Err(ApiError::internal("a handler panicked")));
    let (mut response, code) = match outcome {
        Ok(response) => (response, None),
        Err(refusal) => {
            if let Some(cause) = refusal.cause() {
                error!(request.id = %request_id, code = refusal.code().word(), cause = %Chain(cause), "A request failed");
            }
            (error_response(&refusal, &request_id), Some(refusal.code()))
        }
    };
    let headers = response.headers_mut();
    cors::expose(&head.headers, headers);
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        headers.insert(REQUEST_ID, value);
    }
    log(&head, trail, code, response.status(), &request_id, started);
    response
}

impl App {
    async fn respond(&self, head: &Parts, body: Body, trail: &mut Trail) -> Result<Response, ApiError> {
        // A preflight carries no bearer and asks about no secret; only its path must make sense.
        if let Some(preflight) = cors::preflight(&head.method, &head.headers) {
            Guard::check_path(head)?;
            return Ok(preflight);
        }
        match self.guard.admit(head, body, &self.backend, trail).await? {
            Passed::Public(_) => json_response(StatusCode::OK, &health::letta()),
            Passed::Call { operation, params, query, permit, payload, scrub } => {
                let own = is_token_management(operation);
                let token = match permit.caller() {
                    Caller::ClientToken(token) => Some(Arc::clone(token)),
                    Caller::ApiKey { .. } => None,
                };
                let reply = if own {
                    self.tokens.answer(operation, &params, &query, &permit, payload).await?
                } else {
                    let headers = head.headers.clone();
                    self.backend
                        .answer(Call { operation, params, query, headers, permit, payload }, scrub.redaction())
                        .await?
                };
                let mut response = match reply {
                    Reply::Json(status, mut value) => {
                        scrub.apply(status, &mut value);
                        json_response(status, &value)?
                    }
                    Reply::Empty(status) => empty_response(status),
                    Reply::Events(body) => event_response(body),
                    Reply::Passed(answer) => answer,
                    Reply::Rewritten(head, mut value) => {
                        scrub.apply(head.status, &mut value);
                        let mut answer = json_response(head.status, &value)?;
                        for (name, value) in &head.headers {
                            answer.headers_mut().entry(name).or_insert_with(|| value.clone());
                        }
                        answer
                    }
                };
                if let Some(token) = token.filter(|_| is_stream(&response)) {
                    let tie = |body| lifeline::tie(body, token, self.feed.clone(), self.stream_at_expiry);
                    response = response.map(tie);
                }
                if own {
                    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
                }
                Ok(response)
            }
        }
    }
}

const EVENTS: &[u8] = b"text/event-stream";

/// Whether an answer is a stream of events.
fn is_stream(response: &Response) -> bool {
    let media_type = response.headers().get(header::CONTENT_TYPE);
    let essence = media_type.and_then(|value| value.as_bytes().get(..EVENTS.len()));
    essence.is_some_and(|essence| essence.eq_ignore_ascii_case(EVENTS))
}

fn is_token_management(operation: Operation) -> bool {
    matches!(operation.grant(), crate::access::Grant::KeyOnly)
}

fn json_response(status: StatusCode, value: &Value) -> Result<Response, ApiError> {
    let body = serde_json::to_vec(value).map_err(ApiError::internal)?;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

fn empty_response(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn event_response(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Nginx would hold events back otherwise.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

fn error_response(refusal: &ApiError, request_id: &str) -> Response {
    let body = refusal.to_body(request_id).to_string();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = refusal.code().status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in refusal.headers() {
        headers.insert(name, value.clone());
    }
    response
}

/// One line a request. It names the template, never the path that was asked for: paths carry tokens.
fn log(head: &Parts, trail: Trail, code: Option<Code>, status: StatusCode, request_id: &str, started: Instant) {
    let operation = match trail.operation {
        Some(operation) => operation.to_string(),
        None => format!("{} (no operation)", known_method(&head.method)),
    };
    let token = trail.fingerprint.map(|fingerprint| fingerprint.to_string());
    info!(
        request.id = %request_id,
        %operation,
        status = status.as_u16(),
        code = code.map(Code::word),
        token,
        duration_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
        "{operation} -> {}", status.as_u16()
    );
}

/// Methods are free text on the wire; only the usual ones are repeated.
fn known_method(method: &http::Method) -> &str {
    match method.as_str() {
        name @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => name,
        _ => "OTHER",
    }
}

/// An error with all that caused it.
struct Chain<'a>(&'a (dyn std::error::Error + Send + Sync));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}
