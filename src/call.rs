//! A request that has passed the guard, and the answer to it: what the mock and the gateway have in common.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, response};
use serde_json::Value;

pub use crate::request::input::{Payload, Query, flag};
use crate::{
    access::{Operation, Params, Permit, Written},
    error::ApiError,
    request::{
        body::Body,
        input::{bad_json, check_media_type, read},
        json,
    },
};

/// A request whose caller may make it.
#[derive(Debug)]
pub struct Call {
    /// What is asked for.
    pub operation: Operation,
    /// The decoded path parameters.
    pub params: Params,
    /// The query parameters: for a client token only those that the table grants.
    pub query: Query,
    /// The request's headers.
    pub headers: HeaderMap,
    /// Proof of passage, and who the caller is.
    pub permit: Permit,
    /// The body.
    pub payload: Payload,
}

/// The answer to a call.
#[derive(Debug)]
pub enum Reply {
    /// JSON.
    Json(StatusCode, Value),
    /// JSON that is written already.
    Written(StatusCode, Written),
    /// Nothing but a status, without a content type: one SDK parses an empty body that claims to be JSON.
    Empty(StatusCode),
    /// Server-sent events.
    Events(Body),
    /// Another server's answer, its headers cleaned, or one of ours whose bytes matter.
    Passed(Response<Body>),
    /// JSON with headers of its own: another server's answer read whole because something is to be removed from it, or one
    /// of ours whose headers say more than its body.
    Rewritten(response::Parts, Value),
}

impl Reply {
    /// 200 with JSON.
    #[must_use]
    pub fn ok(value: Value) -> Self {
        Self::Json(StatusCode::OK, value)
    }

    /// 200 with JSON that is written already.
    #[must_use]
    pub fn written(answer: Written) -> Self {
        Self::Written(StatusCode::OK, answer)
    }

    /// 200 with JSON and a header.
    #[must_use]
    pub fn with_header(name: HeaderName, header: HeaderValue, value: Value) -> Self {
        let mut response = Response::new(());
        response.headers_mut().insert(name, header);
        Self::Rewritten(response.into_parts().0, value)
    }
}

impl Call {
    /// A path parameter that the operation's template has.
    ///
    /// # Panics
    /// When the template has none of this name, a defect that the first test of the operation finds.
    #[must_use]
    pub fn param(&self, name: &str) -> &str {
        #[expect(clippy::expect_used, reason = "templates are constants, and every operation is called by a test")]
        self.params.find(name).expect("the template has this parameter")
    }

    /// The JSON body; `null` when there is none.
    ///
    /// # Errors
    /// 413 when it is too large, 415 when it is declared as something else, 422 when it is not JSON.
    pub async fn json(&mut self) -> Result<Value, ApiError> {
        match std::mem::replace(&mut self.payload, Payload::Checked(Value::Null)) {
            Payload::Checked(value) => Ok(value),
            Payload::Unread(body) => {
                let bytes = read(body).await?;
                if bytes.iter().all(u8::is_ascii_whitespace) {
                    return Ok(Value::Null);
                }
                check_media_type(&self.headers)?;
                json::from_slice(&bytes).map_err(|error| bad_json(&error))
            }
        }
    }

    /// The body as it was sent; empty when it was read before, as a client token's is.
    ///
    /// # Errors
    /// 413 when it is too large, 400 when it breaks off.
    pub async fn bytes(&mut self) -> Result<Bytes, ApiError> {
        match std::mem::replace(&mut self.payload, Payload::Checked(Value::Null)) {
            Payload::Checked(_) => Ok(Bytes::new()),
            Payload::Unread(body) => read(body).await,
        }
    }
}
