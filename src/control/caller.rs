//! Who may call the control API, and from where.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{FromRequestParts, RawPathParams, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, Uri, header, request::Parts};

use super::{ControlState, error::ControlError};
use crate::{
    access::{Bearer, RequestContext},
    credentials::sha256,
    error::{ApiError, Code},
    namespaces::{self, DEFAULT, Found, Gone, Namespace},
};

/// Who calls.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Caller {
    /// The holder of an API key of the server, not limited to a project.
    Instance,
    /// The holder of the key of this namespace.
    Namespace(Box<str>),
}

/// The namespace that the path names, which the caller may control.
pub(crate) struct Ns(pub(crate) Arc<Namespace>);

impl Caller {
    /// Checks that the caller may do what concerns all namespaces.
    ///
    /// # Errors
    /// 403 for the key of a namespace.
    pub(crate) fn check_instance(&self) -> Result<(), ApiError> {
        match self {
            Self::Instance => Ok(()),
            Self::Namespace(name) => Err(not_allowed(format!(
                "This is the key of the namespace {name}, which reaches only /_gatelet/v1/ns/{name}; use an API key of the \
                 server."
            ))),
        }
    }
}

impl Caller {
    /// The namespace that a path names, if the caller may control it; `-` is the caller's own.
    ///
    /// # Errors
    /// 403 for the key of another namespace.
    pub(super) fn reach<'a>(&'a self, named: &'a str) -> Result<&'a str, ApiError> {
        match (self, named) {
            (Self::Namespace(own), "-") => Ok(own),
            (Self::Instance, "-") => Ok(DEFAULT),
            (Self::Namespace(own), name) if **own != *name => Err(not_allowed(format!(
                "This is the key of the namespace {own}, and the path names another; use an API key of the server."
            ))),
            (_, name) => Ok(name),
        }
    }
}

impl FromRequestParts<Arc<ControlState>> for Caller {
    type Rejection = ControlError;

    async fn from_request_parts(head: &mut Parts, state: &Arc<ControlState>) -> Result<Self, ControlError> {
        let bearer = crate::access::bearer(&head.headers)?;
        if bearer.starts_with("ck-let-") {
            return Err(not_allowed("Client tokens cannot use the control API; send an API key.").into());
        }
        match state.directory.by_key_hash(&sha256(bearer.as_bytes())) {
            Found::Namespace(namespace) => return Ok(Self::Namespace(namespace.name().into())),
            Found::Gone(why) => return Err(gone(why).into()),
            Found::Unknown => {}
        }
        let app = state.directory.default().app();
        match app.guard.authenticator.identify(&head.headers, &mut RequestContext::default()).await? {
            Bearer::ApiKey(key) if key.project.is_none() => Ok(Self::Instance),
            Bearer::ApiKey(_) => Err(not_allowed(
                "This API key is limited to a project, and the control API concerns all of them; use a key without one.",
            )
            .into()),
            Bearer::ClientToken(_) => {
                Err(not_allowed("Client tokens cannot use the control API; send an API key.").into())
            }
        }
    }
}

impl FromRequestParts<Arc<ControlState>> for Ns {
    type Rejection = ControlError;

    async fn from_request_parts(head: &mut Parts, state: &Arc<ControlState>) -> Result<Self, ControlError> {
        let caller = Caller::from_request_parts(head, state).await?;
        let params = RawPathParams::from_request_parts(head, state).await.map_err(ApiError::internal)?;
        let named = params.iter().find(|(name, _)| *name == "ns").map_or("", |(_, value)| value).to_owned();
        let name = caller.reach(&named)?;
        state.directory.find(name).map(Self).ok_or_else(|| namespaces::not_found(name).into())
    }
}

/// The 401 for a bearer whose namespace is gone.
pub(super) fn gone(why: Gone) -> ApiError {
    let sentence = match why {
        Gone::Deleted => "The namespace of this credential was deleted; create it again, and take its new credentials.",
        Gone::Idle => {
            "The namespace of this credential was deleted because it was not used for longer than its idle_ttl; create it \
             again, with a longer one."
        }
    };
    ApiError::new(Code::BearerInvalid, sentence).without_retry()
}

fn not_allowed(sentence: impl Into<std::borrow::Cow<'static, str>>) -> ApiError {
    ApiError::new(Code::ControlNotAllowed, sentence)
}

/// Refuses requests to another host's name and from pages of another origin, before anything else is looked at.
pub(super) async fn check_place(State(state): State<Arc<ControlState>>, request: Request, next: Next) -> Response {
    match check_host(&state.settings.hosts, request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => ControlError(refusal).into_response(),
    }
}

/// A name that resolves to this machine may be an attacker's (DNS rebinding), and the browser would treat its page as of
/// the same origin. So `Host` must be an IP address, a loopback name or one that the operator named, and `Origin`, which
/// browsers send with every request that could change something, must be this server's own.
fn check_host(hosts: &[String], uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
    let authority = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => {
            let mut sent = headers.get_all(header::HOST).iter();
            let host = sent.next().filter(|_| sent.next().is_none()).and_then(|host| host.to_str().ok());
            host.ok_or_else(|| not_allowed("Send one Host header."))?
        }
    };
    let host = host_of(authority);
    let is_known =
        host.parse::<IpAddr>().is_ok() || host == "localhost" || host.ends_with(".localhost") || hosts.contains(&host);
    if !is_known {
        return Err(not_allowed(
            "The control API responds only to loopback names, IP addresses and the names in control.hosts; add this name \
             there if it is yours.",
        ));
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let own = format!("http://{}", authority.to_ascii_lowercase());
    if origins.any(|origin| !origin.as_bytes().eq_ignore_ascii_case(own.as_bytes())) {
        return Err(not_allowed(
            "Pages of other origins cannot use the control API; call it from a test or a back end.",
        ));
    }
    Ok(())
}

/// The host of an authority, in lower case and without port and brackets.
fn host_of(authority: &str) -> String {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn only_this_servers_own_names_and_pages_reach_the_control_api() {
        let hosts = ["gatelet.internal".to_owned()];
        let decide = |host: &str, origin: Option<&str>| {
            let pairs = [(header::HOST, Some(host)), (header::ORIGIN, origin)];
            let headers: HeaderMap = pairs
                .into_iter()
                .filter_map(|(name, value): (HeaderName, _)| Some((name, HeaderValue::from_str(value?).unwrap())))
                .collect();
            check_host(&hosts, &Uri::from_static("/_gatelet/v1"), &headers).is_ok()
        };
        for (host, origin, expected) in [
            ("127.0.0.1:8283", None, true),
            ("localhost:8283", Some("http://localhost:8283"), true),
            ("LOCALHOST:8283", Some("http://localhost:8283"), true),
            ("[::1]:8283", Some("http://[::1]:8283"), true),
            ("192.168.1.4", None, true),
            ("a.localhost", None, true),
            ("gatelet.internal:80", None, true),
            ("evil.example", None, false),
            ("127.0.0.1.evil.example", None, false),
            ("localhost.evil.example:8283", None, false),
            ("", None, false),
            ("127.0.0.1:8283", Some("http://localhost:8283"), false),
            ("127.0.0.1:8283", Some("https://127.0.0.1:8283"), false),
            ("127.0.0.1:8283", Some("http://127.0.0.1:3000"), false),
            ("127.0.0.1:8283", Some("null"), false),
        ] {
            assert_eq!(decide(host, origin), expected, "{host} {origin:?}");
        }
    }
}
