//! An HTTP/1.1 client (RFC 9112): writes requests and parses responses.
//!
//! A general-purpose client gives every connection a task, passes each head and each frame through channels, and keeps
//! headers in maps. A proxy only writes a request and passes a response on, in the task that serves its own client.

#[cfg(any(test, feature = "fuzzing"))]
pub mod against_hyper;
mod body;
mod head;
mod request_writer;

use std::io;

pub(super) use self::{
    body::{Decoded, Decoder},
    head::{Head, HeadReader},
    request_writer::RequestWriter,
};
use crate::request::body::BodyError;

/// Why there is no response, or why it broke off.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResponseError {
    /// Connecting failed.
    #[error("cannot connect")]
    Connect(#[source] BodyError),
    /// Reading or writing failed.
    #[error("the connection failed")]
    Connection(#[source] io::Error),
    /// The upstream closed the connection before the end of the response.
    #[error("the upstream closed the connection too early")]
    Closed,
    /// The response is not HTTP/1.1, or it is ambiguous.
    #[error("the response is malformed: {0}")]
    Malformed(&'static str),
    /// The request's body failed while it was sent.
    #[error("the request's body failed")]
    Body(#[source] BodyError),
    /// The upstream took too long.
    #[error("the upstream took too long")]
    TimedOut,
}
