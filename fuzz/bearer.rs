//! `Authorization` headers, one a line, and the tokens in them.

use gatelet::{
    access::authenticator::Bearer,
    credentials::{Fingerprint, InvalidToken, PlainApiKey, api_key, client_token},
    error::Code,
};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};

use crate::installation::{INSTALLATION, KEY_ID};

pub(crate) fn is_accepted(bytes: &[u8]) -> bool {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        // As hyper reads it.
        let Ok(value) = HeaderValue::from_bytes(line.trim_ascii()) else { return false };
        headers.append(AUTHORIZATION, value);
    }
    let (is_bearer, credentials) = match parts(&headers) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => (true, Some(rest.trim_matches(' '))),
        Some(_) => (false, None),
        None => (true, None),
    };
    if let Some(text) = credentials {
        verifies_only_when_minted(text);
        assert_eq!(PlainApiKey::parse(text).is_ok(), api_key::is_well_formed(text));
    }
    let installation = &*INSTALLATION;
    let (identified, fingerprint) = installation.identify(&headers);
    match identified {
        Ok(Bearer::ClientToken(token)) => {
            assert_eq!(credentials, Some(installation.live.as_str()));
            assert_eq!((token.id.as_u128(), fingerprint), (1, Some(Fingerprint::of(&installation.live))));
            true
        }
        Ok(Bearer::ApiKey(key)) => {
            assert_eq!(credentials, Some(installation.api_key));
            assert_eq!((&*key.id, fingerprint), (KEY_ID, Some(Fingerprint::of(installation.api_key))));
            true
        }
        Err(error) => {
            let expected = match credentials {
                _ if !is_bearer => Code::BearerMissing,
                Some(text) if text == installation.revoked => Code::TokenRevoked,
                Some(text) if text == installation.expired => Code::TokenExpired,
                Some(text) => {
                    assert!(text != installation.live && text != installation.api_key, "a good bearer was refused");
                    assert!(text.len() < 16 || !error.message().contains(text), "a refusal repeats the bearer");
                    Code::BearerInvalid
                }
                None => Code::BearerInvalid,
            };
            assert_eq!(error.code(), expected);
            false
        }
    }
}

/// Only the very texts that were signed here verify, whatever is made of them.
fn verifies_only_when_minted(text: &str) {
    let installation = &*INSTALLATION;
    let minted = [&installation.live, &installation.revoked, &installation.expired].into_iter().any(|t| t == text);
    match installation.keyring().verify(text) {
        Ok(token) => {
            assert!(minted, "{text} was never minted");
            assert!(client_token::is_well_formed(text));
            assert_eq!(token.grants("agent-2"), None);
        }
        Err(problem) => {
            assert!(!minted, "{text} was minted: {problem}");
            // One with our own header is known by its signature, whatever its form.
            let is_well_formed = client_token::is_well_formed(text);
            assert!(if is_well_formed {
                problem != InvalidToken::Malformed
            } else {
                problem != InvalidToken::UnknownKey
            });
        }
    }
}

/// The only header, as text: its scheme and what stands behind it (RFC 6750, section 2.1).
fn parts(headers: &HeaderMap) -> Option<(&str, &str)> {
    let value = headers.get(AUTHORIZATION).filter(|_| headers.len() == 1)?;
    let text = str::from_utf8(value.as_bytes()).ok()?;
    Some(text.split_once(' ').unwrap_or((text, "")))
}
