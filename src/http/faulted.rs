//! What the faults of a namespace do to a request, on its way through the pipeline.

use std::sync::Arc;

use futures_util::FutureExt;
use http::{Response, Version, request::Parts};

use super::{App, Backend};
use crate::{
    access::{
        Call, Owned, Params, RequestContext,
        target::{self, Match},
    },
    credentials::{ClientToken, client_token},
    error::ApiError,
    faults::{Attempt, Chosen, Faults, Interest, Revoke, Stage, TokenTrouble},
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

/// A request, as faults look at it.
struct Request<'a> {
    app: &'a App,
    faults: &'a Faults,
    world: &'a World,
    recording: &'a Recording,
    params: &'a Params,
    stage: Stage,
    /// The caller, where the entry does not have it yet.
    token: Option<&'a str>,
}

impl Request<'_> {
    fn attempt<'b>(&'b self, entry: &'b Entry) -> Attempt<'b> {
        let (caller, jti) = match self.token {
            Some(jti) => (CallerKind::ClientToken, Some(jti)),
            None => (entry.caller.kind, entry.caller.jti.as_deref()),
        };
        let conversation = self.params.find("conversation_id");
        Attempt { entry, caller, jti, conversation, has_unknown_agent: false, agent_name: None }
    }

    /// What the request names in its path, if its agent is not known from that.
    fn thing(&self, entry: &Entry) -> Option<Owned<'_>> {
        let conversation = self.params.find("conversation_id").map(Owned::Conversation);
        conversation.or_else(|| self.params.find("run_id").map(Owned::Run)).filter(|_| entry.agents.is_empty())
    }

    fn interest(&self) -> Interest {
        self.recording.read(|entry| {
            let attempt = Attempt { has_unknown_agent: self.thing(entry).is_some(), ..self.attempt(entry) };
            self.faults.interest(&attempt, self.stage)
        })
    }

    /// The name of the agent. The journal learns which agent it is.
    async fn agent_name(&self) -> Result<Option<String>, ApiError> {
        let Backend::Mock(mock) = &self.app.backend else { return Ok(None) };
        if let Some(thing) = self.recording.read(|entry| self.thing(entry))
            && let Some(agent) = mock.owner(thing).await?
        {
            self.recording.name_agent(agent.as_str());
        }
        match self.recording.read(|entry| entry.agents.first().cloned()) {
            Some(agent) => mock.agent_name(&agent).await,
            None => Ok(None),
        }
    }

    /// The fault that hits it. `interest` is what the faults have said about it.
    async fn choose(&self, interest: Interest) -> Result<Hit, ApiError> {
        let name = if interest == Interest::Agent { self.agent_name().await? } else { None };
        let chosen = self.recording.read(|entry| {
            let attempt = Attempt { agent_name: name.as_deref(), ..self.attempt(entry) };
            self.faults.choose(&attempt, self.world, self.recording.fault_note(), self.stage)
        });
        Ok(chosen.inspect(note).map(Box::new))
    }
}

/// Lets a fault of its client token hit a request before the guard decides about it.
///
/// # Errors
/// When the database fails.
pub(super) async fn before_guard(
    app: &App,
    (faults, world): (&Faults, &World),
    recording: &Recording,
    head: &Parts,
    context: &mut RequestContext,
) -> Result<Hit, ApiError> {
    let bearer = crate::access::bearer(&head.headers).unwrap_or_default();
    if !bearer.starts_with(client_token::PREFIX) {
        return Ok(None);
    }
    // What is not genuine is refused anyway, and so is a path that does not exist.
    let Ok(token) = app.tokens.keyring.recognize(bearer) else { return Ok(None) };
    let Ok(segments) = target::segments(&head.uri, head.version) else { return Ok(None) };
    let Match::Operation(_, params) = target::find(&head.method, &segments) else { return Ok(None) };
    let jti = token.id.to_string();
    let (params, stage, id) = (&params, Stage::BeforeGuard, Some(&*jti));
    let request = Request { app, faults, world, recording, params, stage, token: id };
    let interest = request.interest();
    if interest == Interest::None {
        return Ok(None);
    }
    let hit = request.choose(interest).await?;
    match hit.as_ref().and_then(|chosen| chosen.token_trouble()) {
        Some(TokenTrouble::Expire) => world.expire_token(&jti),
        Some(TokenTrouble::Revoke) => app.feed.revoke(&token).await?,
        Some(TokenTrouble::Stale) => context.impaired.is_feed_stale = true,
        Some(TokenTrouble::Quota) => context.impaired.allowance = app.guard.quotas.exhaust(&token),
        Some(TokenTrouble::StoreAway) | None => {}
    }
    Ok(hit)
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
    let (params, stage) = (&call.params, Stage::Admitted);
    let request = Request { app, faults, world, recording, params, stage, token: None };
    let interest = request.interest();
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
    request.choose(interest).await
}

/// Notes in the journal that a fault has fired.
fn note(chosen: &Chosen) {
    chosen.report().fired();
    if let Some(trouble) = chosen.token_trouble() {
        chosen.report().did(trouble.word());
    }
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
