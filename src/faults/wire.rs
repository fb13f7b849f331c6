//! What a fault does below HTTP, and what tells the connection to do it.

use std::{fmt, time::Duration};

use bytes::Bytes;

pub(crate) use super::definition::How;

/// How long the network and the client get for what was sent before a reset: it takes back what is on its way, and some
/// clients then drop what they have not read.
pub(crate) const DELIVERY: Duration = Duration::from_millis(100);

/// Travels with a response, as an extension, to the connection that sends it.
#[derive(Clone, Debug)]
pub(crate) enum Wire {
    /// Nothing is sent at all.
    Silence(How),
    /// The body may end in a [`CutOff`].
    Body,
    /// The bytes of HTTP/1.1 are changed.
    Edited(Edit),
}

/// A change to the bytes of a response of HTTP/1.1.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    /// A text in the response's head, by which the head is recognized.
    pub(crate) mark: Bytes,
    pub(crate) change: Change,
}

/// What is changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Change {
    /// The length that the head declares, by so many bytes.
    Length(i64),
    /// The head of the first chunk: it is no number.
    Chunk,
}

/// The error of a body that a fault cuts off. What was handed over before is sent first.
#[derive(Debug)]
pub(crate) struct CutOff(pub(crate) How);

impl fmt::Display for CutOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fault has cut the response off")
    }
}

impl std::error::Error for CutOff {}
