//! Reads the handler's body and hands it on as the plan says.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::BodyExt;

use super::{
    Plan,
    frame::{Counter, Frame, Kind},
};
use crate::{
    faults::{
        definition::{At, Coalesce, Corruption, How, Lines, Partial, Pings, Sizes, Span, Token},
        position::Position,
        wire::{CutOff, DELIVERY},
    },
    journal::Splitter,
    mock,
    request::body::{Body, BodyError},
    world::{self, TimerKind},
};

/// What is handed on next.
enum Step {
    Bytes(Bytes),
    /// In pieces.
    Sliced(Bytes),
    /// Lets the connection write what it has.
    Flush,
    Pause(Duration),
    /// Until the client leaves.
    Hang,
    Revoke,
    Fail(BodyError),
    End(How),
}

pub(super) struct Player {
    body: Body,
    plan: Plan,
    is_stream: bool,
    splitter: Splitter,
    /// A body that is no stream, until it is whole.
    whole: Vec<u8>,
    steps: VecDeque<Step>,
    counter: Counter,
    is_over: bool,
    /// Whether a part has ended the body: what else the handler gives is not sent.
    is_ended: bool,
    /// A frame that is sent after the next one.
    swapped: Option<Frame>,
    /// Frames that are sent as one piece, and how many they are.
    joined: (Vec<u8>, usize),
    /// The parts whose position was reached.
    reached: Vec<&'static str>,
    run_id: String,
}

impl Player {
    pub(super) fn new(body: Body, plan: Plan, is_stream: bool) -> Self {
        let mut player = Self {
            body,
            plan,
            is_stream,
            splitter: Splitter::default(),
            whole: Vec::new(),
            steps: VecDeque::new(),
            counter: Counter::default(),
            is_over: false,
            is_ended: false,
            swapped: None,
            joined: (Vec::new(), 0),
            reached: Vec::new(),
            run_id: String::new(),
        };
        player.begin();
        player
    }

    /// The next piece of the body.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            match self.steps.pop_front() {
                Some(Step::Bytes(bytes)) if bytes.is_empty() => {}
                Some(Step::Bytes(bytes)) => return Some(Ok(bytes)),
                Some(Step::Sliced(bytes)) => {
                    if let Some(piece) = self.slice(bytes) {
                        return Some(Ok(piece));
                    }
                }
                Some(Step::Flush) => tokio::task::yield_now().await,
                Some(Step::Pause(time)) => world::sleep(time, TimerKind::Pause, &self.plan.id).await,
                Some(Step::Hang) => std::future::pending().await,
                Some(Step::Revoke) => {
                    if let Some(revoke) = self.plan.revoke.take() {
                        tokio::time::sleep(DELIVERY).await;
                        revoke.await;
                        // What watches the lifetime of the response breaks it off.
                        std::future::pending::<()>().await;
                    }
                }
                Some(Step::Fail(error)) => return Some(Err(error)),
                Some(Step::End(how)) => {
                    if self.plan.is_after() {
                        while let Some(Ok(_)) = self.body.frame().await {}
                        self.plan.report.did("the handler ran");
                    }
                    self.steps.clear();
                    self.is_over = true;
                    if how != How::Clean {
                        return Some(Err(CutOff(how).into()));
                    }
                }
                None if self.is_over => return None,
                None => self.read().await,
            }
        }
    }

    fn begin(&mut self) {
        if self.plan.is_cut_at_once {
            self.steps.push_back(Step::End(How::Reset));
        }
        if let Some(Span(time)) = self.plan.effect().first_byte {
            self.plan.report.did(format!("first byte after {}", humantime::format_duration(time)));
            self.steps.push_back(Step::Pause(time));
        }
        self.follow(&Kind::Other);
    }

    async fn read(&mut self) {
        match self.body.frame().await {
            Some(Ok(frame)) => {
                let Ok(bytes) = frame.into_data() else { return };
                if self.is_stream {
                    let mut frames = Vec::new();
                    self.splitter.push(&bytes, |frame| frames.push(Frame::of_stream(frame)));
                    for frame in frames {
                        self.take(frame);
                    }
                } else {
                    self.whole.extend_from_slice(&bytes);
                }
            }
            Some(Err(error)) => self.steps.push_back(Step::Fail(error)),
            None => self.finish(),
        }
    }

    fn finish(&mut self) {
        self.is_over = true;
        if !self.is_stream {
            let whole = std::mem::take(&mut self.whole);
            self.take(Frame::of_body(&whole));
        }
        if let Some(frame) = self.swapped.take() {
            self.hand_on(frame);
            self.plan.report.not_possible("swap: no frame follows");
        }
        let rest = self.splitter.rest();
        self.emit(rest);
        self.flush_joined();
        for (part, position) in self.positions() {
            if !self.reached.contains(&part) {
                self.plan.report.not_possible(format!("{part}: the response has no {position}"));
            }
        }
    }

    /// The positions of the parts.
    fn positions(&self) -> Vec<(&'static str, Position)> {
        let effect = self.plan.effect();
        let revoke = match &effect.token {
            Some(Token::RevokeAt(at)) => Some(at.clone()),
            _ => None,
        };
        let at = |part: &Option<At>| part.as_ref().map(|part| part.at.clone());
        [
            ("cut", effect.cut.as_ref().and_then(|cut| cut.at.clone())),
            ("half", effect.half.as_ref().map(|half| half.at.clone())),
            ("stall", effect.stall.as_ref().map(|stall| stall.at.clone())),
            ("drop", at(&effect.drop)),
            ("duplicate", at(&effect.duplicate)),
            ("swap", at(&effect.swap)),
            ("corrupt", effect.corrupt.as_ref().map(|corrupt| corrupt.at.clone())),
            ("error_event", effect.error_event.as_ref().map(|error| error.at.clone())),
            ("token", revoke),
        ]
        .into_iter()
        .filter_map(|(part, position)| Some((part, position?)))
        .collect()
    }

    /// Whether a part is for the frame that was counted last.
    fn is_at(&mut self, part: &'static str, kind: &Kind, position: Option<&Position>) -> bool {
        let is_at = position.is_some_and(|position| self.counter.is_at(kind, position));
        if is_at {
            self.reached.push(part);
        }
        is_at
    }

    /// Takes the next frame of the handler.
    fn take(&mut self, mut frame: Frame) {
        if self.is_ended {
            return;
        }
        let definition = Arc::clone(&self.plan.definition);
        let effect = &definition.effect;
        match frame.kind {
            Kind::Ping if effect.pings == Some(Pings::None) => return self.plan.report.did("pings: none"),
            Kind::Ping | Kind::Comment => return self.emit(frame.bytes),
            _ => {}
        }
        if let Some(run_id) = frame.run_id() {
            self.run_id = run_id;
        }
        let is_first = self.counter.is_first();
        self.counter.count(&frame.kind);
        if is_first {
            self.storm(effect.pings.as_ref());
        } else {
            self.pause_between(effect.frame_delay, effect.jitter);
        }
        let kind = frame.kind.clone();
        if let Some(corrupt) = &effect.corrupt
            && self.is_at("corrupt", &kind, Some(&corrupt.at))
        {
            self.corrupt(&mut frame, corrupt.kind, &corrupt.at);
        }
        if let Some(half) = &effect.half
            && self.is_at("half", &kind, Some(&half.at))
        {
            let beginning = match half.bytes {
                Partial::Bytes(bytes) => frame.beginning(bytes),
                Partial::InCharacter => frame.beginning_in_character(),
            };
            self.plan.report.did(format!("half of {} ({} bytes, then {})", half.at, beginning.len(), half.how.word()));
            self.emit(beginning);
            return self.end(half.how);
        }
        let is_stream = self.is_stream;
        let mut only_in_streams = |part: &'static str, is_given: bool| {
            if is_given && !is_stream {
                self.reached.push(part);
                self.plan.report.not_possible(format!("{part}: the response is no stream"));
            }
            is_given && is_stream
        };
        let may_duplicate = only_in_streams("duplicate", effect.duplicate.is_some());
        let may_swap = only_in_streams("swap", effect.swap.is_some());
        if may_swap && self.is_at("swap", &kind, effect.swap.as_ref().map(|part| &part.at)) {
            self.plan.report.did(format!("swap {} with the next", position_of(effect.swap.as_ref())));
            self.swapped = Some(frame);
            return self.follow(&kind);
        }
        if self.is_at("drop", &kind, effect.drop.as_ref().map(|part| &part.at)) {
            self.plan.report.did(format!("drop {}", position_of(effect.drop.as_ref())));
        } else {
            let twice = may_duplicate && self.is_at("duplicate", &kind, effect.duplicate.as_ref().map(|part| &part.at));
            if twice {
                self.plan.report.did(format!("duplicate {}", position_of(effect.duplicate.as_ref())));
                self.hand_on(frame.clone());
            }
            self.hand_on(frame);
        }
        if let Some(before) = self.swapped.take() {
            self.hand_on(before);
        }
        self.follow(&kind);
    }

    fn corrupt(&mut self, frame: &mut Frame, how: Corruption, at: &Position) {
        if frame.corrupt(how) {
            self.plan.report.did(format!("corrupt {at} ({how:?})"));
        } else {
            self.plan.report.not_possible(format!("corrupt: {at} has no data for {how:?}"));
        }
    }

    /// What comes after the frame that was counted last.
    fn follow(&mut self, kind: &Kind) {
        let definition = Arc::clone(&self.plan.definition);
        let effect = &definition.effect;
        if let Some(stall) = &effect.stall
            && self.is_at("stall", kind, Some(&stall.at))
        {
            self.plan.report.did(format!("stall after {}", stall.at));
            self.flush_joined();
            self.steps.push_back(stall.time.map_or(Step::Hang, |Span(time)| Step::Pause(time)));
        }
        if let Some(Token::RevokeAt(at)) = &effect.token
            && self.is_at("token", kind, Some(at))
        {
            if self.plan.revoke.is_some() {
                self.plan.report.did(format!("revoke the token after {at}"));
                self.flush_joined();
                self.steps.extend([Step::Flush, Step::Revoke]);
            } else {
                self.plan.report.not_possible("token: the caller has no client token");
            }
        }
        if let Some(error) = &effect.error_event
            && self.is_at("error_event", kind, Some(&error.at))
        {
            if self.is_stream {
                self.plan.report.did(format!("error event {} after {}", error.status, error.at));
                for frame in mock::failed_stream(error.status, &self.run_id) {
                    self.emit(frame.to_vec());
                }
                return self.end(How::Clean);
            }
            self.plan.report.not_possible("error_event: the response is no stream");
        }
        if let Some(cut) = &effect.cut
            && self.is_at("cut", kind, cut.at.as_ref())
        {
            let at = cut.at.as_ref().map(ToString::to_string).unwrap_or_default();
            self.plan.report.did(format!("cut after {at} ({})", cut.how.word()));
            self.end(cut.how);
        }
    }

    fn end(&mut self, how: How) {
        self.flush_joined();
        self.steps.push_back(Step::End(how));
        self.is_over = true;
        self.is_ended = true;
    }

    fn storm(&mut self, pings: Option<&Pings>) {
        let Some(Pings::Storm(storm)) = pings else { return };
        if !self.is_stream {
            return self.plan.report.not_possible("pings: the response is no stream");
        }
        self.plan.report.did(format!("{} pings", storm.count));
        for _ in 0..storm.count {
            let ping = mock::ping(&self.run_id);
            self.emit(ping.to_vec());
            self.flush_joined();
            self.steps.extend([Step::Flush, Step::Pause(storm.every.0)]);
        }
    }

    fn pause_between(&mut self, frame_delay: Option<Span>, jitter: Option<Span>) {
        if frame_delay.is_none() && jitter.is_none() {
            return;
        }
        let fixed = frame_delay.map_or(Duration::ZERO, |Span(time)| time);
        let most = jitter.map_or(Duration::ZERO, |Span(time)| time);
        let random = most.mul_f64(self.plan.dice.fraction());
        self.plan.report.did("frame_delay");
        self.flush_joined();
        self.steps.push_back(Step::Pause(fixed + random));
    }

    /// Hands on a whole frame.
    fn hand_on(&mut self, frame: Frame) {
        if self.plan.effect().comments == Some(true) {
            if self.is_stream {
                self.plan.report.did("comments");
                self.emit(b": a comment\n\n".to_vec());
                return self.emit([b": a comment within an event\n", &*frame.bytes].concat());
            }
            self.plan.report.not_possible("comments: the response is no stream");
        }
        self.emit(frame.bytes);
    }

    /// Hands on bytes, as the lines and pieces of the plan.
    fn emit(&mut self, mut bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let effect = self.plan.effect();
        if let Some(lines) = effect.lines {
            if self.is_stream {
                let end: &[u8] = if lines == Lines::Crlf { b"\r\n" } else { b"\r" };
                bytes = bytes.split(|byte| *byte == b'\n').collect::<Vec<_>>().join(end);
                self.plan.report.did("lines");
            } else {
                self.plan.report.not_possible("lines: the response is no stream");
            }
        }
        match (effect.coalesce, &effect.slice) {
            (Some(coalesce), _) => {
                self.joined.0.append(&mut bytes);
                self.joined.1 += 1;
                self.plan.report.did("coalesce");
                if coalesce == Coalesce::Frames(self.joined.1) {
                    self.flush_joined();
                }
            }
            (None, Some(_)) => {
                self.plan.report.did("slice");
                self.steps.push_back(Step::Sliced(bytes.into()));
            }
            (None, None) => self.steps.push_back(Step::Bytes(bytes.into())),
        }
    }

    /// Hands on the frames that wait to be sent as one piece.
    fn flush_joined(&mut self) {
        let (bytes, _) = std::mem::take(&mut self.joined);
        self.steps.push_back(Step::Bytes(bytes.into()));
    }

    /// The next piece of some bytes; the rest waits.
    fn slice(&mut self, mut bytes: Bytes) -> Option<Bytes> {
        let Sizes(least, most) = self.plan.effect().slice.as_ref()?.bytes;
        if bytes.is_empty() {
            return None;
        }
        let size = self.plan.dice.between(least, most).min(bytes.len());
        let piece = bytes.split_to(size);
        self.steps.push_front(Step::Sliced(bytes));
        self.steps.push_front(Step::Flush);
        Some(piece)
    }
}

fn position_of(part: Option<&At>) -> String {
    part.map(|part| part.at.to_string()).unwrap_or_default()
}
