//! What a fault is: where, when, and what it does. `forms` says how its parts are written.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    condition::{Occasion, Place},
    position::Position,
};

/// A fault.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Definition {
    /// Its id; one is made if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    /// Which requests it concerns.
    #[serde(default, rename = "where", skip_serializing_if = "is_default")]
    pub(super) place: Place,
    /// Which of them it hits.
    #[serde(default, rename = "when", skip_serializing_if = "is_default")]
    pub(super) occasion: Occasion,
    /// Whether the handler runs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) phase: Phase,
    /// Of several that fit, the one with the smallest number fires.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) priority: i32,
    /// What happens.
    #[serde(rename = "do")]
    pub(super) effect: Effect,
}

/// Whether the handler runs.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    /// It does not, if the fault is a response or the lack of one. A stream that the fault ends is one that the client left.
    #[default]
    Before,
    /// It does, to its end, and its effects stay.
    After,
}

/// What happens. All parts that are given do.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Effect {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delay: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_byte: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) frame_delay: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) jitter: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cut: Option<Cut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) half: Option<Half>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stall: Option<Stall>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) drop: Option<At>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) duplicate: Option<At>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) swap: Option<At>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) corrupt: Option<Corrupt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error_event: Option<ErrorEvent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pings: Option<Pings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) slice: Option<Slice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) coalesce: Option<Coalesce>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lines: Option<Lines>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) comments: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) length: Option<Length>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) chunk: Option<Chunk>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<Token>,
}

/// The end of a response before its time.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cut {
    /// After this frame; without it, nothing is sent at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<Position>,
    #[serde(default)]
    pub(super) how: How,
}

/// How a response ends before its time.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum How {
    /// The connection is reset (TCP RST).
    #[default]
    Reset,
    /// The connection is closed.
    Close,
    /// The body ends properly, as if it were whole.
    Clean,
}

impl How {
    /// As a journal entry names it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Close => "close",
            Self::Clean => "clean",
        }
    }
}

/// A frame that is sent in part, and then the end.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Half {
    pub(super) at: Position,
    /// How much of it.
    pub(super) bytes: Partial,
    #[serde(default = "close", skip_serializing_if = "is_close")]
    pub(super) how: How,
}

fn close() -> How {
    How::Close
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference to the field")]
fn is_close(how: &How) -> bool {
    *how == How::Close
}

/// How much of a frame is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Partial {
    Bytes(usize),
    /// As far as into the first character of several bytes.
    InCharacter,
}

/// A pause in which nothing is sent, not even pings.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stall {
    pub(super) at: Position,
    /// How long; without it, until the client leaves.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub(super) time: Option<Span>,
}

/// One frame.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct At {
    pub(super) at: Position,
}

/// A frame that is not what it should be.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Corrupt {
    pub(super) at: Position,
    #[serde(rename = "as")]
    pub(super) kind: Corruption,
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Corruption {
    Utf8,
    Json,
    CutJson,
    UnknownType,
    ExtraField,
    Huge,
}

/// A failure of the model's provider in the middle of a stream.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ErrorEvent {
    pub(super) at: Position,
    /// The provider's status.
    #[serde(default = "internal_server_error")]
    pub(super) status: u16,
}

fn internal_server_error() -> u16 {
    500
}

/// What happens to pings.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Pings {
    None,
    Storm(Storm),
}

/// Pings before the first frame.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Storm {
    pub(super) every: Span,
    pub(super) count: usize,
}

/// The body in pieces.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Slice {
    pub(super) bytes: Sizes,
}

/// Sizes of pieces: from the first to the second.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Sizes(pub(super) usize, pub(super) usize);

/// How many frames are sent as one piece.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Coalesce {
    All,
    Frames(usize),
}

/// How lines end.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Lines {
    Crlf,
    Cr,
}

/// By how much the length that is declared differs from the real one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Length(pub(super) i64);

/// What is wrong with a chunk of HTTP/1.1.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Chunk {
    Malformed,
}

/// What happens to the client token, or to what decides about it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Expire,
    Revoke,
    /// In the middle of a stream.
    RevokeAt(Position),
    Stale,
    Quota,
    StoreAway,
}

/// A length of time, such as `200ms`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Span(pub(super) Duration);

impl Effect {
    /// Whether it is a response, instead of the handler's.
    pub(super) fn is_response(&self) -> bool {
        self.status.is_some() || self.code.is_some() || self.body.is_some()
    }

    /// Whether no response is sent at all; how the connection ends.
    pub(super) fn silence(&self) -> Option<How> {
        self.cut.as_ref().filter(|cut| cut.at.is_none()).map(|cut| cut.how)
    }

    /// The first part that changes a body frame by frame.
    pub(super) fn stream_part(&self) -> Option<&'static str> {
        let parts = [
            ("frame_delay", self.frame_delay.is_some()),
            ("jitter", self.jitter.is_some()),
            ("cut", self.cut.is_some()),
            ("half", self.half.is_some()),
            ("stall", self.stall.is_some()),
            ("drop", self.drop.is_some()),
            ("duplicate", self.duplicate.is_some()),
            ("swap", self.swap.is_some()),
            ("corrupt", self.corrupt.is_some()),
            ("error_event", self.error_event.is_some()),
            ("pings", self.pings.is_some()),
            ("slice", self.slice.is_some()),
            ("coalesce", self.coalesce.is_some()),
            ("lines", self.lines.is_some()),
            ("comments", self.comments.is_some()),
            ("token", matches!(self.token, Some(Token::RevokeAt(_)))),
        ];
        parts.into_iter().find(|(_, is_given)| *is_given).map(|(name, _)| name)
    }
}

impl Token {
    /// Whether it acts before the guard decides.
    pub(super) fn is_before_guard(&self) -> bool {
        matches!(self, Self::Expire | Self::Revoke | Self::Stale | Self::Quota)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
