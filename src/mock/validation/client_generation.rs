//! Which generation of Letta's client libraries a request comes from.

use http::{HeaderName, header};

use crate::request::headers::AllowedHeaders;

const PACKAGE_VERSION: HeaderName = HeaderName::from_static("x-stainless-package-version");

/// Whether a request comes from a 1.x client, by Letta's own rule.
pub(in crate::mock) fn is_current_client(headers: &AllowedHeaders) -> bool {
    if headers.get(PACKAGE_VERSION).is_some() {
        return true;
    }
    let Some(agent) = headers.get(header::USER_AGENT) else { return true };
    let agent = agent.to_str().unwrap_or_default();
    agent.starts_with("letta-client/1.") || agent.starts_with("@letta-ai/letta-client/1.")
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn headers(name: &'static str, value: &'static str) -> AllowedHeaders {
        AllowedHeaders::of(HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]))
    }

    #[test]
    fn client_generations_are_recognized() {
        assert!(is_current_client(&AllowedHeaders::default()));
        assert!(is_current_client(&headers("x-stainless-package-version", "1.7.1")));
        assert!(is_current_client(&headers("user-agent", "letta-client/1.0.0")));
        assert!(is_current_client(&headers("user-agent", "@letta-ai/letta-client/1.2.0")));
        assert!(!is_current_client(&headers("user-agent", "letta-client/0.1.324")));
        assert!(!is_current_client(&headers("user-agent", "curl/8.0")));
    }
}
