//! A request to an upstream, rebuilt from checked values.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::headers::{is_passed, named_by_connection};
use crate::request::body::Body;

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
    received: HeaderMap,
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
    /// The fields that the client sent.
    pub(super) fn new(received: HeaderMap) -> Self {
        Self { hop_by_hop: named_by_connection(&received), received, added: Vec::new() }
    }

    /// All that the client sent.
    pub(super) fn received(&self) -> &HeaderMap {
        &self.received
    }

    /// A field that the client sent, unless it is hop-by-hop.
    pub(super) fn end_to_end(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.received.get(name).filter(|_| !self.hop_by_hop.contains(name))
    }

    /// Adds a field that the allow-list does not pass, so that it cannot be there twice.
    pub(super) fn add(&mut self, name: HeaderName, value: HeaderValue) {
        debug_assert!(!is_passed(name.as_str()), "{name} would be sent twice");
        self.added.push((name, value));
    }

    /// All fields that are sent.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        let passed = |name: &HeaderName| is_passed(name.as_str()) && !self.hop_by_hop.contains(name);
        let received = self.received.iter().filter(move |(name, _)| passed(name));
        received.chain(self.added.iter().map(|(name, value)| (name, value)))
    }
}
