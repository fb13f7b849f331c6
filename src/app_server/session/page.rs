//! The socket of a page: checked frames go to the App Server, and what the page may see comes back.
//!
//! One task has both sockets. It always reads the App Server's, so that a slow page cannot hold it up, and reads the page's
//! only while there is room for its frames. When the page is gone, for whatever reason, the App Server's socket stays until
//! the turns of its conversations have ended.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use http_body::SizeHint;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{self, Message, error::CapacityError};
use tracing::warn;
use uuid::Uuid;

use super::{
    super::{
        Command, closing,
        connection::ServerSocket,
        context::{AppServer, Context},
        control::NoAnswer,
        counters::Ruling,
        frame::{Answer, Checked, Close, Frame, Lookup, Outbound, SocketState, Stamp, outbound},
    },
    ClientSocket,
    audit::Audit,
    outbox::Outbox,
};
use crate::{
    access::{Permit, quota::ConcurrencyPermit},
    clock,
    credentials::ClientToken,
    entropy,
    error::{ApiError, Code},
};

/// How many frames of a page wait to be decided about, and how many bytes they may take, before no more are read.
const INBOX_FRAMES: usize = 64;
const INBOX_BYTES: usize = 1024 * 1024;

/// How many messages may wait for a page to read them, and how many bytes they may take, before its socket is closed. One
/// message may be larger.
const OUTBOX_MESSAGES: usize = 4096;
const OUTBOX_BYTES: usize = 8 * 1024 * 1024;

/// How many bytes of the App Server are read before the page is written to.
const READ_AHEAD: usize = 256 * 1024;

/// How many of its messages are.
const BATCH: usize = 32;

/// How often both sockets are looked at before other tasks have their turn.
const ROUNDS: usize = 16;

/// How long a frame waits for its conversation to be open. The official client waits 30 s for a response.
const HOLD: Duration = Duration::from_secs(20);

/// How many look-ups one frame may need.
const MOST_LOOKUPS: usize = 8;

/// A message of more bytes counts as a large body until it is forwarded.
const LARGE: u64 = 64 * 1024;

/// How many pings may go unanswered.
const SILENT_PINGS: u32 = 3;

/// How long nothing may be in progress before the App Server's socket is closed: a queued message becomes a turn in several
/// steps.
const SETTLED: Duration = Duration::from_secs(1);

/// A frame of the page that is not decided about.
#[derive(Debug)]
struct Waiting {
    frame: Frame,
    bytes: usize,
    /// Whether it is within the quota of inputs, once it was counted.
    counted: Option<Result<(), ApiError>>,
    lookups: usize,
    /// Whether a look-up that it needs has failed.
    is_unknowable: bool,
    held_since: Option<Instant>,
    /// The claim of a large message.
    _permit: Option<ConcurrencyPermit>,
}

/// Why a socket of a page ends.
#[derive(Debug)]
enum End {
    /// The gate closes it.
    Close(Close),
    /// The page has closed it.
    Left,
    /// The connection is lost.
    Lost,
    /// The page does not read.
    Slow,
    /// The App Server's socket is lost.
    UpstreamLost,
}

impl End {
    /// How the gate closes the page's socket, if it is not closed yet.
    fn close(&self) -> Option<Close> {
        match self {
            Self::Close(close) => Some(*close),
            Self::UpstreamLost => Some(Close::of(Code::UpstreamUnreachable)),
            Self::Left | Self::Lost | Self::Slow => None,
        }
    }

    /// Why, for the log, and how it counts in the metrics.
    fn describe(&self) -> (&'static str, Close) {
        match self {
            Self::Close(close) => ("closed by Gatelet", *close),
            Self::UpstreamLost => ("the App Server's socket was lost", Close::of(Code::UpstreamUnreachable)),
            Self::Left => ("closed by the client", Close { code: 1000, reason: "closed_by_client" }),
            Self::Lost => ("the connection was lost", Close { code: 1006, reason: "lost" }),
            Self::Slow => ("the client did not read", Close { code: 1006, reason: "slow_reader" }),
        }
    }
}

impl From<tungstenite::Error> for End {
    fn from(error: tungstenite::Error) -> Self {
        use tungstenite::{Error, error::ProtocolError};
        match error {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => Self::Close(Close::of(Code::BodyTooLarge)),
            Error::Utf8(_) => Self::Close(Close::NOT_UTF8),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::Lost,
            Error::Protocol(_) | Error::AttackAttempt => Self::Close(Close::PROTOCOL),
            _ => Self::Lost,
        }
    }
}

/// Serves the socket of a client token.
pub(super) async fn serve(
    client: ClientSocket,
    token: Arc<ClientToken>,
    permit: &Permit,
    server: &Arc<AppServer>,
    context: &Context,
    audit: Audit,
) {
    let open = context.counters.open();
    let state = SocketState::new(Arc::clone(&token), context.rules.limits);
    let mut ended = ended(context.clone(), Arc::clone(&token)).boxed();
    let opened = if state.is_of_use() {
        tokio::select! {
            biased;
            close = &mut ended => Err(End::Close(close)),
            opened = server.upstream.open(permit) => opened.map_err(|error| {
                warn!(app_server = server.name, %error, "The App Server cannot be reached");
                End::UpstreamLost
            }),
        }
    } else {
        Err(End::Close(Close::of(Code::AccessNotGranted)))
    };
    let (client, end, upstream) = match opened {
        Err(end) => (client, end, None),
        Ok(upstream) => {
            let mut page = Page::new(client, upstream, state, server, context, &audit, ended);
            let end = poll_fn(|task| page.poll(task)).await;
            let Page { client, upstream, state, .. } = page;
            let upstream = if matches!(end, End::UpstreamLost) { None } else { Some((upstream, state)) };
            (client, end, upstream)
        }
    };
    let (why, counted) = end.describe();
    context.counters.closed(counted);
    audit.closed(end.close(), why);
    drop(open);
    let parting = async {
        match (end.close(), end) {
            (Some(close), _) => closing::close(client, close).await,
            (None, End::Left) => closing::acknowledge(client).await,
            (None, _) => drop(client),
        }
    };
    let staying = async {
        if let Some((upstream, state)) = upstream {
            stay(upstream, state, context, &audit).await;
        }
    };
    tokio::join!(parting, staying);
}

/// Resolves when the socket must end, whatever its page does.
async fn ended(context: Context, token: Arc<ClientToken>) -> Close {
    let expired = async {
        while !token.has_expired(clock::now_millis()) {
            sleep(token.time_left(clock::now_millis())).await;
        }
    };
    tokio::select! {
        () = context.stopping.cancelled() => Close::RESTARTING,
        () = context.feed.until_revoked(&token) => Close::of(Code::TokenRevoked),
        () = expired => Close::of(Code::TokenExpired),
    }
}

/// Reads the App Server's socket until no turn is in progress. If it were closed before, the App Server would cut the turn,
/// and the conversation would be stuck.
async fn stay(mut upstream: ServerSocket, mut state: SocketState, context: &Context, audit: &Audit) {
    if !state.is_busy() {
        return part(upstream).await;
    }
    let _lingering = context.counters.lingering();
    let deadline = Instant::now() + context.rules.turn_grace;
    let why = loop {
        let patience = if state.is_busy() { deadline } else { deadline.min(Instant::now() + SETTLED) };
        match tokio::time::timeout_at(patience, upstream.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => drop(outbound(text.as_bytes(), &mut state)),
            Ok(Some(Ok(_))) => {}
            Ok(Some(Err(_)) | None) => break "the App Server closed it",
            Err(_) if state.is_busy() => break "the turn took too long",
            Err(_) => break "the turn has ended",
        }
    };
    audit.outlived(why);
    part(upstream).await;
}

/// Closes the App Server's socket.
async fn part(mut upstream: ServerSocket) {
    let _ = timeout(Duration::from_secs(1), upstream.close(None)).await;
}

/// Both sockets, and what waits between them.
struct Page<'a> {
    client: ClientSocket,
    upstream: ServerSocket,
    state: SocketState,
    server: &'a AppServer,
    context: &'a Context,
    audit: &'a Audit,
    ended: BoxFuture<'static, Close>,
    timer: Pin<Box<Sleep>>,
    /// Frames of the page in their order. Only the first is decided about.
    inbox: VecDeque<Waiting>,
    inbox_bytes: usize,
    /// Whether the first frame may be decided about now: not while it is held and nothing has come from the App Server.
    may_decide: bool,
    lookup: Option<(Lookup, BoxFuture<'static, Result<Answer, NoAnswer>>)>,
    to_client: Outbox,
    to_upstream: Outbox,
    received: Received,
    upstream_heard: Instant,
    next_ping: Instant,
}

/// A large message.
#[derive(Debug)]
struct Large {
    /// Its claim; `None` if they are not limited.
    permit: Option<ConcurrencyPermit>,
}

/// What was received from a page.
#[derive(Debug)]
struct Received {
    /// The bytes that were counted.
    counted: u64,
    /// The bytes that belong to messages that are whole.
    whole: u64,
    /// When the last byte came.
    at: Instant,
    /// A large message that is not whole.
    large: Option<Large>,
}

impl<'a> Page<'a> {
    fn new(
        client: ClientSocket,
        upstream: ServerSocket,
        state: SocketState,
        server: &'a AppServer,
        context: &'a Context,
        audit: &'a Audit,
        ended: BoxFuture<'static, Close>,
    ) -> Self {
        let now = Instant::now();
        let next_ping = now + context.rules.ping_interval;
        Self {
            client,
            upstream,
            state,
            server,
            context,
            audit,
            ended,
            timer: Box::pin(sleep_until(next_ping)),
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            may_decide: true,
            lookup: None,
            to_client: Outbox::default(),
            to_upstream: Outbox::default(),
            received: Received { counted: 0, whole: 0, at: now, large: None },
            upstream_heard: now,
            next_ping,
        }
    }

    fn poll(&mut self, task: &mut task::Context<'_>) -> Poll<End> {
        match self.advance(task) {
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        }
    }

    /// Moves on whatever can be moved, and waits for more.
    fn advance(&mut self, task: &mut task::Context<'_>) -> Result<(), End> {
        if let Poll::Ready(close) = self.ended.poll_unpin(task) {
            return Err(End::Close(close));
        }
        for _ in 0..ROUNDS {
            let now = Instant::now();
            let mut is_more = self.read_upstream(now, task)?;
            self.read_client(now, task)?;
            is_more |= self.poll_lookup(task);
            is_more |= self.decide(now)?;
            self.write(now, task)?;
            if !is_more && self.wait(now, task)? {
                return Ok(());
            }
        }
        task.waker().wake_by_ref();
        Ok(())
    }

    /// Reads what the App Server sends; whether there may be more.
    fn read_upstream(&mut self, now: Instant, task: &mut task::Context<'_>) -> Result<bool, End> {
        for _ in 0..BATCH {
            let Poll::Ready(message) = self.upstream.poll_next_unpin(task) else { return Ok(false) };
            self.upstream_heard = now;
            match message {
                Some(Ok(Message::Text(text))) => {
                    self.may_decide = true;
                    match outbound(text.as_bytes(), &mut self.state) {
                        Outbound::Send(text) => {
                            self.context.counters.sent();
                            self.to_client.push(Message::text(text));
                        }
                        Outbound::Drop(reason) => self.context.counters.dropped(reason),
                    }
                }
                Some(Ok(Message::Binary(_))) => self.context.counters.dropped("binary"),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(End::UpstreamLost),
            }
            if self.to_client.bytes() > READ_AHEAD {
                break;
            }
        }
        Ok(true)
    }

    /// Reads what the page sends while there is room for it. Only deciding makes room.
    fn read_client(&mut self, now: Instant, task: &mut task::Context<'_>) -> Result<(), End> {
        while self.inbox.len() < INBOX_FRAMES && (self.inbox_bytes < INBOX_BYTES || self.inbox.is_empty()) {
            let Poll::Ready(message) = self.client.poll_next_unpin(task) else {
                return self.count_bytes(now);
            };
            let message = message.ok_or(End::Left)??;
            self.count_bytes(now)?;
            if !self.context.guard.socket_quotas.count_frame(self.state.token()) {
                return Err(End::Close(Close::of(Code::RateLimited)));
            }
            match message {
                Message::Text(text) => {
                    let permit = self.received.large.take().and_then(|large| large.permit);
                    self.received.whole = self.received.counted;
                    let frame = Frame::parse(text.as_bytes()).map_err(|close| {
                        self.context.counters.frame(None, Ruling::Refused);
                        End::Close(close)
                    })?;
                    self.inbox_bytes += text.len();
                    self.inbox.push_back(Waiting {
                        frame,
                        bytes: text.len(),
                        counted: None,
                        lookups: 0,
                        is_unknowable: false,
                        held_since: None,
                        _permit: permit,
                    });
                }
                Message::Binary(_) => return Err(End::Close(Close::of(Code::UnsupportedMediaType))),
                // These may come in the middle of a message in several frames. Their own frame has a head of 6 bytes.
                Message::Ping(payload) | Message::Pong(payload) => self.received.whole += payload.len() as u64 + 6,
                Message::Close(_) => return Err(End::Left),
                Message::Frame(_) => {}
            }
        }
        Ok(())
    }

    /// Counts the bytes that have come since the last time, whole message or not.
    fn count_bytes(&mut self, now: Instant) -> Result<(), End> {
        let read = self.client.get_ref().read;
        let new = read - self.received.counted;
        if new == 0 {
            return Ok(());
        }
        self.received.counted = read;
        self.received.at = now;
        let too_many = || End::Close(Close::of(Code::RateLimited));
        if !self.context.guard.socket_quotas.count_bytes(self.state.token(), new) {
            return Err(too_many());
        }
        let unfinished = read.saturating_sub(self.received.whole);
        if unfinished > LARGE && self.received.large.is_none() {
            let held = self.context.guard.quotas.hold_body(self.state.token(), &SizeHint::with_exact(unfinished));
            self.received.large = Some(Large { permit: held.map_err(|_| too_many())? });
        }
        Ok(())
    }

    /// Takes the answer to a look-up; whether there is one.
    fn poll_lookup(&mut self, task: &mut task::Context<'_>) -> bool {
        let Some((_, answer)) = &mut self.lookup else { return false };
        let Poll::Ready(answer) = answer.poll_unpin(task) else { return false };
        if let Some((lookup, _)) = self.lookup.take() {
            match (answer, self.inbox.front_mut()) {
                (Ok(answer), _) => self.state.learn(&lookup, answer),
                (Err(NoAnswer), Some(first)) => first.is_unknowable = true,
                (Err(NoAnswer), None) => {}
            }
        }
        self.may_decide = true;
        true
    }

    /// Decides about the frames of the page, in their order; whether about any.
    fn decide(&mut self, now: Instant) -> Result<bool, End> {
        let mut has_moved = false;
        while self.may_decide && self.lookup.is_none() && self.to_upstream.is_empty() && !self.inbox.is_empty() {
            self.check_live()?;
            match self.check_first(now) {
                None => break,
                Some(Checked::Hold) => {
                    if let Some(first) = self.inbox.front_mut() {
                        first.held_since.get_or_insert(now);
                    }
                    self.may_decide = false;
                }
                Some(Checked::Needs(lookup)) => {
                    if let Some(first) = self.inbox.front_mut() {
                        first.lookups += 1;
                    }
                    let (control, asked) = (self.server.control.clone(), lookup.clone());
                    self.lookup = Some((lookup, async move { control.look_up(asked).await }.boxed()));
                    // It is polled for the first time in the next round.
                    has_moved = true;
                }
                Some(checked) => {
                    has_moved = true;
                    self.settle(checked);
                }
            }
        }
        Ok(has_moved)
    }

    /// Checks the first frame, or refuses it for what the tables do not know.
    fn check_first(&mut self, now: Instant) -> Option<Checked> {
        let first = self.inbox.front_mut()?;
        let stamp = Stamp { now: clock::now_millis(), id: Uuid::from_u128(entropy::unguessable_number()) };
        if first.frame.command() == Some(Command::Input) && first.counted.is_none() {
            let counted = self.context.guard.socket_quotas.count_input(self.state.token());
            first.counted = Some(counted.map_err(ApiError::from));
        }
        if let Some(Err(refusal)) = &first.counted {
            return Some(first.frame.refuse(&self.state, stamp, refusal));
        }
        let refusal = if first.is_unknowable || first.lookups > MOST_LOOKUPS {
            let sentence = "The App Server behind Gatelet does not respond; try again shortly.";
            Some(ApiError::new(Code::UpstreamUnreachable, sentence))
        } else if first.held_since.is_some_and(|since| now >= since + HOLD) {
            let sentence = "The conversation did not open in time; start it again.";
            Some(ApiError::new(Code::UpstreamTimeout, sentence))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return Some(first.frame.refuse(&self.state, stamp, &refusal));
        }
        Some(first.frame.check(&mut self.state, stamp))
    }

    /// Does what was decided about the first frame.
    fn settle(&mut self, checked: Checked) {
        let Some(first) = self.inbox.pop_front() else { return };
        self.inbox_bytes -= first.bytes;
        let (ruling, code) = match &checked {
            Checked::Forward(_) => (Ruling::Forwarded, None),
            Checked::Respond(_, None) => (Ruling::Answered, None),
            Checked::Ignore(None) | Checked::Hold | Checked::Needs(_) => (Ruling::Ignored, None),
            Checked::Respond(_, code) | Checked::Ignore(code) => (Ruling::Refused, *code),
        };
        self.context.counters.frame(first.frame.command(), ruling);
        self.audit.frame(&first.frame, ruling, code);
        match checked {
            Checked::Forward(text) => self.to_upstream.push(Message::text(text)),
            Checked::Respond(text, _) => self.to_client.push(Message::text(text)),
            Checked::Ignore(_) | Checked::Hold | Checked::Needs(_) => {}
        }
    }

    /// Checks that the token is still valid.
    fn check_live(&self) -> Result<(), End> {
        let live = self.context.guard.authenticator.check_live(self.state.token());
        live.map_err(|refusal| End::Close(Close::of(refusal.code())))
    }

    /// Writes what waits, as far as both sockets take it.
    fn write(&mut self, now: Instant, task: &mut task::Context<'_>) -> Result<(), End> {
        if let Poll::Ready(Err(error)) = self.to_client.poll_write(&mut self.client, now, task) {
            return Err(error.into());
        }
        let (messages, bytes) = (self.to_client.len(), self.to_client.bytes());
        if messages > OUTBOX_MESSAGES || (bytes > OUTBOX_BYTES && messages > 1) {
            return Err(End::Slow);
        }
        if let Poll::Ready(Err(_)) = self.to_upstream.poll_write(&mut self.upstream, now, task) {
            return Err(End::UpstreamLost);
        }
        Ok(())
    }

    /// Waits for the next deadline, and does what is due. False if something was done, so that there may be more to do.
    fn wait(&mut self, now: Instant, task: &mut task::Context<'_>) -> Result<bool, End> {
        let rules = &self.context.rules;
        if is_over(self.to_client.blocked_since(), rules.write_timeout, now) {
            return Err(End::Slow);
        }
        if is_over(self.to_upstream.blocked_since(), rules.write_timeout, now) {
            return Err(End::UpstreamLost);
        }
        let unfinished = self.received.large.is_some().then_some(self.received.at);
        if is_over(unfinished, rules.body_timeout, now) {
            return Err(End::Close(Close::of(Code::RequestTimeout)));
        }
        let held_since = self.inbox.front().and_then(|first| first.held_since);
        if !self.may_decide && is_over(held_since, HOLD, now) {
            self.may_decide = true;
            return Ok(false);
        }
        if now >= self.next_ping {
            self.ping(now)?;
            return Ok(false);
        }
        let deadlines = [
            self.to_client.blocked_since().map(|since| since + rules.write_timeout),
            self.to_upstream.blocked_since().map(|since| since + rules.write_timeout),
            unfinished.map(|since| since + rules.body_timeout),
            held_since.filter(|_| !self.may_decide).map(|since| since + HOLD),
        ];
        let next = deadlines.into_iter().flatten().fold(self.next_ping, Instant::min);
        if self.timer.deadline() != next {
            self.timer.as_mut().reset(next);
        }
        Ok(self.timer.poll_unpin(task).is_pending())
    }

    /// Pings both sides, unless one has been silent for too long.
    fn ping(&mut self, now: Instant) -> Result<(), End> {
        let interval = self.context.rules.ping_interval;
        self.next_ping = now + interval;
        self.check_live()?;
        if now.duration_since(self.received.at) > interval * SILENT_PINGS {
            return Err(End::Lost);
        }
        if now.duration_since(self.upstream_heard) > interval * SILENT_PINGS {
            return Err(End::UpstreamLost);
        }
        for outbox in [&mut self.to_client, &mut self.to_upstream] {
            // One that waits already says that the socket is blocked.
            if outbox.is_empty() {
                outbox.push(Message::Ping(Bytes::new()));
            }
        }
        Ok(())
    }
}

fn is_over(since: Option<Instant>, limit: Duration, now: Instant) -> bool {
    since.is_some_and(|since| now >= since + limit)
}
