//! A request to an upstream, rebuilt from what was decided.

use http::{HeaderName, HeaderValue, Method};

use crate::body::Body;

/// A request without what is the same for all: host and credential.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    pub(super) method: Method,
    /// The request target in origin-form (RFC 9112, section 3.2.1).
    pub(super) target: String,
    pub(super) headers: Fields,
    pub(super) body: Body,
}

/// Header fields that are only written out: nobody looks them up, so they are in no map.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(HeaderName, HeaderValue)>);

impl Outgoing {
    /// A question without a body.
    pub(super) fn get(target: impl Into<String>) -> Self {
        Self { target: target.into(), ..Self::default() }
    }
}

impl Fields {
    /// Room for so many.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// Adds a field beside those of the same name.
    pub(super) fn append(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.push((name, value));
    }

    /// Sets a field in place of those of the same name.
    pub(super) fn insert(&mut self, name: HeaderName, value: HeaderValue) {
        self.remove(&name);
        self.append(name, value);
    }

    /// Removes every field of a name.
    pub(super) fn remove(&mut self, name: &HeaderName) {
        self.0.retain(|(present, _)| present != name);
    }

    /// All fields.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.0.iter()
    }
}

impl IntoIterator for Fields {
    type Item = (HeaderName, HeaderValue);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
