//! The headers of a request that handlers may read, and those that go on to an upstream.
//!
//! Both are allow-lists. Letta reads headers that change who acts (`user_id`) or how (`X-Experimental-*`), so a header
//! that neither list names has no effect.

use std::fmt;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, AsHeaderName},
};

/// The header in which Letta accepts a server's password when there is no `Authorization`.
pub(crate) const BARE_PASSWORD: HeaderName = HeaderName::from_static("x-bare-password");

/// Only the guard reads these.
const CREDENTIALS: [HeaderName; 4] =
    [header::AUTHORIZATION, BARE_PASSWORD, header::COOKIE, header::PROXY_AUTHORIZATION];

/// A request's headers without credentials. Only those on the allow-list can be read; the others stay in the map because
/// removing each would cost more than a request's other checks together.
#[derive(Default)]
pub struct AllowedHeaders(HeaderMap);

impl AllowedHeaders {
    /// Takes the headers of a request whose caller has been identified.
    #[must_use]
    pub fn of(mut headers: HeaderMap) -> Self {
        for name in CREDENTIALS {
            headers.remove(name);
        }
        Self(headers)
    }

    /// The first value of a header; `None` if the request has none or the header is not allowed.
    #[must_use]
    pub fn get(&self, name: impl AsHeaderName + AsRef<str>) -> Option<&HeaderValue> {
        let is_allowed = is_allowed(name.as_ref());
        self.0.get(name).filter(|_| is_allowed)
    }

    /// Every value of a header; empty if it is not allowed.
    pub(crate) fn get_all(&self, name: impl AsHeaderName + AsRef<str>) -> impl Iterator<Item = &HeaderValue> {
        let is_allowed = is_allowed(name.as_ref());
        self.0.get_all(name).iter().filter(move |_| is_allowed)
    }

    /// The headers that may go on to an upstream.
    pub(crate) fn forwarded(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().filter(|(name, _)| is_forwarded(name.as_str()))
    }
}

impl fmt::Debug for AllowedHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().filter(|(name, _)| is_allowed(name.as_str()))).finish()
    }
}

/// Whether a client's header may go on to an upstream: what the client can read, and which SDK it is, which some
/// responses depend on.
pub(crate) fn is_forwarded(name: &str) -> bool {
    matches!(name, "accept" | "accept-language" | "user-agent")
        || name.starts_with("x-stainless-")
        || name.starts_with("x-fern-")
}

fn is_allowed(name: &str) -> bool {
    is_forwarded(name)
        || matches!(
            name,
            // What the body is.
            "content-type" | "content-encoding"
                // Which of the others are for this connection only.
                | "connection"
                // Parameters of single operations.
                | "storage-unit" | "x-override-embedding-model"
                // The chat that a chat completion of the OpenAI API belongs to.
                | "x-letta-chat-key" | "x-openwebui-chat-id"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_is_not_on_the_list_cannot_be_read() {
        let names = [
            "authorization",
            "cookie",
            "origin",
            "proxy-authorization",
            "user_id",
            "x-bare-password",
            "x-experimental-letta-v1-agent",
            "x-project",
        ];
        let mut headers = HeaderMap::new();
        for name in names.into_iter().chain(["content-type", "user-agent", "x-stainless-lang"]) {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("canary"));
        }
        let headers = AllowedHeaders::of(headers);
        for name in names {
            assert_eq!((headers.get(name), headers.get_all(name).count()), (None, 0), "{name}");
        }
        let read = headers.get(header::CONTENT_TYPE).into_iter().chain(headers.get_all(header::USER_AGENT));
        assert!(read.eq(["canary", "canary"]));
        let mut forwarded: Vec<&str> = headers.forwarded().map(|(name, _)| name.as_str()).collect();
        forwarded.sort_unstable();
        assert_eq!(forwarded, ["user-agent", "x-stainless-lang"]);
        assert_eq!(format!("{headers:?}").matches("canary").count(), 3, "{headers:?}");
        assert!(CREDENTIALS.iter().all(|name| !headers.0.contains_key(name)));
    }
}
