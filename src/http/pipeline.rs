//! What happens to every request: CORS, the guard, the response, the log line.

use std::{
    mem,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::Either};
use http::{HeaderName, HeaderValue, Response, StatusCode, header, request::Parts};
use http_body::{Frame, SizeHint};
use serde_json::Value;
use tracing::error;

use super::{
    AccessLog, Activity, App, Namespace, cors,
    faulted::{self, Hit},
    framing, health,
    lifeline::{self, ResponseLifetime, StreamResources},
    record,
};
use crate::{
    access::{Admission, Admitted, Call, Caller, Charge, Guard, Redactor, RequestContext, ServedBy, denial::Denial},
    clock,
    credentials::ClientToken,
    error::{ApiError, Code},
    journal::{Recording, SeenPreflight},
    openai,
    reply::Reply,
    request::{
        body::{Body, BodyError},
        waits,
    },
    telemetry::{
        access_log::Line,
        metrics::{Metrics, RequestSample},
        request_id::RequestId,
    },
    world::{self, World},
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Handles any request to a Letta path.
pub(super) async fn handle(
    app: &App,
    log: &AccessLog,
    head: Parts,
    mut body: Body,
    namespace: Option<Namespace<'_>>,
) -> (Response<Body>, Option<ResponseLifetime>) {
    let started = Instant::now();
    let request_id = RequestId::new();
    let method = head.method.clone();
    let origin = cors::origin(&head.headers).cloned();
    let journal = app.journal.as_ref().filter(|_| namespace.as_ref().is_none_or(|namespace| namespace.is_recorded));
    let (mut context, recording, preflight) = match journal {
        None => (RequestContext::default(), None, None),
        Some(journal) => match SeenPreflight::of(&head) {
            Some(preflight) => (RequestContext::default(), None, Some((preflight, journal))),
            None => {
                let recording = record::begin(app, journal, &head, &request_id);
                body = recording.attach(body);
                (RequestContext::with_steps(), Some(recording), None)
            }
        },
    };
    let (selected, namespace) = match namespace {
        Some(Namespace { app, selected, .. }) => (selected, Some(Arc::clone(app))),
        None => (Ok(()), None),
    };
    let (mut hit, version): (Hit, _) = (None, head.version);
    let (outcome, waits) = {
        let respond = async {
            selected.map_err(|refusal| context.refuse("namespace", || sent_namespace(&head), refusal))?;
            let outcome = app.respond_recorded(head, body, &mut context, recording.as_ref(), &mut hit).await;
            match &hit {
                None => outcome,
                Some(chosen) => Box::pin(faulted::finish(chosen, outcome)).await,
            }
        };
        let respond = match &app.world {
            Some(world) => Either::Left(within(world, respond)),
            None => Either::Right(respond),
        };
        let respond = pin!(AssertUnwindSafe(respond).catch_unwind());
        waits::measure(respond, app.metrics.is_some()).await
    };
    let outcome = outcome.unwrap_or_else(|_| Err(ApiError::internal("a handler panicked")));
    if let (Some(recording), Err(refusal)) = (&recording, &outcome) {
        recording.refused(record::decided(&mut context, &[]), refusal);
    }
    let refusal = outcome.as_ref().err().filter(|_| recording.is_some()).map(ApiError::without_cause);
    let ((mut response, token), code) = match outcome {
        Ok(response) => (response, None),
        Err(refusal) => {
            if let Some(cause) = refusal.cause() {
                error!(request.id = %request_id, code = refusal.code().word(), cause = %Chain(cause), "A request failed");
            }
            ((error_response(&refusal, &request_id, context.speaks_openai), None), Some(refusal.code()))
        }
    };
    let headers = response.headers_mut();
    if let Some(allowance) = context.allowance {
        allowance.set_headers(headers);
    }
    cors::expose(origin, recording.is_some(), headers);
    if let Some(value) = request_id.header() {
        headers.insert(REQUEST_ID, value);
    }
    let is_silent = hit.as_ref().is_some_and(|chosen| chosen.is_silent());
    if let Some(chosen) = hit {
        let is_stream = is_stream(&response);
        response = faulted::apply(*chosen, app, response, version, is_stream, token.as_ref());
    }
    if let Some(world) = &app.world {
        response = of_world(world, response);
    }
    if let Some(recording) = recording {
        if is_silent {
            recording.stay_silent();
        } else {
            let is_stream = is_stream(&response);
            let broken_off = record::broken_off(token.as_ref(), namespace.as_ref());
            response = recording.respond(response, refusal.as_ref(), is_stream, broken_off);
        }
    }
    let (status, duration) = (response.status(), started.elapsed());
    if let Some((preflight, journal)) = preflight {
        journal.process().note_preflight(preflight, status);
    }
    if let (Some(metrics), Some(waits)) = (&app.metrics, waits) {
        let RequestContext { operation, remembered, .. } = &context;
        let (operation, remembered) = (*operation, *remembered);
        metrics.count(&RequestSample { operation, status, code, remembered, duration, waits });
    }
    log.write(&Line { request_id: &request_id, method: &method, context: &context, status, code, duration });
    let lifetime = (token.is_some() || namespace.is_some()).then_some(ResponseLifetime { token, namespace });
    (response, lifetime)
}

/// Runs a request within its world, until the world ends.
async fn within<T>(world: &World, respond: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
    let ended = world.ended();
    tokio::select! {
        biased;
        () = ended => {
            let sentence = "The namespace was reset, restored or deleted while it handled this request.";
            Err(ApiError::new(Code::NamespaceEnded, sentence).without_retry())
        }
        outcome = world.enter(respond) => outcome,
    }
}

/// A response as it leaves a world: with its date, and a body that is made within it.
fn of_world(world: &World, response: Response<Body>) -> Response<Body> {
    let mut response = match response.body() {
        Body::Empty | Body::Whole(_) => response,
        _ => response.map(|body| Body::new(WorldBody { world: world.clone(), body })),
    };
    if !world.is_real_time()
        && let Ok(date) = HeaderValue::from_str(&clock::format_http_date(world.now()))
    {
        response.headers_mut().insert(header::DATE, date);
    }
    response
}

/// A body that is made while it is sent, and reads the clock.
struct WorldBody {
    world: World,
    body: Body,
}

impl http_body::Body for WorldBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self { world, body } = self.get_mut();
        match world.enter_sync(|| Pin::new(body).poll_frame(context)) {
            // What makes the body was dropped with the world: a clean end would look as if the body were whole.
            Poll::Ready(None) if world.has_ended() => Poll::Ready(Some(Err("the namespace has ended".into()))),
            polled => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl App {
    /// Decides about a request and responds to it. With the response comes the client token that it belongs to.
    ///
    /// # Errors
    /// The refusal, or the failure.
    pub(crate) async fn respond(
        &self,
        head: Parts,
        body: Body,
        context: &mut RequestContext,
    ) -> Result<(Response<Body>, Option<Arc<ClientToken>>), ApiError> {
        self.respond_recorded(head, body, context, None, &mut None).await
    }

    async fn respond_recorded(
        &self,
        mut head: Parts,
        body: Body,
        context: &mut RequestContext,
        recording: Option<&Recording>,
        hit: &mut Hit,
    ) -> Result<(Response<Body>, Option<Arc<ClientToken>>), ApiError> {
        let head_fits = self.head_limits.check(&head);
        let is_unambiguous = head_fits.and_then(|()| framing::check(&head.uri, head.version, &head.headers));
        is_unambiguous.map_err(|refusal| context.refuse("head", || size_of_head(&head), refusal))?;
        // A preflight has no bearer and reveals nothing; only its path is checked.
        if let Some(preflight) = cors::preflight(&head.method, &head.headers, self.from_public) {
            Guard::check_path(&head)?;
            return Ok((preflight, None));
        }
        let version = head.version;
        // Only the requests that the journal records are hit: not those of a seed.
        let faults = self.faults.as_ref().filter(|faults| !faults.is_empty());
        let faults = faults.and_then(|faults| Some(((faults, self.world.as_ref()?), recording?)));
        if let Some((faults, recording)) = faults
            && faults.0.act_before_guard()
        {
            *hit = Box::pin(faulted::before_guard(self, faults, recording, &head, context)).await?;
        }
        let admitted = match self.guard.admit(&mut head, body, &self.backend, context).await? {
            Admission::Public => {
                if let Some(recording) = recording {
                    recording.admitted(record::decided(context, &[]));
                }
                return Ok((json_response(StatusCode::OK, &health::letta())?, None));
            }
            Admission::Call(admitted) => admitted,
        };
        // The permit for a large body is held until there is a response.
        let Admitted { mut call, redactor, stream_permit, body_permit: _body_permit } = admitted;
        call.attempt = recording.map(Recording::attempt);
        let served_by = call.operation.row().served_by;
        world::name_scope(|| id_scope(&call));
        let token = match call.permit.caller() {
            Caller::ClientToken(token) => Some(Arc::clone(token)),
            Caller::ApiKey { .. } => None,
        };
        let quotas = &self.guard.quotas;
        let mut charge = match &token {
            Some(token) => quotas.charge_response(token, version),
            None => Charge::uncounted(),
        };
        charge.check().map_err(|denial| {
            context.refuse("responses", || "unread responses to this token take all that they may".into(), denial)
        })?;
        if let Some(recording) = recording {
            recording.admitted(record::decided(context, &call.agents));
        }
        if let (Some((faults, recording)), None) = (faults, &hit) {
            *hit = Box::pin(faulted::admitted(self, faults, recording, &mut call)).await?;
            if let Some(chosen) = hit {
                faulted::check_store(chosen)?;
                if let Some(instead) = chosen.instead_of_handler() {
                    return instead.map(|response| (response, token));
                }
            }
        }
        let reply = match served_by {
            // Rare and large: boxed, so that the futures of other requests do not grow by its size.
            ServedBy::Gatelet => {
                let reply = Box::pin(self.tokens.respond(call)).await?;
                if let (Some(recording), Reply::Json(_, created)) = (recording, &reply) {
                    record::expiry(recording, created);
                }
                reply
            }
            ServedBy::OpenAi if token.is_some() => {
                let chat = self.backend.chat();
                Box::pin(self.openai.respond(call, chat, &mut charge)).await?
            }
            ServedBy::OpenAi | ServedBy::Backend => {
                self.backend.respond(call, redactor.redaction(), &mut charge).await?
            }
        };
        let mut response = redacted(reply, &redactor)?;
        // A token that was revoked in the meantime gets no response.
        if token.as_ref().is_some_and(|token| self.feed.is_revoked(token)) {
            if let Some(recording) = recording {
                recording.revoked("bearer", "client token: no. It was revoked while the request was handled.");
            }
            return Err(Denial::TokenRevoked.into());
        }
        if let Body::Whole(bytes) = response.body_mut() {
            *bytes = charge.attach(mem::take(bytes))?;
        }
        if is_stream(&response) {
            // The operation may not be one that streams, and so have no permit yet.
            let stream_permit = match (&token, stream_permit) {
                (Some(token), None) => quotas.open_stream(token)?,
                (_, permit) => permit,
            };
            let open = self.metrics.as_ref().map(Metrics::open_stream);
            let active = self.activity.as_ref().map(Activity::open_stream);
            response = response.map(|body| lifeline::attach(body, StreamResources { stream_permit, open, active }));
        }
        if served_by == ServedBy::Gatelet {
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        Ok((response, token))
    }
}

/// The namespace that a request names, for a step.
fn sent_namespace(head: &Parts) -> String {
    match head.headers.get("x-gatelet-namespace") {
        Some(name) => format!("sent x-gatelet-namespace: {}", name.to_str().unwrap_or("?")),
        None => "sent no x-gatelet-namespace".into(),
    }
}

/// How large the head of a request is, for a step.
fn size_of_head(head: &Parts) -> String {
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let fields: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    format!("sent {target} bytes of path and query, {} header fields of {fields} bytes", head.headers.len())
}

/// What the ids that a call draws belong to: the operation, and what its path names.
fn id_scope(call: &Call) -> String {
    call.params.iter().fold(call.operation.to_string(), |scope, (_, value)| scope + " " + value)
}

/// The response to a call, without what its caller must not see.
fn redacted(reply: Reply, redactor: &Redactor) -> Result<Response<Body>, ApiError> {
    Ok(match reply {
        Reply::Json(status, mut value) => {
            redactor.apply(status, &mut value);
            json_response(status, &value)?
        }
        Reply::Written(status, json) => {
            text_response(status, redactor.apply_to_written(status, json).map_err(ApiError::internal)?)
        }
        Reply::Empty(status) => empty_response(status),
        Reply::Events(body) => event_response(redactor.apply_in_passing(body)),
        Reply::Passed(response) => response.map(|body| redactor.apply_in_passing(body)),
        Reply::Rewritten(head, mut value) => {
            redactor.apply(head.status, &mut value);
            let mut response = json_response(head.status, &value)?;
            for (name, value) in &head.headers {
                response.headers_mut().entry(name).or_insert_with(|| value.clone());
            }
            response
        }
    })
}

const EVENTS: &[u8] = b"text/event-stream";

/// Whether a response is a stream of events.
fn is_stream(response: &Response<Body>) -> bool {
    let media_type = response.headers().get(header::CONTENT_TYPE);
    let essence = media_type.and_then(|value| value.as_bytes().get(..EVENTS.len()));
    essence.is_some_and(|essence| essence.eq_ignore_ascii_case(EVENTS))
}

fn json_response(status: StatusCode, value: &Value) -> Result<Response<Body>, ApiError> {
    Ok(text_response(status, serde_json::to_vec(value).map_err(ApiError::internal)?))
}

/// About how many headers a response to a client token has, so that the map does not grow twice.
const HEADERS: usize = 8;

/// The unused capacity that a response may keep, in bytes.
const MOST_SPARE: usize = 16 * 1024;

fn text_response(status: StatusCode, mut json: Vec<u8>) -> Response<Body> {
    // A response may wait in memory for a slow client.
    if json.capacity() - json.len() > MOST_SPARE {
        json.shrink_to_fit();
    }
    let mut response = Response::new(Body::from(json));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(HEADERS);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn empty_response(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response
}

fn event_response(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Otherwise nginx buffers events.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// The response to a refused request. On the paths of the `OpenAI` API its errors are added to Letta's: clients of either
/// may call them.
fn error_response(refusal: &ApiError, request_id: &RequestId, speaks_openai: bool) -> Response<Body> {
    let mut body = refusal.to_body(request_id.as_str());
    if speaks_openai {
        body["error"] = openai::error_object(refusal);
    }
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = refusal.status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in refusal.headers() {
        headers.insert(name, value.clone());
    }
    response
}

/// An error with all of its causes.
struct Chain<'a>(&'a (dyn std::error::Error + Send + Sync));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}
