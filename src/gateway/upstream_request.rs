//! A request to an upstream, rebuilt from checked values.

use http::{HeaderName, HeaderValue, Method, header};

use super::headers::named_by_connection;
use crate::request::{
    body::Body,
    headers::{AllowedHeaders, is_forwarded},
};

/// A request without host and credential, which the upstream adds.
#[derive(Debug, Default)]
pub(super) struct UpstreamRequest {
    pub(super) method: Method,
    /// The request target in origin-form (RFC 9112, section 3.2.1).
    pub(super) target: String,
    pub(super) headers: UpstreamHeaders,
    pub(super) body: Body,
}

/// The header fields of a request: those of the client that the allow-list passes, which are selected when the request is
/// written, and those that the gateway adds.
#[derive(Debug, Default)]
pub(super) struct UpstreamHeaders {
    received: AllowedHeaders,
    /// The fields that `Connection` makes hop-by-hop.
    hop_by_hop: Vec<HeaderName>,
    added: Vec<(HeaderName, HeaderValue)>,
}

impl UpstreamRequest {
    /// A GET request without a body.
    pub(super) fn get(target: impl Into<String>) -> Self {
        Self { target: target.into(), ..Self::default() }
    }
}

impl UpstreamHeaders {
    /// The fields that the client sent and that may be passed on.
    pub(super) fn new(received: AllowedHeaders) -> Self {
        Self { hop_by_hop: named_by_connection(received.get_all(header::CONNECTION)), received, added: Vec::new() }
    }

    /// A field that the client sent, unless it is hop-by-hop.
    pub(super) fn end_to_end(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.received.get(name).filter(|_| !self.hop_by_hop.contains(name))
    }

    /// Adds a field that the allow-list does not pass, so that it cannot be there twice.
    pub(super) fn add(&mut self, name: HeaderName, value: HeaderValue) {
        debug_assert!(!is_forwarded(name.as_str()), "{name} would be sent twice");
        self.added.push((name, value));
    }

    /// All fields that are sent.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        let received = self.received.forwarded().filter(|(name, _)| !self.hop_by_hop.contains(name));
        received.chain(self.added.iter().map(|(name, value)| (name, value)))
    }
}
