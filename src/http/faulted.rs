//! What the faults of a namespace do to a request, on its way through the pipeline.

use std::sync::Arc;

use futures_util::FutureExt;
use http::{HeaderMap, Response, Version};

use super::{App, Backend};
use crate::{
    access::{Call, RequestContext},
    credentials::{ClientToken, client_token},
    error::ApiError,
    faults::{Attempt, Chosen, Faults, Interest, Revoke, TokenTrouble},
    journal::{CallerKind, Entry, Recording},
    request::{
        body::Body,
        input::{self, Payload},
    },
    store::StoreError,
    world::World,
};

/// The fault that hits a request, if one does.
pub(super) type Hit = Option<Box<Chosen>>;

/// Lets a fault of its client token hit a request before the guard decides about it.
///
/// # Errors
/// When the database fails.
pub(super) async fn before_guard(
    app: &App,
    (faults, world): (&Faults, &World),
    recording: &Recording,
    headers: &HeaderMap,
    context: &mut RequestContext,
) -> Result<Hit, ApiError> {
    let bearer = crate::access::bearer(headers).unwrap_or_default();
    if !bearer.starts_with(client_token::PREFIX) {
        return Ok(None);
    }
    // What is not genuine is refused anyway.
    let Ok(token) = app.tokens.keyring.recognize(bearer) else { return Ok(None) };
    let jti = token.id.to_string();
    let chosen = recording.read(|entry| {
        let (caller, jti) = (CallerKind::ClientToken, Some(&*jti));
        let attempt = Attempt { entry, caller, jti, conversation: None, agent_name: None };
        faults.choose_before_guard(&attempt, world, recording.fault_note())
    });
    let Some(chosen) = chosen else { return Ok(None) };
    match chosen.token_trouble() {
        Some(TokenTrouble::Expire) => world.expire_token(&jti),
        Some(TokenTrouble::Revoke) => app.feed.revoke(&token).await?,
        Some(TokenTrouble::Stale) => context.impaired.is_feed_stale = true,
        Some(TokenTrouble::Quota) => context.impaired.allowance = app.guard.quotas.exhaust(&token),
        Some(TokenTrouble::StoreAway) | None => {}
    }
    Ok(Some(noted(chosen)))
}

/// Lets a fault hit an admitted request, before it is handled.
///
/// # Errors
/// When its body cannot be read, or the database fails.
pub(super) async fn admitted(
    app: &App,
    (faults, world): (&Faults, &World),
    recording: &Recording,
    call: &mut Call,
) -> Result<Hit, ApiError> {
    let conversation = call.params.find("conversation_id").map(str::to_owned);
    let conversation = conversation.as_deref();
    let interest = recording.read(|entry| faults.interest(&attempt(entry, conversation, None)));
    if interest == Interest::None {
        return Ok(None);
    }
    // Whether it repeats another request is known once its body is.
    if let Payload::Unread(body) = &mut call.payload
        && !http_body::Body::is_end_stream(body)
    {
        let bytes = input::read(std::mem::take(body)).await?;
        *body = Body::from(bytes);
    }
    let mut name = None;
    if interest == Interest::Name
        && let Backend::Mock(mock) = &app.backend
        && let Some(agent) = recording.read(|entry| entry.agents.first().cloned())
    {
        name = mock.agent_name(&agent).await?;
    }
    let chosen = recording.read(|entry| {
        let attempt = attempt(entry, conversation, name.as_deref());
        faults.choose_admitted(&attempt, world, recording.fault_note())
    });
    Ok(chosen.map(noted))
}

/// An admitted request.
fn attempt<'a>(entry: &'a Entry, conversation: Option<&'a str>, agent_name: Option<&'a str>) -> Attempt<'a> {
    let (caller, jti) = (entry.caller.kind, entry.caller.jti.as_deref());
    Attempt { entry, caller, jti, conversation, agent_name }
}

fn noted(chosen: Chosen) -> Box<Chosen> {
    chosen.report().fired();
    if let Some(trouble) = chosen.token_trouble() {
        chosen.report().did(trouble.word());
    }
    Box::new(chosen)
}

/// The refusal of a store that cannot be reached, if the fault says that.
///
/// # Errors
/// That refusal.
pub(super) fn check_store(chosen: &Chosen) -> Result<(), ApiError> {
    if chosen.token_trouble() == Some(TokenTrouble::StoreAway) {
        return Err(StoreError::away().into());
    }
    Ok(())
}

/// What comes of a request that was hit, before its response is written.
///
/// # Errors
/// The response, if it is an error.
pub(super) async fn finish(
    chosen: &Chosen,
    outcome: Result<(Response<Body>, Option<Arc<ClientToken>>), ApiError>,
) -> Result<(Response<Body>, Option<Arc<ClientToken>>), ApiError> {
    let (outcome, token) = match outcome {
        Ok((response, token)) => (Ok(response), token),
        Err(refusal) => (Err(refusal), None),
    };
    let outcome = chosen.after_handler(outcome).await;
    chosen.delay().await;
    outcome.map(|response| (response, token))
}

/// Changes the response as it leaves.
pub(super) fn apply(
    chosen: Chosen,
    app: &App,
    response: Response<Body>,
    version: Version,
    is_stream: bool,
    token: Option<&Arc<ClientToken>>,
) -> Response<Body> {
    let revoke = token.filter(|_| chosen.revokes_later()).map(|token| {
        let (feed, token) = (app.feed.clone(), Arc::clone(token));
        let revoke: Revoke = async move {
            if let Err(error) = feed.revoke(&token).await {
                tracing::error!(%error, "A fault could not revoke a client token");
            }
        }
        .boxed();
        revoke
    });
    chosen.apply(response, version, is_stream, revoke)
}
