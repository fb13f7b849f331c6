//! The target that the upstream sees: the operation's template, filled with the values on which the decision was made.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    access::Params,
    error::{ApiError, Code},
    request::input::Query,
};

/// All but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The longest target that is sent.
const MOST_BYTES: usize = 65_534;

/// Builds an origin-form target in Letta's canonical spelling.
///
/// # Errors
/// 400 when it is longer than is sent, which what was received need not be: encoding makes it longer.
pub fn build(template: &'static str, params: &Params, query: &Query) -> Result<String, ApiError> {
    let mut target = String::with_capacity(128);
    for (literal, name) in parts(template) {
        target.push_str(literal);
        push(&mut target, params.find(name).unwrap_or_default(), |target, value| {
            target.extend(utf8_percent_encode(value, RESERVED));
        });
    }
    let mut separator = '?';
    for (name, value) in query.pairs() {
        for (before, text) in [(separator, name), ('=', value)] {
            target.push(before);
            push(&mut target, text, |target, text| target.extend(form_urlencoded::byte_serialize(text.as_bytes())));
        }
        separator = '&';
    }
    if target.len() > MOST_BYTES {
        let sentence = "The query is too long to be passed on; ask for less at a time.";
        return Err(ApiError::new(Code::InvalidRequest, sentence));
    }
    Ok(target)
}

/// The literals of a template, each with the name of the parameter that follows it; the last with none.
fn parts(template: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut rest = Some(template);
    std::iter::from_fn(move || {
        let template = rest.take()?;
        let parameter = template.split_once('{').and_then(|(literal, after)| Some((literal, after.split_once('}')?)));
        let Some((literal, (name, after))) = parameter else { return Some((template, "")) };
        rest = Some(after);
        Some((literal, name))
    })
}

/// Adds a text, encoded if need be: ids need it never.
fn push(target: &mut String, text: &str, encode: impl FnOnce(&mut String, &str)) {
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')) {
        target.push_str(text);
    } else {
        encode(target, text);
    }
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
        Some(build(operation.row().template, &params, &Query::parse(uri.query())).unwrap())
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
