//! Why a caller is refused, and the sentence that tells its developer what to do about it.
//!
//! A caller without a genuine token learns only that it is refused, not why.

use std::num::{NonZeroU32, NonZeroUsize};

use http::{HeaderValue, header};

use super::Operation;
use crate::{
    error::{ApiError, Code},
    model::AccessSet,
};

/// Why a caller is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Denial {
    /// The request has no bearer.
    BearerMissing,
    /// A bearer that is not valid here.
    BearerInvalid {
        /// Whether it looks like a mistyped API key.
        mistyped_key: bool,
    },
    /// The API key of a namespace of some mock, on a server that has no namespaces.
    TestKey,
    /// The API key of a namespace that this mock does not have.
    TestKeyUnknown,
    /// A genuine client token that has expired.
    TokenExpired,
    /// A genuine client token that was revoked.
    TokenRevoked,
    /// A client token was sent to an operation that manages tokens.
    ApiKeyRequired,
    /// The operation is closed to client tokens.
    OperationNotAvailable(Operation),
    /// No entry of the policy names the agent.
    AgentNotInPolicy {
        /// The agent.
        agent: String,
    },
    /// The request must name an agent and does not.
    AgentNotNamed {
        /// The body field that names it, unless that is the query parameter `agent_id`.
        field: Option<&'static str>,
    },
    /// The policy's entry for the agent lacks access that the operation needs.
    AccessNotGranted {
        /// The access that is needed.
        needed: AccessSet,
        /// The access that is granted.
        held: AccessSet,
        /// The agent.
        agent: String,
    },
    /// No entry of the policy grants the access that the operation needs.
    AccessNowhereGranted {
        /// The access that is needed.
        needed: AccessSet,
    },
    /// A field that a client token may not set.
    FieldNotGranted {
        /// Its path in the body or query.
        field: String,
        /// What to do instead.
        hint: &'static str,
    },
    /// The thing is shared with an agent on which the policy does not grant the same access.
    SharedBeyondPolicy {
        /// Whether the policy names that agent at all.
        is_named: bool,
    },
    /// The request names no origin.
    OriginMissing {
        /// The origin that the token is bound to.
        bound_to: Box<str>,
    },
    /// The request comes from another origin.
    OriginMismatch {
        /// The origin that the token is bound to.
        bound_to: Box<str>,
        /// The origin that was sent.
        sent: Box<str>,
    },
    /// An API key was sent with an `Origin` header.
    ApiKeyInBrowser,
    /// The token's request quota is used up.
    TooManyRequests {
        /// The requests that it may send a minute.
        limit: NonZeroU32,
        /// The seconds until the next one is accepted.
        seconds: u64,
    },
    /// The token has the most streams and turns in progress that are allowed.
    TooManyStreams {
        /// How many that is.
        limit: NonZeroU32,
    },
    /// The token's unread responses take the most memory that is allowed.
    TooManyResponseBytes {
        /// How many bytes that is.
        limit: NonZeroUsize,
    },
    /// The token is sending the most large bodies that are allowed.
    TooManyLargeBodies {
        /// How many that is.
        limit: NonZeroU32,
    },
}

impl From<Denial> for ApiError {
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::BearerMissing => challenge(
                Self::new(
                    Code::BearerMissing,
                    "Send an API key (sk-let-...) or a client token (ck-let-...) as 'Authorization: Bearer ...'.",
                ),
                "Bearer realm=\"gatelet\"",
            ),
            Denial::BearerInvalid { mistyped_key } => invalid_token(Self::new(
                Code::BearerInvalid,
                if mistyped_key {
                    "This API key is not valid: its checksum does not fit, so it was probably mistyped or cut short."
                } else {
                    "This bearer token is not valid on this server; check that it was issued here and copied whole."
                },
            )),
            Denial::TestKey => invalid_token(Self::new(
                Code::BearerInvalid,
                "This is a test key (sk-let-test...). It works only on a mock with the control API (gatelet serve \
                 --ephemeral --control), for the namespace that it was made for; use an API key of this server here.",
            )),
            Denial::TestKeyUnknown => invalid_token(Self::new(
                Code::BearerInvalid,
                "This test key (sk-let-test...) belongs to a namespace that this server does not have: it was deleted, or \
                 the server was started again; create the namespace, with this key if it must stay the same.",
            )),
            Denial::TokenExpired => invalid_token(Self::new(
                Code::TokenExpired,
                "This client token has expired; have your server create a new one.",
            )),
            Denial::TokenRevoked => invalid_token(Self::new(
                Code::TokenRevoked,
                "This client token was revoked; have your server create a new one.",
            )),
            Denial::ApiKeyRequired => Self::new(
                Code::ApiKeyRequired,
                "Client tokens are created, listed and deleted with an API key (sk-let-...), never with a client token; \
                 do this on your server.",
            ),
            Denial::OperationNotAvailable(operation) => Self::new(
                Code::OperationNotAvailable,
                format!(
                    "{operation} is not available to client tokens ({}); call it from your server with an API key.",
                    operation.row().note
                ),
            ),
            Denial::AgentNotInPolicy { agent } => Self::new(
                Code::AgentNotInPolicy,
                format!("The token's policy does not name {agent}; create a token with an entry for this agent."),
            ),
            Denial::AgentNotNamed { field: None } => Self::new(
                Code::AgentNotInPolicy,
                "Name an agent that the token's policy covers in the parameter agent_id.",
            ),
            Denial::AgentNotNamed { field: Some(field) } => Self::new(
                Code::AgentNotInPolicy,
                format!("Send the id of an agent that the token's policy covers as {field}."),
            ),
            Denial::AccessNotGranted { needed, held, agent } => Self::new(
                Code::AccessNotGranted,
                format!(
                    "This needs {needed} on {agent}, and the token's policy lacks {}; create a token that grants it.",
                    needed.missing_from(held)
                ),
            ),
            Denial::AccessNowhereGranted { needed } => Self::new(
                Code::AccessNotGranted,
                format!(
                    "This needs {needed} on the agent it belongs to, which no entry of the token's policy grants; create a \
                     token that grants it."
                ),
            ),
            Denial::FieldNotGranted { field, hint } => {
                Self::new(Code::FieldNotGranted, format!("A client token may not set {field}; {hint}."))
            }
            Denial::SharedBeyondPolicy { is_named } => Self::new(
                if is_named { Code::AccessNotGranted } else { Code::AgentNotInPolicy },
                "Other agents share this, and the token's policy does not grant the same access on them; change it from \
                 your server with an API key.",
            ),
            Denial::OriginMissing { bound_to } => Self::new(
                Code::OriginMissing,
                format!(
                    "The request names no origin and the token is bound to {bound_to}; outside of a browser send the \
                     header 'Origin: {bound_to}', or start Gatelet with --origin-missing allow."
                ),
            ),
            Denial::OriginMismatch { bound_to, sent } => Self::new(
                Code::OriginMismatch,
                format!(
                    "The token is bound to {bound_to}, but the request came from {sent}; create a token whose hostname is \
                     the origin of the page."
                ),
            ),
            Denial::ApiKeyInBrowser => Self::new(
                Code::ApiKeyInBrowser,
                "An API key came with an Origin header, as if from a browser, where anyone can read it; use a client token \
                 there, or set api_keys.allow_browsers = true.",
            ),
            Denial::TooManyRequests { limit, seconds } => Self::new(
                Code::RateLimited,
                format!("This token may send {limit} requests a minute; send the next one after {seconds} s."),
            )
            .header(header::RETRY_AFTER, seconds.into()),
            Denial::TooManyStreams { limit } => too_many(format!(
                "This token may have at most {limit} streams open or turns in progress; wait until one ends."
            )),
            Denial::TooManyResponseBytes { limit } => too_many(format!(
                "Unread responses to this token may take at most {limit} bytes; read or close those that are open."
            )),
            Denial::TooManyLargeBodies { limit } => too_many(format!(
                "This token may send at most {limit} large bodies at a time; wait for a response to one."
            )),
        }
    }
}

/// When one of them ends is unknown, so the SDKs are told to retry after a second.
fn too_many(sentence: String) -> ApiError {
    ApiError::new(Code::RateLimited, sentence).header(header::RETRY_AFTER, HeaderValue::from_static("1"))
}

/// RFC 6750, section 3.
fn invalid_token(error: ApiError) -> ApiError {
    let description = match error.code() {
        Code::TokenExpired => "Bearer realm=\"gatelet\", error=\"invalid_token\", error_description=\"expired\"",
        Code::TokenRevoked => "Bearer realm=\"gatelet\", error=\"invalid_token\", error_description=\"revoked\"",
        _ => "Bearer realm=\"gatelet\", error=\"invalid_token\"",
    };
    challenge(error, description)
}

fn challenge(error: ApiError, challenge: &'static str) -> ApiError {
    error.header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}
