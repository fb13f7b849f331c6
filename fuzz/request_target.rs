//! Request targets: the bytes between a method and `HTTP/1.1`.

use std::{borrow::Cow, sync::LazyLock};

use gatelet::{
    access::{
        Operation,
        target::{Match, find, segments},
    },
    gateway::target::build,
    request::input::Query,
};
use http::{Method, Uri, Version};
use url::Url;

const METHODS: &[Method] =
    &[Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

pub(crate) fn is_accepted(bytes: &[u8]) -> bool {
    // As hyper reads it.
    let Ok(uri) = Uri::try_from(bytes) else { return false };
    let Ok(decoded) = segments(&uri, Version::HTTP_11) else { return false };
    let path = uri.path();
    assert!(uri.scheme().is_none() && uri.authority().is_none());
    for segment in &decoded {
        let forbidden = |c: char| matches!(c, '/' | '\\' | ';' | '%') || c.is_ascii_control();
        assert!(!matches!(&**segment, "" | "." | "..") && !segment.contains(forbidden), "{segment:?}");
    }
    others_read_the_same(path, &decoded);
    if path != "/" {
        let toggled = path.strip_suffix('/').map_or_else(|| format!("{path}/"), str::to_owned);
        let toggled: Uri = toggled.parse().expect("a canonical path is a URI");
        assert_eq!(segments(&toggled, Version::HTTP_11).as_ref(), Ok(&decoded), "with one slash more or less");
    }
    let (operations, query) = (expected(&decoded), Query::parse(uri.query()));
    for method in METHODS {
        let wanted = if method == Method::HEAD { &Method::GET } else { method };
        let expected = operations.iter().find(|operation| operation.row().method == *wanted).copied();
        decides_once(method, &decoded, &query, expected);
    }
    true
}

/// A parser of the WHATWG's URL standard, which normalises what it can, finds nothing to normalise; HTTP/2 carries the
/// same path beside an authority, and HTTP/1.1 must not.
fn others_read_the_same(path: &str, decoded: &[Cow<'_, str>]) {
    let absolute = format!("http://letta.example{path}");
    let url = Url::parse(&absolute).expect("a canonical path is part of a URL");
    assert_eq!((url.path(), url.query(), url.fragment()), (path, None, None));
    let uri: Uri = absolute.parse().expect("a canonical path is part of a URI");
    assert_eq!(segments(&uri, Version::HTTP_2).as_deref(), Ok(decoded));
    assert!(segments(&uri, Version::HTTP_11).is_err());
}

/// The operation is the one that the table's templates name, and what the gateway would send upstream leads to the same
/// operation with the same parameters.
fn decides_once(method: &Method, decoded: &[Cow<'_, str>], query: &Query, expected: Option<Operation>) {
    let found = find(method, decoded);
    let Match::Operation(operation, params) = &found else {
        assert_eq!(expected, None, "{method} {decoded:?} led to {found:?}");
        return;
    };
    assert_eq!(expected, Some(*operation), "{method} {decoded:?}");
    let sent = build(*operation, params, query).expect("what was accepted can be sent upstream");
    let uri: Uri = sent.parse().expect("what is sent upstream is a URI");
    let again = segments(&uri, Version::HTTP_11).expect("what is sent upstream is canonical");
    assert_eq!(again, decoded, "{sent}");
    assert_eq!(find(method, &again), found, "{sent}");
    assert!(Query::parse(uri.query()).pairs().eq(query.pairs()), "{sent}");
}

/// The slow way to find the operations of a path: of all templates that match, those with a literal where the others
/// first have a parameter.
fn expected(decoded: &[Cow<'_, str>]) -> Vec<Operation> {
    static TEMPLATES: LazyLock<Vec<(Operation, Vec<&str>)>> = LazyLock::new(|| {
        let segments = |operation: Operation| operation.row().template.split('/').filter(|s| !s.is_empty()).collect();
        Operation::ALL.iter().map(|operation| (*operation, segments(*operation))).collect()
    });
    let is_literal = |segment: &&str| !segment.starts_with('{');
    let fits = |template: &[&str]| {
        let same = |(template, given): (&&str, &Cow<'_, str>)| !is_literal(template) || *template == *given;
        template.len() == decoded.len() && template.iter().zip(decoded).all(same)
    };
    let matching: Vec<_> = TEMPLATES.iter().filter(|(_, template)| fits(template)).collect();
    let literals = |template: &[&str]| -> Vec<bool> { template.iter().map(is_literal).collect() };
    let best = matching.iter().map(|(_, template)| literals(template)).max();
    matching.iter().filter(|(_, t)| Some(literals(t)) == best).map(|(operation, _)| *operation).collect()
}
