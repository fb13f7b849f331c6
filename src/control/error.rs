//! Errors of the control API, in Gatelet's form.

use std::any::Any;

use axum::response::IntoResponse;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};
use tracing::error;

use crate::{
    error::{ApiError, Code},
    telemetry::request_id::RequestId,
};

/// The result of a handler.
pub(crate) type ControlResult<T> = Result<T, ControlError>;

/// An error as the control API responds with it.
#[derive(Debug)]
pub(crate) struct ControlError(pub(crate) ApiError);

impl<E: Into<ApiError>> From<E> for ControlError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for ControlError {
    fn into_response(self) -> axum::response::Response {
        let Self(refusal) = self;
        let request_id = RequestId::new();
        if let Some(cause) = refusal.cause() {
            error!(request.id = %request_id, code = refusal.code().word(), %cause, "A request to the control API failed");
        }
        let body = refusal.to_body(request_id.as_str()).to_string();
        let mut response = (refusal.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in refusal.headers() {
            headers.insert(name, value.clone());
        }
        if let Some(value) = request_id.header() {
            headers.insert(HeaderName::from_static("x-request-id"), value);
        }
        response
    }
}

/// The response to a path that does not exist.
pub(super) async fn not_found(uri: Uri) -> ControlError {
    let sentence = format!("There is no {} in the control API; see docs/control-api.md for its paths.", uri.path());
    ApiError::new(Code::NotFound, sentence).into()
}

/// The response to a method that a path does not have.
pub(super) async fn method_not_allowed(method: Method) -> ControlError {
    ApiError::new(Code::MethodNotAllowed, format!("This path of the control API does not take {method}; see Allow."))
        .into()
}

/// The response of a handler that panicked.
pub(super) fn panicked(_: Box<dyn Any + Send>) -> Response<axum::body::Body> {
    let mut response = ControlError(ApiError::internal("a handler of the control API panicked")).into_response();
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}
