//! The `hostname` of a token, and the origin that it stands for.

use gatelet::model::Hostname;
use http::{HeaderValue, Uri};
use url::Url;

pub(crate) fn is_accepted(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let Ok(hostname) = text.parse::<Hostname>() else { return false };
    let origin = hostname.origin();
    assert_eq!(hostname.as_sent(), text);

    // The origin that browsers compute (URL standard, section 4.7) of a URL that is nothing but an origin.
    let url = Url::parse(text).expect("a host name is a URL");
    assert!(url.origin().is_tuple() && url.origin().ascii_serialization() == origin, "{origin}");
    assert_eq!((url.path(), url.query(), url.fragment()), ("/", None, None));
    assert_eq!((url.username(), url.password()), ("", None));

    // Its serialization is its own, and can be compared with a header.
    let again: Hostname = origin.parse().expect("an origin is a host name");
    assert_eq!(again.origin(), origin);
    assert!(origin.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()), "{origin}");
    assert!(HeaderValue::from_str(origin).is_ok());

    // A parser of RFC 3986, which allows fewer hosts, reads the same scheme, host and port from it.
    if let Ok(uri) = origin.parse::<Uri>() {
        assert_eq!((uri.scheme_str(), uri.host()), (Some(url.scheme()), url.host_str()), "{origin}");
        assert_eq!(uri.port_u16(), url.port(), "{origin}");
    }
    let default_port = if url.scheme() == "https" { ":443" } else { ":80" };
    assert!(!origin.ends_with(default_port), "{origin}");
    true
}
