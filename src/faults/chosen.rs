//! The fault that hits a request, and what it does there.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Response, StatusCode, Version, header};
use http_body_util::BodyExt;

use super::{
    definition::{Chunk, Definition, How, Length, Phase, Token},
    dice::Dice,
    report::Report,
    response,
    stream::{self, Plan, Revoke},
    wire::{Change, Edit, Wire},
};
use crate::{
    error::ApiError,
    request::body::Body,
    world::{self, TimerKind},
};

/// The fault that hits a request.
#[derive(Debug)]
pub(crate) struct Chosen {
    definition: Arc<Definition>,
    id: Arc<str>,
    dice: Dice,
    report: Report,
}

/// What happens to a client token, or to what decides about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TokenTrouble {
    /// It expires.
    Expire,
    /// It is revoked.
    Revoke,
    /// Revocations have not been read for too long.
    Stale,
    /// Its requests of this minute are used up.
    Quota,
    /// The store cannot be reached.
    StoreAway,
}

impl TokenTrouble {
    /// As a journal entry names it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Expire => "token: expire",
            Self::Revoke => "token: revoke",
            Self::Stale => "token: stale",
            Self::Quota => "token: quota",
            Self::StoreAway => "token: store_away",
        }
    }
}

/// What came of the request besides the fault.
pub(crate) type Outcome = Result<Response<Body>, ApiError>;

/// The status of a response that is never sent, for the log.
const NO_RESPONSE: u16 = 444;

impl Chosen {
    pub(super) fn new(definition: Arc<Definition>, id: Arc<str>, dice: Dice, report: Report) -> Self {
        Self { definition, id, dice, report }
    }

    /// Notes for the journal what it does.
    pub(crate) fn report(&self) -> &Report {
        &self.report
    }

    /// What it does to the client token, if it does.
    pub(crate) fn token_trouble(&self) -> Option<TokenTrouble> {
        Some(match self.definition.effect.token.as_ref()? {
            Token::Expire => TokenTrouble::Expire,
            Token::Revoke => TokenTrouble::Revoke,
            Token::Stale => TokenTrouble::Stale,
            Token::Quota => TokenTrouble::Quota,
            Token::StoreAway => TokenTrouble::StoreAway,
            Token::RevokeAt(_) => return None,
        })
    }

    /// Whether it revokes the client token in the middle of the response.
    pub(crate) fn revokes_later(&self) -> bool {
        matches!(self.definition.effect.token, Some(Token::RevokeAt(_)))
    }

    /// Its own response, if it has one and the handler does not run.
    pub(crate) fn instead_of_handler(&self) -> Option<Outcome> {
        (self.definition.phase == Phase::Before).then(|| self.own_response()).flatten()
    }

    /// What comes of the request after the handler: its own response if it has one. The handler's is read to its end, so
    /// that its effects are complete.
    pub(crate) async fn after_handler(&self, outcome: Outcome) -> Outcome {
        let own = (self.definition.phase == Phase::After).then(|| self.own_response()).flatten();
        let Some(own) = own else { return outcome };
        if let Ok(mut response) = outcome {
            while let Some(Ok(_)) = response.body_mut().frame().await {}
            self.report.did("the handler ran");
        }
        own
    }

    fn own_response(&self) -> Option<Outcome> {
        let effect = &self.definition.effect;
        if let Some(how) = effect.silence() {
            self.report.did(format!("no response ({})", how.word()));
            let mut response = Response::new(Body::Empty);
            *response.status_mut() = StatusCode::from_u16(NO_RESPONSE).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return Some(Ok(response));
        }
        if !effect.is_response() {
            return None;
        }
        let outcome = response::build(effect, &self.id);
        let status = outcome.as_ref().map_or_else(ApiError::status, Response::status);
        self.report.did(format!("status {}", status.as_u16()));
        Some(outcome)
    }

    /// Waits before the head of the response.
    pub(crate) async fn delay(&self) {
        if let Some(delay) = self.definition.effect.delay {
            self.report.did(format!("delay {}", humantime::format_duration(delay.0)));
            self.pause(delay.0).await;
        }
    }

    async fn pause(&self, time: Duration) {
        world::sleep(time, TimerKind::Pause, &self.id).await;
    }

    /// Whether no response is sent at all.
    pub(crate) fn is_silent(&self) -> bool {
        self.definition.effect.silence().is_some()
    }

    /// Changes the response as it leaves. `revoke` revokes its client token.
    pub(crate) fn apply(
        self,
        mut response: Response<Body>,
        version: Version,
        is_stream: bool,
        revoke: Option<Revoke>,
    ) -> Response<Body> {
        let effect = &self.definition.effect;
        if let Some(how) = effect.silence() {
            if version == Version::HTTP_2 && how == How::Close {
                self.report.not_possible("close: over HTTP/2 the stream is reset");
            }
            response.extensions_mut().insert(Wire::Silence(how));
            return response;
        }
        if !effect.headers.is_empty() {
            response::set_headers(effect, &mut response);
            self.report.did("headers");
        }
        let mut plan = Plan::of(&self.definition, &self.id, self.dice.clone(), self.report.clone(), revoke);
        let wire = self.edit(&mut response, version, is_stream, &mut plan);
        if plan.is_needed() {
            let ends = plan.may_cut_off();
            if ends && version == Version::HTTP_2 && plan.closes() {
                self.report.not_possible("close: over HTTP/2 the stream is reset");
            }
            response = response.map(|body| stream::wrap(body, plan, is_stream));
            if ends && wire.is_none() {
                response.extensions_mut().insert(Wire::Body);
            }
        }
        if let Some(edit) = wire {
            response.extensions_mut().insert(Wire::Edited(edit));
        }
        response
    }

    /// The change to the bytes of the response, if HTTP/1.1 sends it.
    fn edit(&self, response: &mut Response<Body>, version: Version, is_stream: bool, plan: &mut Plan) -> Option<Edit> {
        let effect = &self.definition.effect;
        let (change, name) = match (effect.length, effect.chunk) {
            (Some(Length(difference)), _) => (Change::Length(difference), format!("length {difference:+}")),
            (_, Some(Chunk::Malformed)) => (Change::Chunk, "malformed chunk".to_owned()),
            _ => return None,
        };
        if version == Version::HTTP_2 {
            self.report.not_possible(format!("{name}: over HTTP/2 the stream is reset"));
            plan.cut_at_once();
            return None;
        }
        let is_whole = matches!(response.body(), Body::Whole(_));
        let is_empty = matches!(response.body(), Body::Empty);
        let is_possible = match change {
            Change::Length(_) => is_whole && !is_stream,
            Change::Chunk => !is_empty,
        };
        let mark = response.headers().get("x-request-id").map(|id| id.as_bytes().to_vec());
        let (Some(mark), true) = (mark, is_possible && version == Version::HTTP_11) else {
            let why = if is_empty { "the response has no body" } else { "a stream declares no length" };
            self.report.not_possible(format!("{name}: {why}"));
            return None;
        };
        self.report.did(name);
        if change == Change::Chunk {
            plan.hide_length();
        }
        // What follows on the connection could not be told from this response.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        Some(Edit { mark: mark.into(), change })
    }
}
