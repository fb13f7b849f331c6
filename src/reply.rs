//! The response to a call, in the form in which the mock, the gateway and the token endpoints return it.

use http::{HeaderName, HeaderValue, Response, StatusCode, response};
use serde_json::Value;

use crate::{access::Written, request::body::Body};

/// The response to a call.
#[derive(Debug)]
pub enum Reply {
    /// JSON.
    Json(StatusCode, Value),
    /// JSON that is already written.
    Written(StatusCode, Written),
    /// A status without a body or content type: one SDK parses an empty body that is declared as JSON.
    Empty(StatusCode),
    /// Server-sent events.
    Events(Body),
    /// Another server's response with its headers filtered, or one of ours whose exact bytes matter.
    Passed(Response<Body>),
    /// JSON with headers of its own: another server's response, read whole so that something can be removed from it, or one
    /// of ours whose headers carry information.
    Rewritten(response::Parts, Value),
}

impl Reply {
    /// 200 with JSON.
    #[must_use]
    pub fn ok(value: Value) -> Self {
        Self::Json(StatusCode::OK, value)
    }

    /// 200 with JSON that is already written.
    #[must_use]
    pub fn written(json: Written) -> Self {
        Self::Written(StatusCode::OK, json)
    }

    /// 200 with JSON and a header.
    #[must_use]
    pub(crate) fn with_header(name: HeaderName, header: HeaderValue, value: Value) -> Self {
        let mut response = Response::new(());
        response.headers_mut().insert(name, header);
        Self::Rewritten(response.into_parts().0, value)
    }
}
