//! A response's body as a fault changes it, frame by frame.

mod frame;
mod player;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::{future::BoxFuture, stream};
use http_body::{Body as _, Frame, SizeHint};

use self::player::Player;
use super::{
    definition::{Definition, Effect, How, Phase},
    dice::Dice,
    position::Position,
    report::Report,
};
use crate::request::body::{Body, BodyError};

/// Revokes the client token of a request, when it is polled.
pub(crate) type Revoke = BoxFuture<'static, ()>;

/// How a body is changed.
pub(super) struct Plan {
    definition: Arc<Definition>,
    id: Arc<str>,
    dice: Dice,
    report: Report,
    revoke: Option<Revoke>,
    /// Whether it is cut off before its first byte.
    is_cut_at_once: bool,
    /// Whether its length is not declared.
    is_length_hidden: bool,
}

impl Plan {
    pub(super) fn of(
        definition: &Arc<Definition>,
        id: &Arc<str>,
        dice: Dice,
        report: Report,
        revoke: Option<Revoke>,
    ) -> Self {
        let (definition, id) = (Arc::clone(definition), Arc::clone(id));
        Self { definition, id, dice, report, revoke, is_cut_at_once: false, is_length_hidden: false }
    }

    fn effect(&self) -> &Effect {
        &self.definition.effect
    }

    /// Cuts the body off before its first byte.
    pub(super) fn cut_at_once(&mut self) {
        self.is_cut_at_once = true;
    }

    /// Declares no length.
    pub(super) fn hide_length(&mut self) {
        self.is_length_hidden = true;
    }

    /// Whether the body is changed at all.
    pub(super) fn is_needed(&self) -> bool {
        let effect = self.effect();
        self.is_cut_at_once || self.is_length_hidden || effect.first_byte.is_some() || effect.stream_part().is_some()
    }

    /// Whether the body may end in an error.
    pub(super) fn may_cut_off(&self) -> bool {
        self.is_cut_at_once || self.ends().any(|how| how != How::Clean)
    }

    /// Whether the connection is closed in the middle of the body.
    pub(super) fn closes(&self) -> bool {
        self.ends().any(|how| how == How::Close)
    }

    fn ends(&self) -> impl Iterator<Item = How> {
        let effect = self.effect();
        effect.cut.as_ref().map(|cut| cut.how).into_iter().chain(effect.half.as_ref().map(|half| half.how))
    }

    /// Whether the handler's response is read to its end, so that its effects are complete.
    fn is_after(&self) -> bool {
        self.definition.phase == Phase::After
    }

    /// Whether a body that is no stream has its length as long as it is sent.
    fn keeps_length(&self) -> bool {
        let effect = self.effect();
        let is_before = |position: Option<&Position>| position.is_none_or(|position| *position == Position::Frame(0));
        !self.is_length_hidden
            && effect.corrupt.is_none()
            && effect.drop.is_none()
            && effect.token.is_none()
            && self.ends().all(|how| how != How::Clean)
            && is_before(effect.cut.as_ref().and_then(|cut| cut.at.as_ref()))
            && is_before(effect.stall.as_ref().map(|stall| &stall.at))
    }
}

/// A body as a plan changes it.
pub(super) fn wrap(body: Body, plan: Plan, is_stream: bool) -> Body {
    let length = if is_stream || !plan.keeps_length() { None } else { body.size_hint().exact() };
    let player = Player::new(body, plan, is_stream);
    let body = Body::from_stream(stream::unfold(player, |mut player| async move {
        let next = player.next().await?;
        Some((next, player))
    }));
    match length {
        Some(left) => Body::new(Sized { body, left }),
        None => body,
    }
}

/// A body whose length is known.
struct Sized {
    body: Body,
    left: u64,
}

impl http_body::Body for Sized {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &polled {
            self.left = self.left.saturating_sub(frame.data_ref().map_or(0, |bytes| bytes.len() as u64));
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
