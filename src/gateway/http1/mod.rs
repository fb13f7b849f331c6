//! HTTP/1.1 (RFC 9112) as a client of one upstream: what goes over the wire, and what comes back.
//!
//! A library's client is made for any request and any server: it gives every connection a task, hands each head and each
//! frame through channels, and keeps what it sends and receives in maps. A proxy has a request to write and an answer to
//! pass on, in the task that answers its own client, and nothing in between.

#[cfg(any(test, feature = "fuzzing"))]
pub mod against_hyper;
mod body;
mod head;
mod sending;

use std::io;

pub(super) use self::{
    body::{Decoded, Decoder},
    head::{Head, Reader},
    sending::Sending,
};
use crate::request::body::BodyError;

/// Why no answer came, or why it broke off.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResponseError {
    /// Connecting failed.
    #[error("cannot connect")]
    Connect(#[source] BodyError),
    /// Reading or writing failed.
    #[error("the connection failed")]
    Connection(#[source] io::Error),
    /// The upstream closed the connection before the answer had ended.
    #[error("the upstream closed the connection in the middle")]
    Closed,
    /// The answer is not HTTP/1.1, or none that has one meaning only.
    #[error("the answer is malformed: {0}")]
    Malformed(&'static str),
    /// The request's body failed on its way.
    #[error("the request's body failed")]
    Body(#[source] BodyError),
    /// It took too long.
    #[error("the upstream took too long")]
    TimedOut,
}
