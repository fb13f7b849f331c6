//! The console: one page, and the files that it consists of. It holds no data; what it shows it asks the control API for,
//! with the key that its user has.

use std::{borrow::Cow, fmt::Write as _};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::request::body::Body;

/// The files of the page. Debug builds read them from the source tree.
#[derive(RustEmbed)]
#[folder = "src/console/web"]
struct Files;

/// The file at the root of the console.
const INDEX: &str = "index.html";

/// What the page may do: load its own files and call its own server, nothing else (Content Security Policy level 3).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    // Asks each time whether the file has changed.
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
];

/// A file of the page, by its path below `/_gatelet/`, which is empty for the page itself; 304 if the client has it.
/// `None` if there is no such file.
pub(crate) fn respond(path: &str, headers: &HeaderMap) -> Option<Response<Body>> {
    let path = if path.is_empty() { INDEX } else { path };
    let (file, media_type) = Files::get(path).zip(media_type(path))?;
    let tag = entity_tag(&file);
    let is_known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = Response::new(if is_known { Body::Empty } else { Body::Whole(owned(file)) });
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let sent = response.headers_mut();
    sent.extend(HEADERS);
    sent.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        sent.insert(header::ETAG, tag);
    }
    Some(response)
}

fn owned(file: EmbeddedFile) -> Bytes {
    match file.data {
        Cow::Borrowed(data) => Bytes::from_static(data),
        Cow::Owned(data) => data.into(),
    }
}

/// The first half of the file's SHA-256, in quotes (RFC 9110, section 8.8.3).
fn entity_tag(file: &EmbeddedFile) -> String {
    let mut tag = String::from("\"");
    for byte in &file.metadata.sha256_hash()[..16] {
        let _ = write!(tag, "{byte:02x}");
    }
    tag + "\""
}

fn media_type(path: &str) -> Option<&'static str> {
    Some(match path.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "txt" => "text/plain; charset=utf-8",
        _ => return None,
    })
}
