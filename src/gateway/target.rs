//! The target that the upstream sees: the operation's template, filled with the values on which the decision was made.

use http::uri::PathAndQuery;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    access::Params,
    call::Query,
    error::{ApiError, Code},
};

/// All but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Builds an origin-form target in Letta's canonical spelling.
///
/// # Errors
/// 400 when it is longer than the `http` crate holds, which what was sent need not be: encoding makes it longer.
pub fn build(template: &'static str, params: &Params, query: &Query) -> Result<PathAndQuery, ApiError> {
    let mut target = String::with_capacity(template.len() + 64);
    for (index, segment) in template.split('/').enumerate() {
        if index > 0 {
            target.push('/');
        }
        match segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) => target.extend(utf8_percent_encode(params.find(name).unwrap_or_default(), RESERVED)),
            None => target.push_str(segment),
        }
    }
    let mut pairs = query.pairs().peekable();
    if pairs.peek().is_some() {
        target.push('?');
        target.push_str(&form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish());
    }
    PathAndQuery::from_maybe_shared(target).map_err(|_| {
        ApiError::new(Code::InvalidRequest, "The query is too long to be passed on; ask for less at a time.")
    })
}

#[cfg(test)]
mod tests {
    use http::{Method, Version};
    use proptest::prelude::*;

    use super::*;
    use crate::access::target::{Match, find, segments};

    fn rebuilt(method: &Method, target: &str) -> Option<String> {
        let uri: http::Uri = target.parse().ok()?;
        let Match::Operation(operation, params) = find(method, &segments(&uri, Version::HTTP_11).ok()?) else {
            return None;
        };
        Some(build(operation.row().template, &params, &Query::parse(uri.query())).unwrap().to_string())
    }

    #[test]
    fn a_target_is_rebuilt_in_lettas_canonical_form() {
        const AGENT: &str = "agent-123e4567-e89b-42d3-8456-426614174000";
        for (sent, built) in [
            ("/v1/agents", "/v1/agents/".to_owned()),
            ("/v1/agents/?limit=5&tags=a&tags=b%20c", "/v1/agents/?limit=5&tags=a&tags=b+c".into()),
            (&format!("/v1/agents/{AGENT}/"), format!("/v1/agents/{AGENT}")),
            (
                &format!("/v1/agents/{AGENT}/core-memory/blocks/my%20label"),
                format!("/v1/agents/{AGENT}/core-memory/blocks/my%20label"),
            ),
            (
                &format!("/v1/agents/{AGENT}/core-memory/blocks/a,b"),
                format!("/v1/agents/{AGENT}/core-memory/blocks/a%2Cb"),
            ),
        ] {
            assert_eq!(rebuilt(&Method::GET, sent).as_deref(), Some(built.as_str()), "{sent}");
        }
    }

    #[test]
    fn a_query_that_encoding_makes_too_long_is_refused() {
        let query = Query::parse(Some(&format!("name={}", "!".repeat(30_000))));
        assert_eq!(build("/v1/agents/", &Params::default(), &query).unwrap_err().code(), Code::InvalidRequest);
    }

    proptest! {
        #[test]
        fn what_is_sent_leads_to_the_same_decision_again(label in "[a-zA-Z0-9 _.~!$&'()*+,=:@ü-]{1,20}") {
            let target = format!(
                "/v1/agents/agent-123e4567-e89b-42d3-8456-426614174000/core-memory/blocks/{}",
                utf8_percent_encode(&label, RESERVED)
            );
            if let Some(built) = rebuilt(&Method::GET, &target) {
                prop_assert_eq!(rebuilt(&Method::GET, &built), Some(built.clone()));
                prop_assert!(built.ends_with(&utf8_percent_encode(&label, RESERVED).to_string()));
            }
        }
    }
}
