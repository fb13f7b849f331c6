//! Errors that clients receive when an upstream fails.

use http::{HeaderValue, header};

use super::http1::ResponseError;
use crate::{
    error::{ApiError, Code},
    request::body::{BodyError, Fault, TooSlow},
};

/// The error for a request without a response. If the request's own body failed, the error is the client's, not the
/// upstream's.
pub(super) fn unreachable(error: BodyError) -> ApiError {
    match Fault::behind(&*error) {
        Some(fault) => fault.into(),
        None if is_timeout(&*error) => timed_out().because(error),
        None => failed(error),
    }
}

/// The error for a response that broke off.
pub(super) fn interrupted(error: BodyError) -> ApiError {
    let took_too_long = error.is::<TooSlow>() || matches!(error.downcast_ref(), Some(ResponseError::TimedOut));
    if took_too_long { timed_out() } else { unreachable(error) }
}

/// Whether an error was caused by the connector's time limit.
fn is_timeout(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        if cause.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::TimedOut) {
            return true;
        }
        source = cause.source();
    }
    false
}

/// The error for an upstream that cannot be reached, or whose response makes no sense.
pub(super) fn failed(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ApiError {
    ApiError::new(
        Code::UpstreamUnreachable,
        "The Letta server behind Gatelet did not respond properly; try again shortly.",
    )
    .header(header::RETRY_AFTER, HeaderValue::from_static("1"))
    .because(cause)
}

/// The error for an upstream that took too long.
pub(super) fn timed_out() -> ApiError {
    ApiError::new(Code::UpstreamTimeout, "The Letta server behind Gatelet did not respond in time; try again shortly.")
        .header(header::RETRY_AFTER, HeaderValue::from_static("1"))
}
