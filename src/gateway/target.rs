//! The target of the request to the upstream: the operation's path template, filled with the values that the guard
//! checked.

use std::sync::LazyLock;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    access::{Operation, Params},
    error::{ApiError, Code},
    request::input::Query,
};

/// Everything except RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The longest target that is sent, in bytes.
const MAX_BYTES: usize = 65_534;

/// The path templates of all operations, in the order of [`Operation::ALL`].
static TEMPLATES: LazyLock<Box<[Template]>> =
    LazyLock::new(|| Operation::ALL.iter().map(|operation| Template::parse(operation.row().template)).collect());

/// A path template, split at its parameters.
struct Template {
    /// The name of each parameter, after the literal text before it.
    parameters: Box<[(&'static str, &'static str)]>,
    /// The literal text after the last parameter.
    end: &'static str,
}

impl Template {
    fn parse(template: &'static str) -> Self {
        let (mut parameters, mut end) = (Vec::new(), template);
        while let Some((literal, (name, rest))) =
            end.split_once('{').and_then(|(literal, rest)| Some((literal, rest.split_once('}')?)))
        {
            parameters.push((literal, name));
            end = rest;
        }
        Self { parameters: parameters.into(), end }
    }
}

/// Builds the origin-form target of an operation, in Letta's canonical form.
///
/// # Errors
/// 400 when it is too long to be sent: encoding can make it longer than the target that was received.
pub fn build(operation: Operation, params: &Params, query: &Query) -> Result<String, ApiError> {
    let template = &TEMPLATES[operation as usize];
    let mut target = String::with_capacity(128);
    for (literal, name) in &template.parameters {
        let value = params.find(name).ok_or_else(|| ApiError::internal("a path parameter is missing"))?;
        target.push_str(literal);
        push(&mut target, value, |target, value| target.extend(utf8_percent_encode(value, RESERVED)));
    }
    target.push_str(template.end);
    let mut separator = '?';
    for (name, value) in query.pairs() {
        for (before, text) in [(separator, name), ('=', value)] {
            target.push(before);
            push(&mut target, text, |target, text| target.extend(form_urlencoded::byte_serialize(text.as_bytes())));
        }
        separator = '&';
    }
    if target.len() > MAX_BYTES {
        let sentence = "The query is too long to be forwarded; ask for less at a time.";
        return Err(ApiError::new(Code::InvalidRequest, sentence));
    }
    Ok(target)
}

/// Appends a text, encoded if necessary. Ids never need it.
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
        Some(build(operation, &params, &Query::parse(uri.query())).unwrap())
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
        assert_eq!(build(Operation::ListAgents, &Params::default(), &query).unwrap_err().code(), Code::InvalidRequest);
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
