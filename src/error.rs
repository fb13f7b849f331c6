//! The one error type of the HTTP surface, and the closed set of its codes.
//!
//! Gatelet's own refusals have the same sentence in `message` and `detail`, because Letta's two client generations read
//! one each. Errors that Letta defines keep Letta's body, with `message`, `code` and `request_id` added.

use std::{borrow::Cow, error::Error, fmt};

use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

macro_rules! codes {
    ($($(#[doc = $meaning:literal])+ $name:ident $status:literal $word:literal;)+) => {
        /// Why a request was refused. The set is closed: clients may match on it.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Code { $($(#[doc = $meaning])+ $name,)+ }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its HTTP status.
            #[must_use]
            pub fn status(self) -> StatusCode {
                let status: u16 = match self { $(Self::$name => $status,)+ };
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }

            /// The word on the wire.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            /// What it means, for the documentation.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($meaning),+),)+ }
            }
        }
    };
}

codes! {
    /// A parameter or field does not follow its rule; the sentence names it.
    InvalidRequest 400 "invalid_request";
    /// The path is not in the one form that the SDKs send.
    PathNotCanonical 400 "path_not_canonical";
    /// A turn failed: the model's provider refused the request.
    LlmBadRequest 400 "llm_bad_request";
    /// A turn failed: it would have produced more than `mock.turn_bytes`, or more text than a response of the OpenAI API
    /// holds.
    TurnTooLarge 400 "turn_too_large";
    /// The response would take more stored data than `mock.answer_bytes`; request less, such as with a smaller `limit`.
    AnswerTooLarge 400 "answer_too_large";
    /// The namespace of the credential is not the one that the request names.
    NamespaceMismatch 400 "namespace_mismatch";
    /// No bearer token was sent.
    BearerMissing 401 "bearer_missing";
    /// The bearer is not valid here; this includes revoked and expired API keys.
    BearerInvalid 401 "bearer_invalid";
    /// The client token is genuine and has expired; issue a new one.
    TokenExpired 401 "token_expired";
    /// The client token is genuine and was revoked, or its API key was.
    TokenRevoked 401 "token_revoked";
    /// A turn failed: the model's provider does not accept the server's credential.
    LlmAuthentication 401 "llm_authentication";
    /// A turn failed: the account with the model's provider has no credit left.
    LlmInsufficientCredits 402 "llm_insufficient_credits";
    /// The operation needs an API key.
    ApiKeyRequired 403 "api_key_required";
    /// The token's policy does not name this agent.
    AgentNotInPolicy 403 "agent_not_in_policy";
    /// The policy names the agent without the access this operation needs.
    AccessNotGranted 403 "access_not_granted";
    /// The operation is closed to client tokens.
    OperationNotAvailable 403 "operation_not_available";
    /// A field or parameter that a client token may not set.
    FieldNotGranted 403 "field_not_granted";
    /// The request carries neither Origin nor a usable Referer.
    OriginMissing 403 "origin_missing";
    /// The request comes from another origin than the token is bound to.
    OriginMismatch 403 "origin_mismatch";
    /// An API key was sent from a browser.
    ApiKeyInBrowser 403 "api_key_in_browser";
    /// This credential, host or origin may not use the control API, or not this part of it.
    ControlNotAllowed 403 "control_not_allowed";
    /// The request names no namespace, and `control.require_namespace` is set.
    NamespaceRequired 403 "namespace_required";
    /// There is nothing at this path, or nothing the caller may see.
    NotFound 404 "not_found";
    /// There is no namespace of this name.
    NamespaceNotFound 404 "namespace_not_found";
    /// The namespace has no snapshot of this name.
    SnapshotNotFound 404 "snapshot_not_found";
    /// The journal has no entry of this number, or no longer.
    EntryNotFound 404 "entry_not_found";
    /// There is no response of this id that the token may continue.
    ResponseNotFound 404 "response_not_found";
    /// The path exists, but not with this method; see Allow.
    MethodNotAllowed 405 "method_not_allowed";
    /// The body paused for too long or arrived too slowly.
    RequestTimeout 408 "request_timeout";
    /// The request conflicts with the current state.
    Conflict 409 "conflict";
    /// There is a namespace of this name already.
    NamespaceExists 409 "namespace_exists";
    /// The namespace `default` of a persistent store cannot be reset, restored, seeded or moved in time.
    NamespacePersistent 409 "namespace_persistent";
    /// The snapshot is damaged, is none, or was made by a newer version of Gatelet.
    SnapshotIncompatible 409 "snapshot_incompatible";
    /// The namespace was reset, restored or deleted while it handled the request.
    NamespaceEnded 409 "namespace_ended";
    /// A clock only moves forward; only restoring a snapshot takes it back.
    ClockBackwards 409 "clock_backwards";
    /// The body is larger than this server accepts.
    BodyTooLarge 413 "body_too_large";
    /// The path and query are longer than this server accepts.
    TargetTooLong 414 "target_too_long";
    /// The media type of the body is not supported.
    UnsupportedMediaType 415 "unsupported_media_type";
    /// The journal does not show what was expected; the report says what is missing and what came near.
    VerificationFailed 417 "verification_failed";
    /// An id, parameter or field is malformed, by Letta's rules.
    ValidationFailed 422 "validation_failed";
    /// The body of a call of the control API does not follow its rules; `at` says where.
    ControlInvalid 422 "control_invalid";
    /// A seed cannot be applied, and nothing of it was; `at` says where the mistake is.
    SeedInvalid 422 "seed_invalid";
    /// A reply or script does not follow its rules; `at` says where the mistake is.
    ScriptInvalid 422 "script_invalid";
    /// A fault does not follow its rules; `at` says where the mistake is.
    FaultInvalid 422 "fault_invalid";
    /// The token has reached a limit on requests, streams, turns, large bodies or unread response bytes.
    RateLimited 429 "rate_limited";
    /// There are as many namespaces as `control.namespaces` allows; delete one.
    NamespacesExhausted 429 "namespaces_exhausted";
    /// The namespace has as many snapshots as it may have, or they are too large; delete one.
    SnapshotsExhausted 429 "snapshots_exhausted";
    /// A turn failed: the model's provider receives too many requests.
    LlmRateLimit 429 "llm_rate_limit";
    /// The header fields are more, or larger, than this server accepts.
    HeadersTooLarge 431 "headers_too_large";
    /// A defect in Gatelet.
    Internal 500 "internal";
    /// A turn failed: the model's provider failed.
    LlmError 500 "llm_error";
    /// Letta has this operation, but the mock does not.
    NotMocked 501 "not_mocked";
    /// The upstream could not be reached.
    UpstreamUnreachable 502 "upstream_unreachable";
    /// The upstream refused Gatelet's own credential.
    UpstreamCredentialRefused 502 "upstream_credential_refused";
    /// The upstream responded with an error without a readable reason; the status is the upstream's.
    UpstreamError 502 "upstream_error";
    /// Generating failed: the model's provider failed.
    LlmUnavailable 502 "llm_unavailable";
    /// The database cannot be reached.
    StoreUnavailable 503 "store_unavailable";
    /// Other requests kept changing the same things; try again.
    StoreBusy 503 "store_busy";
    /// Revocations have not been read for too long, so client tokens are not accepted.
    RevocationsStale 503 "revocations_stale";
    /// The upstream did not respond in time.
    UpstreamTimeout 504 "upstream_timeout";
    /// A turn failed: the model's provider did not respond in time.
    LlmTimeout 504 "llm_timeout";
    /// The disk of the database is full: nothing can be stored, but stored data can be read.
    StoreFull 507 "store_full";
}

/// A refusal or failure, with its public response and its private cause.
#[derive(Debug)]
pub struct ApiError(Box<Parts>);

#[derive(Debug)]
struct Parts {
    code: Code,
    status: StatusCode,
    message: Cow<'static, str>,
    body: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl ApiError {
    fn from_parts(code: Code, message: Cow<'static, str>, body: Map<String, Value>) -> Self {
        Self(Box::new(Parts { code, status: code.status(), message, body, headers: Vec::new(), cause: None }))
    }

    /// One of Gatelet's own refusals: `message` says what to do.
    #[must_use]
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        let detail = Value::from(message.as_ref());
        Self::from_parts(code, message, Map::from_iter([("detail".into(), detail)]))
    }

    /// An error that Letta defines: `{"detail": <detail>}`.
    #[must_use]
    pub fn letta(code: Code, detail: impl Into<Value>) -> Self {
        let detail = detail.into();
        let message = match &detail {
            Value::String(text) => text.clone(),
            Value::Object(map) => map.get("message").and_then(Value::as_str).unwrap_or_default().to_owned(),
            _ => String::new(),
        };
        Self::from_parts(code, message.into(), Map::from_iter([("detail".into(), detail)]))
    }

    /// A turn that failed, as Letta reports it: `{"error": <error>}`.
    #[must_use]
    pub(crate) fn provider(code: Code, message: impl Into<Cow<'static, str>>, error: Value) -> Self {
        Self::from_parts(code, message.into(), Map::from_iter([("error".into(), error)]))
    }

    /// A 422 in Letta's form: a string that renders a list of problems, here of one. `location` is rendered as a Python
    /// tuple, such as `('body', 'messages')`.
    #[must_use]
    pub(crate) fn validation(kind: &str, location: &[&str], problem: &str, input: &Value) -> Self {
        let quoted: Vec<String> = location.iter().map(|part| python_repr(&Value::from(*part))).collect();
        let tuple = if quoted.len() == 1 { format!("{},", quoted[0]) } else { quoted.join(", ") };
        let detail = format!(
            "[{{'type': '{kind}', 'loc': ({tuple}), 'msg': {}, 'input': {}}}]",
            python_repr(&Value::from(problem)),
            python_repr(&shortened(input)),
        );
        let message = format!("{}: {problem}", location.join("."));
        let body = Map::from_iter([("trace_id".into(), Value::from("")), ("detail".into(), Value::from(detail))]);
        Self::from_parts(Code::ValidationFailed, message.into(), body)
    }

    /// Adds to a problem what Letta adds, such as the pattern that was not matched.
    #[must_use]
    pub(crate) fn with_context(mut self, context: &str) -> Self {
        if let Some(Value::String(detail)) = self.0.body.get_mut("detail")
            && let Some(open) = detail.strip_suffix("}]")
        {
            *detail = format!("{open}, {context}}}]");
        }
        self
    }

    /// A defect: the cause goes to the log, and the caller learns only that there was one.
    #[must_use]
    pub(crate) fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let mut error =
            Self::new(Code::Internal, "Gatelet failed to handle this request; please report it with the request id.");
        error.0.cause = Some(cause.into());
        error
    }

    /// Replaces the sentence in `message`, a field that Letta does not have.
    #[must_use]
    pub fn saying(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.0.message = message.into();
        self
    }

    /// Uses another server's status instead of the code's.
    #[must_use]
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = status;
        self
    }

    /// Adds a key to the body.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.body.insert(key.to_owned(), value.into());
        self
    }

    /// Says where the mistake is: a JSON pointer into the body, such as `/replies/0`, or a line, such as `line 5`.
    #[must_use]
    pub fn at(self, place: impl Into<String>) -> Self {
        self.with("at", place.into())
    }

    /// Adds a header to the response.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Keeps the cause for the log.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// The response would take more stored data than is allowed.
    #[must_use]
    pub(crate) fn answer_too_large(limit: usize) -> Self {
        let sentence = format!(
            "The response would take more than {limit} bytes of stored data; request less (a smaller limit, fewer \
             relationships), or raise mock.answer_bytes."
        );
        Self::letta(Code::AnswerTooLarge, sentence).without_retry()
    }

    /// A conflict that repeating the request cannot resolve.
    #[must_use]
    pub(crate) fn conflict(detail: impl Into<Value>) -> Self {
        Self::letta(Code::Conflict, detail).without_retry()
    }

    /// Tells the SDKs not to retry, as they would by the status: the response will not change.
    #[must_use]
    pub(crate) fn without_retry(self) -> Self {
        self.header(HeaderName::from_static("x-should-retry"), HeaderValue::from_static("false"))
    }

    /// The database cannot be reached; the SDKs retry after a second.
    #[must_use]
    pub(crate) fn store_unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Code::StoreUnavailable, "The database cannot be reached at the moment; try again shortly.")
            .header(header::RETRY_AFTER, HeaderValue::from_static("1"))
            .because(cause)
    }

    /// Other requests conflicted with this one in every attempt; the SDKs retry after a second.
    #[must_use]
    pub(crate) fn store_busy(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Code::StoreBusy, "Other requests are changing the same things at the moment; try again shortly.")
            .header(header::RETRY_AFTER, HeaderValue::from_static("1"))
            .because(cause)
    }

    /// The database has no space left; the SDKs retry after a second.
    #[must_use]
    pub(crate) fn store_full(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let sentence =
            "The disk of the database is full, so nothing was stored; try again once its operator has freed space.";
        Self::new(Code::StoreFull, sentence).header(header::RETRY_AFTER, HeaderValue::from_static("1")).because(cause)
    }

    /// Whether the database failed in a way that may pass.
    #[must_use]
    pub(crate) fn is_store_failure(&self) -> bool {
        matches!(self.0.code, Code::StoreUnavailable | Code::StoreBusy | Code::StoreFull)
    }

    /// A copy for another request that waited for the same result. The cause stays with the original, to be logged once.
    #[must_use]
    pub(crate) fn without_cause(&self) -> Self {
        let mut copy = Self::from_parts(self.0.code, self.0.message.clone(), self.0.body.clone());
        copy.0.status = self.0.status;
        copy.0.headers.clone_from(&self.0.headers);
        copy
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The sentence for the developer.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The private cause, for the log.
    #[must_use]
    pub(crate) fn cause(&self) -> Option<&(dyn Error + Send + Sync)> {
        self.0.cause.as_deref()
    }

    /// The response's headers besides the usual ones.
    #[must_use]
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.0.headers
    }

    /// The response's JSON body.
    #[must_use]
    pub(crate) fn to_body(&self, request_id: &str) -> Value {
        let mut body = Map::from_iter([("message".into(), Value::from(self.0.message.as_ref()))]);
        body.extend(self.0.body.clone());
        body.insert("code".into(), self.0.code.word().into());
        body.insert("request_id".into(), request_id.into());
        Value::Object(body)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code.word(), self.0.message)
    }
}

/// A JSON value as Python prints it, which is how Letta renders rejected input.
#[must_use]
pub fn python_repr(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => python_float(float),
            None => number.to_string(),
        },
        Value::String(text) => {
            let escaped = escaped(text);
            if escaped.contains('\'') && !escaped.contains('"') {
                format!("\"{escaped}\"")
            } else {
                format!("'{}'", escaped.replace('\'', "\\'"))
            }
        }
        Value::Array(items) => format!("[{}]", items.iter().map(python_repr).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let entries: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{}: {}", python_repr(&json!(key)), python_repr(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

/// The shortest digits that represent this number, with an exponent where Python writes one.
fn python_float(float: f64) -> String {
    let scientific = format!("{float:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..16).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        _ => format!("{float:?}"),
    }
}

/// A text with the escapes of a Python literal, except for quotes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            ' '..='~' => escaped.push(c),
            // Rust's debug format escapes what cannot be printed, as Python does.
            _ if !format!("{:?}", ['a', c].iter().collect::<String>()).contains('\\') => escaped.push(c),
            _ => {
                let code = u32::from(c);
                escaped.extend(match code {
                    0..0x100 => [format!("\\x{code:02x}")],
                    0x100..0x1_0000 => [format!("\\u{code:04x}")],
                    _ => [format!("\\U{code:08x}")],
                });
            }
        }
    }
    escaped
}

/// Rejected input as it is echoed: as Letta echoes it, but shortened.
fn shortened(input: &Value) -> Value {
    const LIMIT: usize = 400;
    match input {
        Value::String(text) if text.len() <= LIMIT => input.clone(),
        Value::String(text) => format!("{}...", text.chars().take(LIMIT).collect::<String>()).into(),
        Value::Array(_) | Value::Object(_) if input.to_string().len() > LIMIT => "...".into(),
        _ => input.clone(),
    }
}
