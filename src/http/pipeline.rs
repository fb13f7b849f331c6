//! What happens to every request: CORS, the guard, the answer, the log line.

use std::{panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Instant};

use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header, request::Parts};
use hyper::body::Incoming;
use serde_json::Value;
use tracing::error;

use super::{
    AccessLog, App, cors, framing, health,
    lifeline::{self, Held, Life},
};
use crate::{
    access::{Caller, Charge, Guard, Operation, Passed, RequestContext, denial::Denial},
    call::{Call, Reply},
    error::ApiError,
    request::{body::Body, waits},
    telemetry::{
        access_log::Line,
        metrics::{Answered, Metrics},
        request_id::RequestId,
    },
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Answers any request to a Letta path.
pub(super) async fn handle(app: &App, log: &AccessLog, request: Request<Incoming>) -> (Response<Body>, Option<Life>) {
    let started = Instant::now();
    let request_id = RequestId::new();
    let (head, body) = request.into_parts();
    let method = head.method.clone();
    let origin = cors::origin(&head.headers).cloned();
    let mut context = RequestContext::default();
    let (outcome, waits) = {
        let respond = pin!(AssertUnwindSafe(app.respond(head, body, &mut context)).catch_unwind());
        waits::measure(respond, app.metrics.is_some()).await
    };
    let outcome = outcome.unwrap_or_else(|_| Err(ApiError::internal("a handler panicked")));
    let ((mut response, life), code) = match outcome {
        Ok(answered) => (answered, None),
        Err(refusal) => {
            if let Some(cause) = refusal.cause() {
                error!(request.id = %request_id, code = refusal.code().word(), cause = %Chain(cause), "A request failed");
            }
            ((error_response(&refusal, &request_id), None), Some(refusal.code()))
        }
    };
    let headers = response.headers_mut();
    if let Some(allowance) = context.allowance {
        allowance.tell(headers);
    }
    cors::expose(origin, headers);
    if let Some(value) = request_id.header() {
        headers.insert(REQUEST_ID, value);
    }
    let (status, duration) = (response.status(), started.elapsed());
    if let (Some(metrics), Some(waits)) = (&app.metrics, waits) {
        let RequestContext { operation, remembered, .. } = context;
        metrics.count(&Answered { operation, status, code, remembered, duration, waits });
    }
    log.write(&Line { request_id: &request_id, method: &method, context, status, code, duration });
    (response, life)
}

impl App {
    async fn respond(
        &self,
        head: Parts,
        body: Incoming,
        context: &mut RequestContext,
    ) -> Result<(Response<Body>, Option<Life>), ApiError> {
        let body = Body::received(body, &head, self.body_pace);
        self.head_limits.check(&head)?;
        framing::check(&head.uri, head.version, &head.headers)?;
        // A preflight carries no bearer and asks about no secret; only its path must make sense.
        if let Some(preflight) = cors::preflight(&head.method, &head.headers, self.from_public) {
            Guard::check_path(&head)?;
            return Ok((preflight, None));
        }
        match self.guard.admit(&head, body, &self.backend, context).await? {
            Passed::Public(_) => Ok((json_response(StatusCode::OK, &health::letta())?, None)),
            // The body's slot is held until there is an answer.
            Passed::Call { operation, params, query, permit, payload, redactor, slot, body_slot: _body_slot } => {
                let own = is_token_management(operation);
                let token = match permit.caller() {
                    Caller::ClientToken(token) => Some(Arc::clone(token)),
                    Caller::ApiKey { .. } => None,
                };
                let quotas = &self.guard.quotas;
                let mut charge = match &token {
                    Some(token) => quotas.charge_response(token, head.version),
                    None => Charge::uncounted(),
                };
                charge.check()?;
                let reply = if own {
                    // Seldom and large: a request is moved with the room for all that may become of it.
                    Box::pin(self.tokens.answer(operation, &params, &query, &permit, payload)).await?
                } else {
                    let headers = head.headers;
                    self.backend
                        .answer(
                            Call { operation, params, query, headers, permit, payload },
                            redactor.redaction(),
                            &mut charge,
                        )
                        .await?
                };
                let mut response = match reply {
                    Reply::Json(status, mut value) => {
                        redactor.apply(status, &mut value);
                        json_response(status, &value)?
                    }
                    Reply::Written(status, answer) => {
                        text_response(status, redactor.apply_to_written(status, answer).map_err(ApiError::internal)?)
                    }
                    Reply::Empty(status) => empty_response(status),
                    Reply::Events(body) => event_response(redactor.apply_in_passing(body)),
                    Reply::Passed(answer) => answer.map(|body| redactor.apply_in_passing(body)),
                    Reply::Rewritten(head, mut value) => {
                        redactor.apply(head.status, &mut value);
                        let mut answer = json_response(head.status, &value)?;
                        for (name, value) in &head.headers {
                            answer.headers_mut().entry(name).or_insert_with(|| value.clone());
                        }
                        answer
                    }
                };
                // Whoever was revoked while the answer was made gets none.
                if token.as_ref().is_some_and(|token| self.feed.is_revoked(token)) {
                    return Err(Denial::TokenRevoked.into());
                }
                if let Body::Whole(bytes) = response.body_mut() {
                    *bytes = charge.attach(std::mem::take(bytes))?;
                }
                if is_stream(&response) {
                    // An answer that was not to be a stream, and is one, needs its right to it now.
                    let slot = match (&token, slot) {
                        (Some(token), None) => quotas.open_stream(token)?,
                        (_, slot) => slot,
                    };
                    let open = self.metrics.as_ref().map(Metrics::open_stream);
                    response = response.map(|body| lifeline::tie(body, Held { slot, open }));
                }
                if own {
                    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
                }
                Ok((response, token.map(Life)))
            }
        }
    }
}

const EVENTS: &[u8] = b"text/event-stream";

/// Whether an answer is a stream of events.
fn is_stream(response: &Response<Body>) -> bool {
    let media_type = response.headers().get(header::CONTENT_TYPE);
    let essence = media_type.and_then(|value| value.as_bytes().get(..EVENTS.len()));
    essence.is_some_and(|essence| essence.eq_ignore_ascii_case(EVENTS))
}

fn is_token_management(operation: Operation) -> bool {
    matches!(operation.grant(), crate::access::Grant::KeyOnly)
}

fn json_response(status: StatusCode, value: &Value) -> Result<Response<Body>, ApiError> {
    Ok(text_response(status, serde_json::to_vec(value).map_err(ApiError::internal)?))
}

/// How many headers an answer to a client token has: so many from the beginning, instead of growing twice.
const HEADERS: usize = 8;

/// How many bytes of room a response may have that it does not need.
const MOST_SPARE: usize = 16 * 1024;

fn text_response(status: StatusCode, mut json: Vec<u8>) -> Response<Body> {
    // What waits for a slow client has no room to spare.
    if json.capacity() - json.len() > MOST_SPARE {
        json.shrink_to_fit();
    }
    let mut response = Response::new(Body::from(json));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(HEADERS);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn empty_response(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response
}

fn event_response(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Nginx would hold events back otherwise.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

fn error_response(refusal: &ApiError, request_id: &RequestId) -> Response<Body> {
    let body = refusal.to_body(request_id.as_str()).to_string();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = refusal.status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in refusal.headers() {
        headers.insert(name, value.clone());
    }
    response
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
