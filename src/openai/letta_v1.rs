//! Chats through the messages operations of Letta's own API: those of a server of the V1 generation, or of the mock.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{StatusCode, header};
use http_body_util::{BodyExt, Collected, Limited};
use serde_json::{Value, json};

use super::{
    chat_backend::{ChatBackend, Thread, TurnEvents},
    turn_reader,
};
use crate::{
    access::{Call, OnBehalf, Operation, Params, grant::Redaction},
    error::{ApiError, Code},
    reply::Reply,
    request::{body::Body, input::Query},
};

/// The largest error that is read, in bytes.
const MAX_ERROR: usize = 64 * 1024;

/// Letta's own API.
pub(crate) trait LettaApi: Send + Sync {
    /// Responds to a call, as to a caller to whose response this redaction is applied.
    ///
    /// # Errors
    /// What Letta refuses, or that it cannot be reached.
    fn call(&self, call: Call, redaction: Redaction) -> impl Future<Output = Result<Reply, ApiError>> + Send;
}

/// Chats through an API.
pub(crate) struct LettaV1<A>(pub(crate) A);

impl<A: LettaApi> LettaV1<A> {
    async fn conversation(&self, call: Call) -> Result<String, ApiError> {
        let conversation = value(self.0.call(call, Redaction::Secrets).await?)?;
        let id = conversation["id"].as_str();
        id.map(str::to_owned).ok_or_else(|| failed("the response to a new conversation has no id"))
    }
}

impl<A: LettaApi> ChatBackend for LettaV1<A> {
    fn create<'a>(&'a self, caller: &'a OnBehalf) -> BoxFuture<'a, Result<String, ApiError>> {
        let query = Query::one("agent_id", caller.agent().as_str());
        Box::pin(self.conversation(caller.call(Operation::CreateConversation, Params::default(), query, json!({}))))
    }

    fn fork<'a>(&'a self, thread: Thread<'a>) -> BoxFuture<'a, Result<String, ApiError>> {
        Box::pin(self.conversation(call(thread, Operation::ForkConversation, Value::Null)))
    }

    fn discard<'a>(&'a self, thread: Thread<'a>) -> BoxFuture<'a, Result<(), ApiError>> {
        let call = call(thread, Operation::DeleteConversation, Value::Null);
        Box::pin(async move { value(self.0.call(call, Redaction::Secrets).await?).map(drop) })
    }

    fn cancel<'a>(&'a self, thread: Thread<'a>) -> BoxFuture<'a, Result<(), ApiError>> {
        let call = call(thread, Operation::CancelConversation, Value::Null);
        Box::pin(async move {
            let cancelled = self.0.call(call, Redaction::Secrets).await.and_then(value);
            match cancelled {
                // No turn is in progress.
                Err(error) if matches!(error.code(), Code::Conflict | Code::NotFound) => Ok(()),
                cancelled => cancelled.map(drop),
            }
        })
    }

    fn send<'a>(
        &'a self,
        thread: Thread<'a>,
        text: &'a str,
        by_tokens: bool,
    ) -> BoxFuture<'a, Result<TurnEvents, ApiError>> {
        let body = json!({
            "messages": [{"role": "user", "content": text}],
            "streaming": true,
            "stream_tokens": by_tokens,
            "include_pings": true,
        });
        let call = call(thread, Operation::SendConversationMessage, body);
        Box::pin(async move {
            let events = events(self.0.call(call, Redaction::InPassing).await?).await?;
            Ok(turn_reader::read(events))
        })
    }
}

/// A call about a conversation.
fn call(thread: Thread<'_>, operation: Operation, body: Value) -> Call {
    thread.caller.call(operation, Params::one("conversation_id", thread.conversation), Query::default(), body)
}

/// The JSON of a successful reply.
fn value(reply: Reply) -> Result<Value, ApiError> {
    let (status, value) = match reply {
        Reply::Json(status, value) => (status, value),
        Reply::Rewritten(head, value) => (head.status, value),
        _ => return Err(failed("a reply is not JSON")),
    };
    if status.is_success() { Ok(value) } else { Err(refusal(status, &value)) }
}

/// The events of a successful reply.
async fn events(reply: Reply) -> Result<Body, ApiError> {
    let response = match reply {
        Reply::Events(events) => return Ok(events),
        Reply::Passed(response) => response,
        reply => return Err(value(reply).err().unwrap_or_else(|| failed("a reply is not a stream of events"))),
    };
    let media_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if response.status().is_success() && media_type.is_some_and(|kind| kind.starts_with("text/event-stream")) {
        return Ok(response.into_body());
    }
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_ERROR).collect().await.map_or_else(|_| Bytes::new(), Collected::to_bytes);
    Err(refusal(head.status, &serde_json::from_slice(&body).unwrap_or_default()))
}

/// What a Letta server has refused, in its own words if it has any.
fn refusal(status: StatusCode, body: &Value) -> ApiError {
    if !(status.is_client_error() || status.is_server_error()) {
        return failed(format!("a reply has status {}", status.as_u16()));
    }
    let code = match status {
        StatusCode::BAD_REQUEST => Code::InvalidRequest,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::CONFLICT => Code::Conflict,
        StatusCode::UNPROCESSABLE_ENTITY => Code::ValidationFailed,
        _ => Code::UpstreamError,
    };
    let words = [&body["detail"], &body["detail"]["message"], &body["error"]["message"], &body["message"]];
    let sentence = match words.into_iter().find_map(Value::as_str) {
        Some(words) => words.to_owned(),
        None => format!("The Letta server behind Gatelet responded with status {}.", status.as_u16()),
    };
    ApiError::letta(code, sentence).with_status(status)
}

fn failed(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ApiError {
    let sentence = "The Letta server behind Gatelet did not respond properly; try again shortly.";
    ApiError::new(Code::UpstreamUnreachable, sentence).because(cause)
}
