//! A request to an upstream, rebuilt from what was decided.

use http::{HeaderName, HeaderValue, Method, header};

use super::headers::named_by_connection;
use crate::request::{
    body::Body,
    headers::{AllowedHeaders, is_forwarded},
};

/// A request without what is the same for all: host and credential.
#[derive(Debug, Default)]
pub(super) struct UpstreamRequest {
    pub(super) method: Method,
    /// The request target in origin-form (RFC 9112, section 3.2.1).
    pub(super) target: String,
    pub(super) headers: UpstreamHeaders,
    pub(super) body: Body,
}

/// The header fields of a request: those that the client may say, picked from what it sent when they are written out, and
/// those that are for us to say.
#[derive(Debug, Default)]
pub(super) struct UpstreamHeaders {
    received: AllowedHeaders,
    /// Which of them `Connection` makes hop-by-hop.
    hop_by_hop: Vec<HeaderName>,
    own: Vec<(HeaderName, HeaderValue)>,
}

impl UpstreamRequest {
    /// A question without a body.
    pub(super) fn get(target: impl Into<String>) -> Self {
        Self { target: target.into(), ..Self::default() }
    }
}

impl UpstreamHeaders {
    /// What the client may say of all that it sent.
    pub(super) fn of(received: AllowedHeaders) -> Self {
        Self { hop_by_hop: named_by_connection(received.get_all(header::CONNECTION)), received, own: Vec::new() }
    }

    /// What the client sent, unless it was for this connection only.
    pub(super) fn end_to_end(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.received.get(name).filter(|_| !self.hop_by_hop.contains(name))
    }

    /// Adds a field that is for us to say, and which none of the client's is passed for.
    pub(super) fn say(&mut self, name: HeaderName, value: HeaderValue) {
        debug_assert!(!is_forwarded(name.as_str()), "{name} would be said twice");
        self.own.push((name, value));
    }

    /// All fields that are sent.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        let received = self.received.forwarded().filter(|(name, _)| !self.hop_by_hop.contains(name));
        received.chain(self.own.iter().map(|(name, value)| (name, value)))
    }
}
