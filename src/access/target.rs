//! Parses a request target into an operation and its parameters, once for every decision that follows.
//!
//! Nothing is normalised: a path that is not in the one form that the official SDKs send is refused, so that no other parser
//! can read it differently. Literal segments win over parameters. A trailing slash makes no difference, because the SDKs
//! disagree about it.

use std::{borrow::Cow, collections::BTreeMap, sync::LazyLock};

use http::{Method, Uri, Version};
use percent_encoding::percent_decode_str;

use super::operations::Operation;
use crate::request::input::pieces;

/// The path is not in canonical form, for this reason.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotCanonical(pub &'static str);

/// What a canonical path leads to.
#[derive(Debug, Eq, PartialEq)]
pub enum Match {
    /// An operation, with its parameters.
    Operation(Operation, Params),
    /// The path exists without this method; it has these.
    MethodNotAllowed(Vec<Method>),
    /// There is no such path.
    NotFound,
}

/// The decoded path parameters, in the order of the template.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Params(Vec<(&'static str, String)>);

impl Params {
    /// One parameter.
    #[must_use]
    pub(crate) fn one(name: &'static str, value: &str) -> Self {
        Self(vec![(name, value.to_owned())])
    }

    /// The parameter of this name in the template, if the template has it.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(present, _)| *present == name).map(|(_, value)| value.as_str())
    }

    /// Whether the template has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All parameters.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

/// Splits a canonical path into its decoded segments.
///
/// # Errors
/// When the target is not in origin-form (RFC 9112, section 3.2.1) or its path is not canonical.
pub fn segments(uri: &Uri, version: Version) -> Result<Vec<Cow<'_, str>>, NotCanonical> {
    // HTTP/2 carries scheme and authority as fields of their own (RFC 9113, section 8.3.1), which end up here.
    if version < Version::HTTP_2 && (uri.scheme().is_some() || uri.authority().is_some()) {
        return Err(NotCanonical("send the path alone, not an absolute URL"));
    }
    let path = uri.path();
    let Some(rest) = path.strip_prefix('/') else {
        return Err(NotCanonical("a path begins with '/'"));
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() {
        return if path == "/" { Ok(Vec::new()) } else { Err(NotCanonical(DOUBLED_SLASH)) };
    }
    let mut segments = Vec::with_capacity(8);
    for segment in pieces(rest, b'/') {
        segments.push(decode_segment(segment)?);
    }
    Ok(segments)
}

fn decode_segment(segment: &str) -> Result<Cow<'_, str>, NotCanonical> {
    match segment {
        "" => return Err(NotCanonical(DOUBLED_SLASH)),
        "." | ".." => return Err(NotCanonical("remove the dot segment")),
        // Most segments have nothing to decode.
        _ if segment.bytes().all(is_literal) => return Ok(Cow::Borrowed(segment)),
        _ => {}
    }
    let bytes = segment.as_bytes();
    for (index, byte) in bytes.iter().enumerate() {
        match byte {
            b'%' => check_escape(bytes.get(index + 1..index + 3))?,
            b';' => return Err(NotCanonical("a semicolon cannot be part of a path")),
            b'\\' => return Err(NotCanonical("a backslash cannot be part of a path")),
            byte if is_literal(*byte) => {}
            _ => return Err(NotCanonical("percent-encode what RFC 3986 does not allow in a path segment")),
        }
    }
    percent_decode_str(segment).decode_utf8().map_err(|_| NotCanonical("encode the path as UTF-8"))
}

const DOUBLED_SLASH: &str = "remove the doubled slash";

/// RFC 3986's pchar, without escapes and the semicolon of matrix parameters.
fn is_literal(byte: u8) -> bool {
    const LITERALS: [bool; 256] = {
        let literals = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,=:@";
        let mut table = [false; 256];
        let mut index = 0;
        while index < literals.len() {
            table[literals[index] as usize] = true;
            index += 1;
        }
        table
    };
    LITERALS[usize::from(byte)]
}

/// An escape must be upper case, as the SDKs write it, and stand for a character that needs one.
fn check_escape(digits: Option<&[u8]>) -> Result<(), NotCanonical> {
    let Some(&[high, low]) = digits else {
        return Err(NotCanonical("complete the percent-encoding"));
    };
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(NotCanonical("write percent-encoding with upper case hexadecimal digits")),
    };
    match value(high)? << 4 | value(low)? {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            Err(NotCanonical("do not percent-encode characters that need no encoding"))
        }
        b'/' | b'\\' => Err(NotCanonical("an encoded slash cannot be part of a path")),
        b';' => Err(NotCanonical("a semicolon cannot be part of a path")),
        b'%' => Err(NotCanonical("do not encode the path twice")),
        0..=0x1f | 0x7f => Err(NotCanonical("a control character cannot be part of a path")),
        _ => Ok(()),
    }
}

/// Finds the operation of a method and a path's segments. `HEAD` finds what `GET` finds.
#[must_use]
pub fn find(method: &Method, segments: &[Cow<'_, str>]) -> Match {
    let mut values = Vec::new();
    let Some(node) = TREE.descend(segments, &mut values) else {
        return Match::NotFound;
    };
    let wanted = if method == Method::HEAD { &Method::GET } else { method };
    match node.operations.iter().find(|(operation, _)| operation.row().method == *wanted) {
        Some((operation, names)) => {
            let values = values.into_iter().map(String::from);
            Match::Operation(*operation, Params(names.iter().copied().zip(values).collect()))
        }
        None => {
            let mut allowed: Vec<Method> = node.operations.iter().map(|(o, _)| o.row().method.clone()).collect();
            if allowed.contains(&Method::GET) {
                allowed.push(Method::HEAD);
            }
            Match::MethodNotAllowed(allowed)
        }
    }
}

fn template_segments(template: &'static str) -> impl Iterator<Item = &'static str> {
    template.split('/').filter(|segment| !segment.is_empty())
}

fn parameter_name(segment: &'static str) -> Option<&'static str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

fn parameter_names(template: &'static str) -> impl Iterator<Item = &'static str> {
    template_segments(template).filter_map(parameter_name)
}

static TREE: LazyLock<Node> = LazyLock::new(|| {
    let mut root = Node::default();
    for operation in Operation::ALL {
        let mut node = &mut root;
        for segment in template_segments(operation.row().template) {
            node = match parameter_name(segment) {
                Some(_) => node.parameter.get_or_insert_default(),
                None => node.literals.entry((segment.len(), segment)).or_default(),
            };
        }
        node.operations.push((*operation, parameter_names(operation.row().template).collect()));
    }
    root
});

#[derive(Default)]
struct Node {
    /// By length and text. There are so few that comparing is faster than hashing, and lengths are compared first.
    literals: BTreeMap<(usize, &'static str), Node>,
    parameter: Option<Box<Node>>,
    /// Each with the names of its parameters.
    operations: Vec<(Operation, Box<[&'static str]>)>,
}

impl Node {
    fn descend<'a>(&'a self, segments: &'a [Cow<'_, str>], values: &mut Vec<&'a str>) -> Option<&'a Self> {
        let Some((segment, rest)) = segments.split_first() else {
            return (!self.operations.is_empty()).then_some(self);
        };
        let literal = self.literals.get(&(segment.len(), &**segment));
        if let Some(found) = literal.and_then(|node| node.descend(rest, values)) {
            return Some(found);
        }
        let depth = values.len();
        values.push(segment);
        let found = self.parameter.as_ref().and_then(|node| node.descend(rest, values));
        if found.is_none() {
            values.truncate(depth);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AGENT: &str = "agent-123e4567-e89b-42d3-8456-426614174000";

    fn operation(method: &Method, path: &str) -> Option<Operation> {
        match find(method, &segments(&path.parse().ok()?, Version::HTTP_11).ok()?) {
            Match::Operation(operation, _) => Some(operation),
            _ => None,
        }
    }

    #[test]
    fn every_template_leads_to_its_own_operation_with_and_without_the_last_slash() {
        for expected in Operation::ALL {
            let row = expected.row();
            let path = template_segments(row.template)
                .fold(String::new(), |path, segment| path + "/" + parameter_name(segment).map_or(segment, |_| "x-1"));
            assert_eq!(operation(&row.method, &path), Some(*expected));
            assert_eq!(operation(&row.method, &format!("{path}/")), Some(*expected));
        }
    }

    #[test]
    fn literal_segments_win_over_parameters() {
        assert_eq!(operation(&Method::GET, "/v1/agents/count"), Some(Operation::CountAgents));
        assert_eq!(operation(&Method::GET, "/v1/runs/active"), Some(Operation::ListActiveRuns));
        let search = "/v1/agents/search".parse().unwrap();
        let search = segments(&search, Version::HTTP_11).unwrap();
        assert_eq!(find(&Method::GET, &search), Match::MethodNotAllowed(vec![Method::POST]));
        assert_eq!(operation(&Method::GET, "/v1/agents/search/messages"), Some(Operation::ListMessages));
    }

    #[test]
    fn a_path_that_is_not_canonical_is_refused() {
        for path in [
            "//v1/agents",
            "/v1//agents",
            "/v1/agents//",
            "//",
            "/v1/./agents",
            "/v1/agents/../blocks",
            "/v1/agents/..",
            "/v1/%61gents",
            "/v1/agents/a%2Fmessages",
            "/v1/agents/a%2fmessages",
            "/v1/agents/a%5Cb",
            "/v1/agents/a\\b",
            "/v1/agents;x=1",
            "/v1/agents/a%3Bb",
            "/v1/agents/%00",
            "/v1/agents/a%252Fb",
            "/v1/agents/%2E%2E",
            "/v1/agents/a%",
            "/v1/agents/a%4",
            "/v1/agents/a%GG",
            "/v1/agents/%FF",
            "/v1/agents/a%3d",
            "/v1/agents/a|b",
            "/v1/agents/%0A",
            "/v1/agents/a%2Db",
        ] {
            if let Ok(uri) = path.parse::<Uri>() {
                assert!(segments(&uri, Version::HTTP_11).is_err(), "{path} was accepted");
            }
        }
        assert!(segments(&"http://x/v1/agents".parse().unwrap(), Version::HTTP_11).is_err());
        assert!(segments(&"*".parse().unwrap(), Version::HTTP_11).is_err());
    }

    #[test]
    fn what_the_sdks_send_is_accepted() {
        for (path, last) in [
            (format!("/v1/agents/{AGENT}"), AGENT),
            ("/v1/client-side-access-tokens/ck-let-abc%3D%3D".into(), "ck-let-abc=="),
            ("/v1/client-side-access-tokens/ck-let-abc==".into(), "ck-let-abc=="),
            ("/v1/templates/my%20template%3Alatest".into(), "my template:latest"),
            ("/v1/agents/b%C3%BCro".into(), "büro"),
        ] {
            assert_eq!(segments(&path.parse().unwrap(), Version::HTTP_11).unwrap().last().unwrap(), last);
        }
    }

    proptest! {
        #[test]
        fn an_accepted_path_has_one_spelling(path in "(/[a-zA-Z0-9%._~!$&'()*+,=:@|;-]{0,8}){1,5}") {
            if let Ok(uri) = path.parse::<Uri>() && let Ok(found) = segments(&uri, Version::HTTP_11) {
                prop_assert!(found.iter().all(|s| !s.is_empty() && !s.contains(['/', '\\', ';', '%']) && s != ".."));
                let literal = path.trim_matches('/').split('/').zip(&found);
                prop_assert!(literal.into_iter().all(|(sent, decoded)| sent.contains('%') || sent == decoded));
            }
        }
    }
}
