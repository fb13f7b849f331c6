//! Errors that clients receive when an upstream fails.

use http::{HeaderValue, header};

use super::http1::ResponseError;
use crate::{
    error::{ApiError, Code},
    request::body::{BodyError, Fault, TooSlow},
};

/// What became of a request that was not answered. A body that fails while it passes is its sender's affair.
pub(super) fn unreachable(error: BodyError) -> ApiError {
    match Fault::behind(&*error) {
        Some(fault) => fault.into(),
        None if is_timeout(&*error) => timed_out().because(error),
        None => failed(error),
    }
}

/// What became of an answer that broke off.
pub(super) fn broken(error: BodyError) -> ApiError {
    let is_late = error.is::<TooSlow>() || matches!(error.downcast_ref(), Some(ResponseError::TimedOut));
    if is_late { timed_out() } else { unreachable(error) }
}

/// Whether an error began as a time limit of the connector.
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

/// The upstream cannot be reached, or what it says makes no sense.
pub(super) fn failed(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ApiError {
    ApiError::new(
        Code::UpstreamUnreachable,
        "The Letta server behind Gatelet did not answer properly; try again shortly.",
    )
    .header(header::RETRY_AFTER, HeaderValue::from_static("1"))
    .because(cause)
}

/// The upstream took too long.
pub(super) fn timed_out() -> ApiError {
    ApiError::new(Code::UpstreamTimeout, "The Letta server behind Gatelet did not answer in time; try again shortly.")
        .header(header::RETRY_AFTER, HeaderValue::from_static("1"))
}
