//! Who may open a WebSocket.
//!
//! A page cannot set headers on a handshake, so a client token may also travel in the query or as a subprotocol. Nor can a
//! page read a refused handshake: for a token that this server issued, and only from its own origin, the socket is opened
//! and closed at once with a code that the page can read. Everybody else gets a refusal of HTTP.

use std::{borrow::Cow, sync::Arc};

use http::{HeaderMap, header, request::Parts};

use super::{
    authenticator::{BEARER, bearer},
    denial::Denial,
    guard::{Guard, ORIGIN},
    origin,
    permit::{Bearer, Caller, Permit},
    project::RequestProject,
    quota::ConcurrencyPermit,
    request_context::RequestContext,
};
use crate::{
    credentials::client_token,
    error::{ApiError, Code},
    request::headers::BARE_PASSWORD,
};

/// The subprotocol next to which a client token may travel. The token itself is never sent back.
pub(crate) const SUBPROTOCOL: &str = "gatelet.v1";

/// What begins every API key.
const API_KEY: &str = "sk-let-";

/// What becomes of a handshake.
#[derive(Debug)]
pub(crate) enum SocketAdmission {
    /// The socket is opened.
    Open {
        /// Whose it is.
        permit: Permit,
        /// A client token's claim on it.
        socket_permit: Option<ConcurrencyPermit>,
    },
    /// The socket is opened and closed at once, so that the page can read why.
    Close(Code),
}

/// The one credential of a handshake.
#[derive(Debug, Eq, PartialEq)]
enum Credential<'a> {
    /// In a header.
    Header,
    /// In the query, or as a subprotocol.
    Elsewhere(Cow<'a, str>),
}

impl Guard {
    /// Decides about a handshake.
    ///
    /// # Errors
    /// The refusal for those to whom no socket is opened.
    pub(crate) async fn admit_socket(
        &self,
        head: &Parts,
        context: &mut RequestContext,
    ) -> Result<SocketAdmission, ApiError> {
        let text = match Credential::of(head)? {
            Credential::Elsewhere(text) if text.starts_with(API_KEY) => return Err(Denial::ApiKeyInBrowser.into()),
            Credential::Elsewhere(text) if text.starts_with(client_token::PREFIX) => text,
            Credential::Elsewhere(_) => return Err(Denial::BearerInvalid { mistyped_key: false }.into()),
            Credential::Header => match bearer(&head.headers)? {
                text if text.starts_with(client_token::PREFIX) => text.into(),
                _ => return self.admit_key_socket(head, context).await,
            },
        };
        let token = self.authenticator.genuine_token(&text, context).await?;
        origin::check_handshake(&token.origin, token.hostname.as_deref(), &head.headers, self.origin_missing)?;
        if let Err(refusal) = self.authenticator.keep_live(BEARER, &token, context) {
            return Ok(SocketAdmission::Close(refusal.code()));
        }
        let is_within = self.quotas.count(&token).is_none_or(|allowance| allowance.check().is_ok());
        match self.socket_quotas.open(&token) {
            Ok(socket_permit) if is_within => {
                let permit = Permit::new(Caller::ClientToken(Arc::clone(&token)));
                Ok(SocketAdmission::Open { permit, socket_permit })
            }
            Ok(_) | Err(_) => Ok(SocketAdmission::Close(Code::RateLimited)),
        }
    }

    async fn admit_key_socket(&self, head: &Parts, context: &mut RequestContext) -> Result<SocketAdmission, ApiError> {
        let Bearer::ApiKey(key) = self.authenticator.identify(&head.headers, context).await? else {
            return Err(ApiError::internal("a client token was taken for an API key"));
        };
        let RequestProject { project, named_by } = RequestProject::of(&key, &head.headers)?;
        if head.headers.contains_key(header::ORIGIN) && !self.api_keys_from_browsers {
            return Err(context.refuse(ORIGIN, || "an API key, from a browser".into(), Denial::ApiKeyInBrowser));
        }
        let permit = Permit::new(Caller::ApiKey { key, project, named_by });
        Ok(SocketAdmission::Open { permit, socket_permit: None })
    }
}

/// Whether a handshake offers the subprotocol next to which a token may travel.
pub(crate) fn offers_subprotocol(headers: &HeaderMap) -> bool {
    offered(headers).any(|protocol| protocol == SUBPROTOCOL)
}

/// The client token of a handshake, if it does not travel in a header.
pub(crate) fn token_elsewhere(head: &Parts) -> Option<String> {
    match Credential::of(head) {
        Ok(Credential::Elsewhere(text)) if text.starts_with(client_token::PREFIX) => Some(text.into_owned()),
        _ => None,
    }
}

impl<'a> Credential<'a> {
    /// The credential of a handshake.
    ///
    /// # Errors
    /// When there is none, or more than one.
    fn of(head: &'a Parts) -> Result<Self, Denial> {
        let count = |name| head.headers.get_all(name).iter().count();
        let in_headers = count(&header::AUTHORIZATION) + count(&BARE_PASSWORD);
        let query = head.uri.query().unwrap_or_default().as_bytes();
        let mut in_query = form_urlencoded::parse(query).filter(|(name, _)| name == "token").map(|(_, value)| value);
        let mut in_protocols = offered(&head.headers)
            .filter(|protocol| protocol.starts_with(client_token::PREFIX) || protocol.starts_with(API_KEY));
        let (query, protocol) = (in_query.next(), in_protocols.next());
        let is_one = in_headers + usize::from(query.is_some()) + usize::from(protocol.is_some()) <= 1
            && in_query.next().is_none()
            && in_protocols.next().is_none();
        if !is_one {
            return Err(Denial::CredentialAmbiguous);
        }
        match (query, protocol) {
            (Some(text), _) => Ok(Self::Elsewhere(text)),
            // Without the other protocol nothing could be accepted but the token itself.
            (_, Some(text)) if text.starts_with(client_token::PREFIX) && !offers_subprotocol(&head.headers) => {
                Err(Denial::CredentialAmbiguous)
            }
            (_, Some(text)) => Ok(Self::Elsewhere(text.into())),
            (None, None) if in_headers > 0 => Ok(Self::Header),
            (None, None) => Err(Denial::BearerMissing),
        }
    }
}

/// The subprotocols that a handshake offers.
fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn credential(target: &str, headers: &[(&str, &str)]) -> Result<String, Denial> {
        let mut request = Request::get(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        Credential::of(&head).map(|credential| match credential {
            Credential::Header => "header".into(),
            Credential::Elsewhere(text) => text.into(),
        })
    }

    #[test]
    fn a_handshake_has_exactly_one_credential() {
        const PROTOCOL: &str = "sec-websocket-protocol";
        for (target, headers, expected) in [
            ("/ws", vec![("authorization", "Bearer ck-let-a")], Ok("header")),
            ("/ws", vec![("x-bare-password", "password sk-let-a")], Ok("header")),
            ("/ws?token=ck-let-a", vec![], Ok("ck-let-a")),
            ("/ws?x=1&t%6fken=ck-let%2Da&y", vec![], Ok("ck-let-a")),
            ("/ws", vec![(PROTOCOL, "gatelet.v1, ck-let-a")], Ok("ck-let-a")),
            ("/ws", vec![(PROTOCOL, "ck-let-a"), (PROTOCOL, "gatelet.v1")], Ok("ck-let-a")),
            ("/ws", vec![(PROTOCOL, "sk-let-a")], Ok("sk-let-a")),
            ("/ws", vec![], Err(Denial::BearerMissing)),
            ("/ws", vec![(PROTOCOL, "gatelet.v1")], Err(Denial::BearerMissing)),
            ("/ws", vec![(PROTOCOL, "ck-let-a")], Err(Denial::CredentialAmbiguous)),
            ("/ws", vec![(PROTOCOL, "gatelet.v1, ck-let-a, ck-let-a")], Err(Denial::CredentialAmbiguous)),
            ("/ws?token=ck-let-a&token=ck-let-a", vec![], Err(Denial::CredentialAmbiguous)),
            ("/ws?token=", vec![("authorization", "Bearer ck-let-a")], Err(Denial::CredentialAmbiguous)),
            ("/ws?token=ck-let-a", vec![("x-bare-password", "password sk")], Err(Denial::CredentialAmbiguous)),
            ("/ws?token=ck-let-a", vec![(PROTOCOL, "gatelet.v1, ck-let-a")], Err(Denial::CredentialAmbiguous)),
            (
                "/ws",
                vec![("authorization", "Bearer ck-let-a"), (PROTOCOL, "gatelet.v1, ck-let-a")],
                Err(Denial::CredentialAmbiguous),
            ),
            (
                "/ws",
                vec![("authorization", "Bearer a"), ("authorization", "Bearer a")],
                Err(Denial::CredentialAmbiguous),
            ),
        ] {
            assert_eq!(credential(target, &headers), expected.map(str::to_owned), "{target} {headers:?}");
        }
    }
}
