//! Records one request while it is handled.

use std::{
    collections::BTreeMap,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderName, HeaderValue, Response, header, request::Parts};
use http_body::{Body as _, Frame, SizeHint};
use serde_json::Value;

use super::{
    entry::{Answer, By, CallerKind, Decision, Ended, Entry, Identified, Phase, Sent},
    frames::Splitter,
    link::Mark,
    process::{self, lock},
    retries,
    ring::{Held, Journal},
    scrub, turn,
};
use crate::{
    access::{
        Attempt, Bearer, Operation, Outcome, Params, Step,
        target::{self, Match},
    },
    clock,
    error::ApiError,
    model::{AccessSet, AgentId},
    request::{
        body::{Body, BodyError, Tap},
        input::Query,
    },
};

/// The response's header that names the entry, as `NAMESPACE/ID`.
const ENTRY: HeaderName = HeaderName::from_static("x-gatelet-entry");

/// The response's header that says whether the SDKs should try again.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// The request headers that are kept, besides those of which only the prefix is given, `Origin` and `Referer`.
const KEPT_HEADERS: [HeaderName; 4] =
    [header::CONTENT_TYPE, header::ACCEPT, header::USER_AGENT, HeaderName::from_static("idempotency-key")];
const KEPT_PREFIXES: [&str; 3] = ["x-stainless-", "x-project", "x-gatelet-namespace"];
/// How many request headers are kept, and how many bytes of each.
const MOST_HEADERS: usize = 32;
const MOST_HEADER: usize = 512;

/// How long a client is to wait before it tries again (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return seconds.checked_mul(1_000);
    }
    let until = DateTime::parse_from_rfc2822(value).ok()?;
    u64::try_from((until.to_utc() - clock::real_now()).num_milliseconds()).ok()
}

/// Records one request. When it is dropped before the response has ended, the response was broken off.
#[derive(Debug)]
pub(crate) struct Recording {
    journal: Journal,
    held: Arc<Held>,
    is_finished: bool,
}

/// Notes in an entry what a fault does.
#[derive(Clone, Debug)]
pub(crate) struct FaultNote {
    journal: Journal,
    held: Arc<Held>,
}

/// Whether the server has broken off a response, and how.
pub(crate) type BrokenOff = Box<dyn Fn() -> Option<Ended> + Send>;

/// What the guard's decision tells about a request.
#[derive(Debug, Default)]
pub(crate) struct Decided {
    /// The operation.
    pub(crate) operation: Option<Operation>,
    /// The caller, if its bearer is genuine.
    pub(crate) caller: Option<Bearer>,
    /// The steps.
    pub(crate) steps: Vec<Step>,
    /// The agents that the guard found.
    pub(crate) agents: Vec<Box<str>>,
    /// The fields and parameters that it dropped.
    pub(crate) dropped_fields: Vec<String>,
    /// The access that a client token needed, by agent.
    pub(crate) needed: Vec<(AgentId, AccessSet)>,
}

impl Journal {
    /// Begins to record a request whose head has arrived, at `at` by the namespace's clock if that is another.
    pub(crate) fn begin(&self, head: &Parts, request_id: &str, at: Option<DateTime<Utc>>) -> Recording {
        let real_at = clock::real_now();
        let target = process::target(head);
        let mut entry = Entry {
            at: at.unwrap_or(real_at),
            real_at,
            namespace: self.namespace().into(),
            request_id: request_id.into(),
            method: scrub::text(head.method.as_str()).into(),
            sent: sent(&head.headers),
            ..Entry::default()
        };
        if let Some((operation, params)) = operation(head) {
            entry.operation = Some(operation);
            self.name_params(&mut entry, &params);
        }
        if let Some(query) = head.uri.query().filter(|query| query.contains("agent_id")) {
            for agent in Query::parse(Some(query)).all("agent_id") {
                self.name_agent(&mut entry, agent);
            }
        }
        if let Some(origin) = &entry.sent.origin {
            entry.preflight = self.0.process.take_preflight(origin, &entry.method, &target);
        }
        // To delete a token, its text is in the path.
        let names_token = entry.operation == Some(Operation::DeleteClientSideAccessToken);
        let sent_target = head.uri.path_and_query().map_or("", |target| target.as_str());
        entry.sent.has_credential_in_target = !names_token && scrub::has_credential(sent_target);
        entry.target = target.into();
        Recording { journal: self.clone(), held: self.add(entry), is_finished: false }
    }

    /// Names the refs of path parameters, and the agent.
    fn name_params(&self, entry: &mut Entry, params: &Params) {
        for (name, value) in params.iter() {
            if name == "agent_id" {
                self.name_agent(entry, value);
            } else if let Some(of_seed) = self.ref_of(value) {
                entry.refs.insert(name.strip_suffix("_id").unwrap_or(name), of_seed);
            }
        }
    }

    fn name_agent(&self, entry: &mut Entry, agent: &str) {
        let agent = scrub::text(agent);
        if entry.agents.iter().any(|named| **named == *agent) {
            return;
        }
        if let Some(of_seed) = self.ref_of(&agent) {
            entry.refs.entry("agent").or_insert(of_seed);
        }
        entry.agents.push(agent.into());
    }
}

fn operation(head: &Parts) -> Option<(Operation, Params)> {
    match target::find(&head.method, &target::segments(&head.uri, head.version).ok()?) {
        Match::Operation(operation, params) => Some((operation, params)),
        Match::MethodNotAllowed(_) | Match::NotFound => None,
    }
}

/// Whether a header, by its name in lower case, is kept as it was sent.
fn is_kept(name: &str) -> bool {
    KEPT_HEADERS.iter().any(|kept| kept == name) || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Checks that entries have a header, if it was sent.
///
/// # Errors
/// Which headers they have.
pub(crate) fn check_header(name: &str) -> Result<(), String> {
    if is_kept(name) || name == header::REFERER {
        return Ok(());
    }
    let kept = KEPT_HEADERS.map(|name| name.to_string());
    let begin: Vec<String> = KEPT_PREFIXES.iter().map(|prefix| format!("{prefix}*")).collect();
    Err(format!("is not a header that the journal keeps: those are referer, {}, {}", kept.join(", "), begin.join(", ")))
}

fn sent(headers: &HeaderMap) -> Sent {
    let text = |value: &HeaderValue| {
        let value = String::from_utf8_lossy(value.as_bytes());
        let clean = scrub::text(&value);
        Box::<str>::from(&clean[..clean.floor_char_boundary(MOST_HEADER)])
    };
    let mut kept = BTreeMap::new();
    for (name, value) in headers {
        if is_kept(name.as_str()) && kept.len() < MOST_HEADERS {
            kept.insert(scrub::text(name.as_str()).into(), text(value));
        }
    }
    let referer = headers.get(header::REFERER).and_then(|referer| url::Url::parse(referer.to_str().ok()?).ok());
    if let Some(referer) = referer {
        kept.insert("referer".into(), referer.origin().ascii_serialization().into());
    }
    Sent { origin: headers.get(header::ORIGIN).map(text), headers: kept, ..Sent::default() }
}

impl Entry {
    /// The caller as it is shown.
    fn identify(&self, bearer: Option<Bearer>) -> Identified {
        match bearer {
            None => Identified::default(),
            Some(Bearer::ApiKey(key)) => {
                Identified { kind: CallerKind::ApiKey, key: Some(key.id.clone()), ..Identified::default() }
            }
            Some(Bearer::ClientToken(token)) => Identified {
                kind: CallerKind::ClientToken,
                jti: Some(token.id.to_string().into()),
                key: Some(token.key_id.clone()),
                origin_bound: Some(token.origin.clone()),
                expires_in_ms: Some(token.expires_at - self.at.timestamp_millis()),
                token: Some(token),
            },
        }
    }
}

impl FaultNote {
    /// Replaces what is noted.
    pub(crate) fn set(&self, fault: Value) {
        self.journal.change(&self.held, |entry| entry.fault = Some(fault));
    }
}

impl Recording {
    /// The entry as far as it is written, under its lock.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Entry) -> T) -> T {
        read(&lock(&self.held.entry))
    }

    /// Records an agent that the request concerns.
    pub(crate) fn name_agent(&self, agent: &str) {
        self.journal.change(&self.held, |entry| self.journal.name_agent(entry, agent));
    }

    /// Notes what a fault does to the request.
    pub(crate) fn fault_note(&self) -> FaultNote {
        FaultNote { journal: self.journal.clone(), held: Arc::clone(&self.held) }
    }

    /// Records that the request gets no response at all.
    pub(crate) fn stay_silent(mut self) {
        self.finish(Ended::Cut, By::Server);
    }

    /// Records the body as it is read.
    pub(crate) fn attach(&self, body: Body) -> Body {
        if body.is_end_stream() {
            self.journal.body_is_known(&self.held, Mark { whole: Some((0, 0)), otids: Vec::new() });
            return body;
        }
        let tap = BodyTap {
            journal: self.journal.clone(),
            held: Arc::clone(&self.held),
            bytes: Vec::new(),
            length: 0,
            checksum: crc32fast::Hasher::new(),
            is_whole: false,
            is_done: false,
        };
        body.with_tap(Box::new(tap))
    }

    /// Records that the guard has admitted the request.
    pub(crate) fn admitted(&self, decided: Decided) {
        self.decided(decided, Outcome::Admitted);
    }

    /// Records that the request was refused, if that is the decision; what an admitted request gets is none.
    pub(crate) fn refused(&self, mut decided: Decided, refusal: &ApiError) {
        if lock(&self.held.entry).decision.outcome.is_some() {
            return;
        }
        // Some checks belong to no step of the guard.
        if !decided.steps.last().is_some_and(|step| step.said.ends_with(refusal.message())) {
            decided.steps.push(Step::new("request", format!("no. {}", refusal.message())));
        }
        self.decided(decided, Outcome::Denied);
    }

    /// Records that an admitted request was refused after all, before anything of its response was sent.
    pub(crate) fn revoked(&self, asked: &'static str, said: &str) {
        self.journal.change(&self.held, |entry| {
            entry.decision.outcome = Some(Outcome::Denied);
            entry.decision.steps.push(Step::new(asked, said.to_owned()));
        });
    }

    /// Records something that a handler found out.
    pub(crate) fn note(&self, asked: &'static str, said: String) {
        self.journal.change(&self.held, |entry| entry.decision.steps.push(Step::new(asked, said)));
    }

    /// The request as handlers see it.
    pub(crate) fn attempt(&self) -> Arc<dyn Attempt> {
        Arc::new(Recorded { journal: self.journal.clone(), held: Arc::clone(&self.held) })
    }

    fn decided(&self, decided: Decided, outcome: Outcome) {
        let Decided { operation, caller, steps, agents, dropped_fields, needed } = decided;
        let caller = lock(&self.held.entry).identify(caller);
        self.journal.change(&self.held, |entry| {
            entry.phase = Phase::Decided;
            entry.operation = entry.operation.or(operation);
            if let Some(of_seed) = caller.jti.as_ref().and_then(|jti| self.journal.ref_of(jti)) {
                entry.refs.insert("token", of_seed);
            }
            entry.caller = caller;
            entry.decision = Decision { outcome: Some(outcome), steps, needed };
            for agent in &agents {
                self.journal.name_agent(entry, agent);
            }
            entry.sent.dropped_fields = dropped_fields;
        });
        self.journal.caller_is_known(&self.held);
    }

    /// Records a response, and its body while it is handed over. `broken_off` tells, when it ends early, whether the
    /// server broke it off, and how.
    pub(crate) fn respond(
        mut self,
        mut response: Response<Body>,
        refusal: Option<&ApiError>,
        is_stream: bool,
        broken_off: BrokenOff,
    ) -> Response<Body> {
        if let Ok(name) = HeaderValue::try_from(format!("{}/{}", self.journal.namespace(), self.held.id)) {
            response.headers_mut().insert(ENTRY, name);
        }
        lock(&self.held.link).is_final = response.headers().get(SHOULD_RETRY).is_some_and(|value| value == "false");
        let mut answer = Answer {
            status: Some(response.status().as_u16()),
            code: refusal.map(|refusal| refusal.code().word()),
            message: refusal.map(|refusal| scrub::text(refusal.message()).into()),
            retry_after_ms: retry_after(response.headers()),
            is_stream,
            ..Answer::default()
        };
        let whole = match response.body() {
            Body::Empty => Some(0),
            Body::Whole(bytes) => Some(bytes.len()),
            _ => None,
        };
        let ms = self.ms();
        if let Some(length) = whole {
            answer.bytes = length as u64;
            answer.first_byte_ms = (length > 0).then_some(ms);
            answer.ended = Some(Ended::Done);
            answer.by = Some(By::Server);
            answer.ended_ms = Some(ms);
            self.is_finished = true;
        }
        let operation = lock(&self.held.entry).operation.filter(|operation| turn::is_send(*operation));
        if let (Some(operation), Body::Whole(json)) = (operation, response.body()) {
            turn::note_whole(&mut answer, operation, json);
        }
        self.journal.change(&self.held, |entry| {
            entry.phase = if whole.is_some() { Phase::Finished } else { Phase::Answering };
            entry.answer = Some(answer);
        });
        if whole.is_some() {
            self.journal.observe_ended(&self.held);
            return response;
        }
        let splitter = is_stream.then(Splitter::default);
        response.map(|body| Body::new(RecordedBody { body, recording: self, splitter, broken_off }))
    }

    fn ms(&self) -> u64 {
        u64::try_from(self.held.arrived.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn hand_over(&self, bytes: &Bytes, splitter: Option<&mut Splitter>) {
        let (ms, mut frames) = (self.ms(), 0);
        let mut seen = Answer::default();
        if let Some(splitter) = splitter {
            splitter.push(bytes, |frame| {
                frames += 1;
                turn::note_frame(&mut seen, frame);
                self.journal.frame(&self.held, ms, frame);
            });
        }
        let mut entry = lock(&self.held.entry);
        let answer = entry.answer.get_or_insert_default();
        answer.run_id = answer.run_id.take().or(seen.run_id);
        answer.stop_reason = answer.stop_reason.take().or(seen.stop_reason);
        answer.has_error |= seen.has_error;
        answer.first_byte_ms.get_or_insert(ms);
        answer.bytes += bytes.len() as u64;
        answer.frames += frames;
    }

    fn finish(&mut self, ended: Ended, by: By) {
        if mem::replace(&mut self.is_finished, true) {
            return;
        }
        let ms = self.ms();
        self.journal.change(&self.held, |entry| {
            entry.phase = Phase::Finished;
            let answer = entry.answer.get_or_insert_default();
            (answer.ended, answer.by, answer.ended_ms) = (Some(ended), Some(by), Some(ms));
        });
        self.journal.observe_ended(&self.held);
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.finish(Ended::ClientLeft, By::Client);
    }
}

/// A request as handlers see it. It outlasts the response.
#[derive(Debug)]
struct Recorded {
    journal: Journal,
    held: Arc<Held>,
}

impl Attempt for Recorded {
    fn first(&self) -> u64 {
        lock(&self.held.link).first.unwrap_or(self.held.id)
    }

    fn note_reply(&self, mut reply: Value) {
        scrub::json(&mut reply);
        self.journal.change(&self.held, |entry| entry.reply = Some(reply));
    }
}

/// Copies the beginning of a request's body while it is read.
#[derive(Debug)]
struct BodyTap {
    journal: Journal,
    held: Arc<Held>,
    bytes: Vec<u8>,
    length: u64,
    checksum: crc32fast::Hasher,
    /// Whether it was read to its end.
    is_whole: bool,
    is_done: bool,
}

impl Tap for BodyTap {
    fn read(&mut self, bytes: &Bytes) {
        let room = self.journal.bounds().body - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..room.min(bytes.len())]);
        self.length += bytes.len() as u64;
        self.checksum.update(bytes);
    }

    fn end(&mut self) {
        self.is_whole = true;
        self.done();
    }
}

impl BodyTap {
    fn done(&mut self) {
        if mem::replace(&mut self.is_done, true) {
            return;
        }
        let bytes = mem::take(&mut self.bytes);
        let is_cut = !self.is_whole || self.length > bytes.len() as u64;
        let (body, value) = scrub::body(&bytes, is_cut);
        let otids = retries::otids(&value);
        self.journal.change(&self.held, |entry| {
            entry.sent.body_bytes = self.length;
            entry.sent.body_cut = is_cut && body.is_some();
            // What names an agent in the body.
            for agent in ["agent_id", "name"].iter().filter_map(|field| value.get(field)?.as_str()) {
                if entry.operation.is_some_and(|operation| operation.row().template.starts_with("/v1/agents/")) {
                    self.journal.name_agent(entry, agent);
                }
            }
            entry.sent.body = body;
        });
        let whole = self.is_whole.then(|| (self.length, self.checksum.clone().finalize()));
        self.journal.body_is_known(&self.held, Mark { whole, otids });
    }
}

impl Drop for BodyTap {
    fn drop(&mut self) {
        self.done();
    }
}

/// A response's body that is recorded while it is handed over.
struct RecordedBody {
    body: Body,
    recording: Recording,
    /// For a stream of events.
    splitter: Option<Splitter>,
    broken_off: BrokenOff,
}

impl http_body::Body for RecordedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let polled = ready!(Pin::new(&mut this.body).poll_frame(context));
        match &polled {
            Some(Ok(frame)) => {
                if let Some(bytes) = frame.data_ref() {
                    this.recording.hand_over(bytes, this.splitter.as_mut());
                }
                if this.body.is_end_stream() {
                    this.recording.finish(Ended::Done, By::Server);
                }
            }
            Some(Err(_)) => this.recording.finish(Ended::Cut, By::Server),
            None => this.recording.finish(Ended::Done, By::Server),
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for RecordedBody {
    fn drop(&mut self) {
        if !self.recording.is_finished
            && let Some(ended) = (self.broken_off)()
        {
            self.recording.finish(ended, By::Server);
        }
    }
}
