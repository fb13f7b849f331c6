//! The browser origin a client token is bound to.
//!
//! It is checked strictly when a token is issued: only what round-trips is stored, so that the check on each request is a
//! comparison of bytes with the ASCII serialization of an origin (HTML standard, section 7.1.1), the form in which every
//! browser sends `Origin` (fetch standard, section 3.2).

use std::str::FromStr;

use url::{Host, Url};

const NOT_ONE_HOST: &str = "must name one host, without '%', '*' or white space";

/// A `hostname` as Letta's token API accepts it, with the origin that it means.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hostname {
    as_sent: Box<str>,
    origin: Box<str>,
}

impl Hostname {
    /// The text that was sent; responses echo it.
    #[must_use]
    pub fn as_sent(&self) -> &str {
        &self.as_sent
    }

    /// The ASCII serialization of the origin, such as `https://app.example:8443`.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }
}

impl FromStr for Hostname {
    type Err = &'static str;

    /// Accepts an absolute http or https URL that is nothing but an origin.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lowered = text.get(..8).unwrap_or(text).to_ascii_lowercase();
        let authority = if lowered.starts_with("https://") {
            &text[8..]
        } else if lowered.starts_with("http://") {
            &text[7..]
        } else {
            return Err("must be an absolute URL beginning with http:// or https://");
        };
        if authority.contains(['/', '?', '#', '\\']) {
            return Err("must be an origin: no path, no query, no fragment, and no '/' at the end");
        }
        if authority.contains('@') {
            return Err("must not contain user information");
        }
        if authority.contains(|c: char| c == '%' || c.is_whitespace() || c.is_control()) {
            return Err(NOT_ONE_HOST);
        }
        let url = Url::parse(text).map_err(|_| "must be a valid URL")?;
        let (host_text, port_text) = split_port(authority);
        if port_text.is_some_and(|port| port.is_empty() || port.starts_with('0')) {
            return Err("must name a port from 1 to 65535, without leading zeros, or none");
        }
        match url.host() {
            // Checked in the host as browsers compute it: a full-width asterisk becomes an ASCII one.
            Some(Host::Domain(domain)) if domain.contains('*') => return Err(NOT_ONE_HOST),
            Some(Host::Domain(domain)) if domain.ends_with('.') || domain.split('.').any(str::is_empty) => {
                return Err("must not have an empty label or a dot at the end of its host");
            }
            // Short, octal and hexadecimal forms of an address mean other hosts to other parsers.
            Some(Host::Ipv4(address)) if address.to_string() != host_text => {
                return Err("must write an IPv4 address as four decimal numbers");
            }
            Some(_) => {}
            None => return Err("must name a host"),
        }
        let origin = url.origin().ascii_serialization();
        Ok(Self { as_sent: text.into(), origin: origin.into() })
    }
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => (&authority[..colon], Some(&authority[colon + 1..])),
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hostname_is_stored_as_the_serialization_a_browser_sends() {
        for (sent, origin) in [
            ("http://localhost:3000", "http://localhost:3000"),
            ("https://app.example", "https://app.example"),
            ("HTTPS://App.Example", "https://app.example"),
            ("https://app.example:443", "https://app.example"),
            ("http://app.example:443", "http://app.example:443"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://[0:0:0:0:0:0:0:1]", "http://[::1]"),
        ] {
            let hostname: Hostname = sent.parse().unwrap();
            assert_eq!((hostname.as_sent(), hostname.origin()), (sent, origin));
        }
    }

    #[test]
    fn what_is_not_exactly_an_origin_is_refused() {
        for text in [
            "",
            "app.example",
            "ftp://app.example",
            "https://",
            "https:///",
            "https://app.example/",
            "//app.example",
            "https://app.example/path",
            "https://app.example?q",
            "https://app.example#f",
            "https://user@app.example",
            "https://user:pw@app.example",
            "https://app.example.",
            "https://app..example",
            "https://app.example:",
            "https://app.example:0443",
            "https://app.example:99999",
            "https://app.example:0",
            "https://*.example",
            "https://１＊６２７",
            "https://app%2eexample",
            "https://app.example\t",
            " https://app.example",
            "https://app.example\n",
            "https://127.1",
            "https://0x7f.0.0.1",
            "https://2130706433",
            "https://app.example\\@evil.example",
            "https:app.example",
            "https:\\\\app.example",
            "null",
            "https://[::1",
            "https://a b.example",
        ] {
            assert!(text.parse::<Hostname>().is_err(), "{text:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_origin_is_its_own_serialization(text in "https?://[a-zA-Z0-9.:\\[\\]@/%-]{0,40}") {
            if let Ok(hostname) = text.parse::<Hostname>() {
                let again: Hostname = hostname.origin().parse().unwrap();
                prop_assert_eq!(again.origin(), hostname.origin());
                prop_assert!(hostname.origin().is_ascii());
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
            let _ = text.parse::<Hostname>();
            let _ = format!("https://{text}").parse::<Hostname>();
        }
    }
}
