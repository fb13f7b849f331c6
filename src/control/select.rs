//! Which namespace a request to Letta's API belongs to.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, request::Parts};

use super::{ControlState, caller::gone};
use crate::{
    access::{Bearer, RequestContext},
    credentials::{api_key, client_token, sha256},
    error::{ApiError, Code},
    http::App,
    namespaces::{self, Found, Namespace},
};

/// Names the namespace of a request with an API key of the server.
pub(super) const NAMESPACE: HeaderName = HeaderName::from_static("x-gatelet-namespace");

/// The app of a request's namespace. What is wrong with a bearer is left to the guard of `default`.
pub(super) async fn select(control: &ControlState, head: &Parts) -> (Arc<App>, Result<(), ApiError>) {
    let directory = &control.directory;
    let default = || directory.default().app();
    let Ok(bearer) = crate::access::bearer(&head.headers) else { return (default(), Ok(())) };
    // The credential itself says where it belongs.
    let own = match bearer.strip_prefix(client_token::PREFIX) {
        Some(jws) => directory.by_token_header(jws.split('.').next().unwrap_or_default()),
        None if api_key::is_test(bearer) => directory.by_key_hash(&sha256(bearer.as_bytes())),
        None => {
            return match select_by_name(control, &head.headers).await {
                Ok(namespace) => (namespace.app(), Ok(())),
                Err(refusal) => (default(), Err(refusal)),
            };
        }
    };
    let own = match own {
        Found::Namespace(own) => own,
        Found::Gone(why) => return (default(), Err(gone(why))),
        Found::Unknown => return (default(), Ok(())),
    };
    match named(&head.headers) {
        Ok(Some(name)) if name != own.name() => {
            let sentence = format!(
                "The credential belongs to the namespace {}, and x-gatelet-namespace names another; leave the header out.",
                own.name()
            );
            (own.app(), Err(ApiError::new(Code::NamespaceMismatch, sentence)))
        }
        Ok(_) => (own.app(), Ok(())),
        Err(refusal) => (own.app(), Err(refusal)),
    }
}

/// The namespace that an API key of the server names, or `default`.
async fn select_by_name(control: &ControlState, headers: &HeaderMap) -> Result<Arc<Namespace>, ApiError> {
    let default = Arc::clone(control.directory.default());
    let name = named(headers)?;
    if name.is_none() && !control.settings.require_namespace {
        return Ok(default);
    }
    // Strangers learn nothing about namespaces: without a good key it is `default` that refuses.
    let authenticator = &default.app().guard.authenticator;
    let Ok(Bearer::ApiKey(key)) = authenticator.identify(headers, &mut RequestContext::default()).await else {
        return Ok(default);
    };
    let Some(name) = name else {
        let sentence = "This server requires a namespace (control.require_namespace): use the key of one, or send \
                        x-gatelet-namespace with its name.";
        return Err(ApiError::new(Code::NamespaceRequired, sentence));
    };
    if key.project.is_some() {
        let sentence =
            "This API key is limited to a project and cannot choose a namespace; use the namespace's own key.";
        return Err(ApiError::new(Code::ControlNotAllowed, sentence));
    }
    control.directory.find(name).ok_or_else(|| namespaces::not_found(name))
}

/// The namespace that the headers name, if they do.
fn named(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut values = headers.get_all(NAMESPACE).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => Ok(Some(value.to_str().unwrap_or_default())),
        (Some(_), Some(_)) => Err(ApiError::new(Code::NamespaceMismatch, "Send x-gatelet-namespace once.")),
    }
}
