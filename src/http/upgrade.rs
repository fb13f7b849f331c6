//! The handshake of a WebSocket (RFC 6455, section 4.2), which leads to an App Server.

use std::{sync::Arc, time::Instant};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, request::Parts,
};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::error;

use super::{AccessLog, App, ControlPlane, framing, pipeline};
use crate::{
    access::{RequestContext, SUBPROTOCOL, SocketAdmission, offers_subprotocol, token_elsewhere},
    app_server::{AppServers, NewSocket},
    error::{ApiError, Code},
    request::body::Body,
    telemetry::{access_log::Line, metrics::RequestSample, request_id::RequestId},
};

/// The two paths of an App Server's socket, for the log, which never has the target: that may contain a token.
const PATHS: [&str; 2] = ["/ws", "/"];

/// Where the handshake of a request leads, if it is one and there is an App Server.
pub(super) fn route(app: &App, uri: &Uri, headers: &HeaderMap) -> Option<&'static str> {
    app.sockets.as_ref()?;
    let path = PATHS.into_iter().find(|path| *path == uri.path())?;
    has_token(headers, &header::UPGRADE, "websocket").then_some(path)
}

/// Handles a handshake, in the namespace of its credential if there are namespaces.
pub(super) async fn handle(
    app: &Arc<App>,
    control: Option<&dyn ControlPlane>,
    log: &AccessLog,
    request: Request<Incoming>,
    path: &'static str,
) -> Response<Body> {
    let (app, selected) = match control {
        Some(control) => control.select(&with_bearer(&request)).await,
        None => (Arc::clone(app), Ok(())),
    };
    let handled = handle_in(&app, selected, log, request, path);
    match &app.world {
        Some(world) => world.enter(handled).await,
        None => handled.await,
    }
}

/// The head of a request by which its namespace is found: with the credential in a header, wherever it was sent.
fn with_bearer(request: &Request<Incoming>) -> Parts {
    let (mut head, ()) = Request::new(()).into_parts();
    head.uri.clone_from(request.uri());
    head.headers.clone_from(request.headers());
    if let Some(token) = token_elsewhere(&head)
        && let Ok(value) = HeaderValue::try_from(format!("Bearer {token}"))
    {
        head.headers.insert(header::AUTHORIZATION, value);
    }
    head
}

async fn handle_in(
    app: &App,
    selected: Result<(), ApiError>,
    log: &AccessLog,
    request: Request<Incoming>,
    path: &'static str,
) -> Response<Body> {
    let started = Instant::now();
    let request_id = RequestId::new();
    let mut context = RequestContext { route: Some(path), ..RequestContext::default() };
    let (mut head, _) = request.into_parts();
    let outcome = match (selected, &app.sockets) {
        (Ok(()), Some(servers)) => respond(app, servers, &mut head, &request_id, &mut context).await,
        (Ok(()), None) => Err(not_a_handshake("there is no App Server here")),
        (Err(refusal), _) => Err(refusal),
    };
    let (response, code) = match outcome {
        Ok(response) => (response, None),
        Err(refusal) => {
            if let Some(cause) = refusal.cause() {
                error!(request.id = %request_id, code = refusal.code().word(), %cause, "A handshake failed");
            }
            (pipeline::error_response(&refusal, &request_id), Some(refusal.code()))
        }
    };
    let (status, duration) = (response.status(), started.elapsed());
    if let Some(metrics) = &app.metrics {
        let remembered = context.remembered;
        let waits = crate::request::waits::Waits::default();
        metrics.count(&RequestSample { operation: None, status, code, remembered, duration, waits });
    }
    log.write(&Line { request_id: &request_id, method: &head.method, context: &context, status, code, duration });
    response
}

async fn respond(
    app: &App,
    servers: &AppServers,
    head: &mut Parts,
    request_id: &RequestId,
    context: &mut RequestContext,
) -> Result<Response<Body>, ApiError> {
    app.head_limits.check(head)?;
    framing::check(&head.uri, head.version, &head.headers)?;
    let accept = accept(head)?;
    let admission = app.guard.admit_socket(head, context).await?;
    let connection = head.extensions.remove::<OnUpgrade>().ok_or_else(|| not_a_handshake("use HTTP/1.1"))?;
    let has_subprotocol = offers_subprotocol(&head.headers);
    match admission {
        SocketAdmission::Open { permit, socket_permit } => {
            let socket = NewSocket { id: request_id.to_string(), connection, permit, socket_permit };
            servers.serve(socket, &app.guard, &app.feed)?;
        }
        SocketAdmission::Close(code) => servers.refuse(request_id.to_string(), connection, code),
    }
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if has_subprotocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    if let Some(value) = request_id.header() {
        headers.insert(HeaderName::from_static("x-request-id"), value);
    }
    Ok(response)
}

/// Checks the form of a handshake, and returns what proves that it was read.
fn accept(head: &Parts) -> Result<HeaderValue, ApiError> {
    let headers = &head.headers;
    if head.method != Method::GET || head.version != Version::HTTP_11 {
        return Err(not_a_handshake("send GET with HTTP/1.1"));
    }
    if headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(not_a_handshake("send no body"));
    }
    if !has_token(headers, &header::CONNECTION, "upgrade") {
        return Err(not_a_handshake("send 'Connection: Upgrade'"));
    }
    if sole(headers, &header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let error = not_a_handshake("send 'Sec-WebSocket-Version: 13'").with_status(StatusCode::UPGRADE_REQUIRED);
        return Err(error.header(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")));
    }
    let key = sole(headers, &header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key.as_bytes()));
    let key = key.ok_or_else(|| not_a_handshake("send one Sec-WebSocket-Key of 16 bytes in base64"))?;
    HeaderValue::try_from(derive_accept_key(key.as_bytes())).map_err(ApiError::internal)
}

fn not_a_handshake(what: &str) -> ApiError {
    ApiError::new(Code::InvalidRequest, format!("This is not the handshake of a WebSocket (RFC 6455): {what}."))
}

/// Sixteen bytes in base64.
fn is_key(key: &[u8]) -> bool {
    let (digits, padding) = key.split_at(key.len().min(22));
    padding == b"==" && digits.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

fn sole<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value),
        _ => None,
    }
}

/// Whether a header that lists tokens has this one.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}
