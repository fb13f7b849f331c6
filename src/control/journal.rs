//! The journal of a namespace: list it, wait for entries, watch it, clear it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, RawQuery},
    routing::get,
};
use futures_util::stream;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use tokio::time::{Instant, timeout, timeout_at};

use super::{ControlState, caller::Ns, error::ControlResult};
use crate::{
    error::{ApiError, Code},
    journal::{Entry, Event, Filter, FrameView, Journal, Listener, Listing},
    request::input::Query,
};

/// The longest time that a call waits for entries.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// How often a listener is told that the server is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) fn routes() -> Router<Arc<ControlState>> {
    Router::new()
        .route("/ns/{ns}/journal", get(list).delete(clear))
        .route("/ns/{ns}/journal/{id}", get(show))
        .route("/ns/{ns}/journal/{id}/frames", get(frames))
        .route("/ns/{ns}/events", get(events))
}

/// Entries, and whether all of them were there in time.
#[derive(Serialize)]
struct Page {
    #[serde(flatten)]
    listing: Listing,
    timed_out: bool,
}

async fn list(Ns(namespace): Ns, RawQuery(query): RawQuery) -> ControlResult<Json<Page>> {
    let journal = namespace.journal();
    let ListQuery { filter, after, limit, wait, count } = ListQuery::parse(query.as_deref())?;
    let limit = limit.unwrap_or(journal.bounds().entries);
    let deadline = Instant::now() + wait.unwrap_or_default();
    let mut changes = journal.changes();
    let closed = journal.closed();
    let mut closed = std::pin::pin!(closed);
    loop {
        changes.mark_unchanged();
        let listing = journal.list(&filter, after, limit);
        if wait.is_none() || listing.entries.len() >= count {
            return Ok(Json(Page { listing, timed_out: false }));
        }
        tokio::select! {
            in_time = timeout_at(deadline, changes.changed()) => if in_time.is_err() {
                return Ok(Json(Page { listing: journal.list(&filter, after, limit), timed_out: true }));
            },
            () = &mut closed => return Err(crate::namespaces::not_found(namespace.name()).into()),
        }
    }
}

async fn show(Ns(namespace): Ns, Path((_, id)): Path<(String, String)>) -> ControlResult<Json<Entry>> {
    let entry = read_id(&id).and_then(|id| namespace.journal().get(id));
    Ok(Json(entry.ok_or_else(|| entry_not_found(&id))?))
}

async fn frames(Ns(namespace): Ns, Path((_, id)): Path<(String, String)>) -> ControlResult<Json<Vec<FrameView>>> {
    let frames = read_id(&id).and_then(|id| namespace.journal().frames(id));
    Ok(Json(frames.ok_or_else(|| entry_not_found(&id))?))
}

async fn clear(Ns(namespace): Ns) -> ControlResult<StatusCode> {
    namespace.journal().clear();
    Ok(StatusCode::NO_CONTENT)
}

/// An event for each new or changed entry, as it is when the event is sent. With `after`, the entries above it come first.
async fn events(Ns(namespace): Ns, RawQuery(query): RawQuery) -> ControlResult<Response<Body>> {
    let journal = namespace.journal();
    let EventQuery { filter, after } = EventQuery::parse(query.as_deref())?;
    let listener = journal.listen().ok_or_else(|| {
        let most = journal.bounds().listeners;
        ApiError::new(Code::RateLimited, format!("A namespace has at most {most} listeners at a time; close one."))
    })?;
    // Begun after the listener, so that nothing is missed in between.
    let mut begin = String::from(": listening\n\n");
    if let Some(after) = after {
        for entry in journal.list(&filter, after, usize::MAX).entries {
            begin.push_str(&entry_event(&entry));
        }
    }
    let listening = Listening { listener, filter, journal: journal.clone(), begin: Some(begin) };
    let events = stream::unfold(listening, async |mut listening| {
        let event = listening.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(event)), listening))
    });
    let mut response = Response::new(Body::from_stream(events));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// One who listens to events.
struct Listening {
    listener: Listener,
    filter: Filter,
    journal: Journal,
    begin: Option<String>,
}

impl Listening {
    /// The next event as text; `None` once the namespace is gone.
    async fn next(&mut self) -> Option<String> {
        if let Some(begin) = self.begin.take() {
            return Some(begin);
        }
        tokio::select! {
            biased;
            () = self.journal.closed() => None,
            event = timeout(KEEP_ALIVE, self.listener.next(&self.filter)) => Some(match event {
                Ok(Event::Entry(entry)) => entry_event(&entry),
                Ok(Event::Lagged(missed)) => format!("event: lagged\ndata: {{\"missed\":{missed}}}\n\n"),
                Err(_) => ": keepalive\n\n".into(),
            }),
        }
    }
}

fn entry_event(entry: &Entry) -> String {
    // Serializing to text cannot fail: no map has other keys than strings.
    let data = serde_json::to_string(entry).unwrap_or_default();
    format!("event: entry\nid: {}\ndata: {data}\n\n", entry.id)
}

/// The parameters of a list.
#[derive(Debug, Default)]
struct ListQuery {
    filter: Filter,
    after: u64,
    limit: Option<usize>,
    wait: Option<Duration>,
    count: usize,
}

impl ListQuery {
    fn parse(query: Option<&str>) -> Result<Self, ApiError> {
        let mut read = Self { count: 1, ..Self::default() };
        each(query, |name, value| {
            match name {
                "after" => read.after = cursor(value)?,
                "limit" => read.limit = Some(number(value)?),
                "count" => read.count = number(value)?,
                "wait" => read.wait = Some(duration(value)?),
                _ => return read.filter.add(name, value),
            }
            Ok(true)
        })?;
        let limit = read.limit.unwrap_or(MOST_ENTRIES);
        if read.wait.is_some() && read.count > limit {
            return Err(invalid("count", "must not be greater than limit"));
        }
        Ok(read)
    }
}

/// The parameters of a stream of events.
#[derive(Debug, Default)]
struct EventQuery {
    filter: Filter,
    after: Option<u64>,
}

impl EventQuery {
    fn parse(query: Option<&str>) -> Result<Self, ApiError> {
        let mut read = Self::default();
        each(query, |name, value| {
            if name == "after" {
                read.after = Some(cursor(value)?);
                return Ok(true);
            }
            read.filter.add(name, value)
        })?;
        Ok(read)
    }
}

/// Reads every parameter once. `read` returns whether there is such a parameter, or what its value must be.
pub(super) fn each(
    query: Option<&str>,
    mut read: impl FnMut(&str, &str) -> Result<bool, String>,
) -> Result<(), ApiError> {
    let query = Query::parse(query);
    for (name, value) in query.pairs() {
        query.check_once(name)?;
        match read(name, value) {
            Ok(true) => {}
            Ok(false) => return Err(invalid(name, "is not a parameter of this call")),
            Err(rule) => return Err(invalid(name, &rule)),
        }
    }
    Ok(())
}

fn invalid(name: &str, rule: &str) -> ApiError {
    let name: String = name.chars().take(64).collect();
    ApiError::new(Code::InvalidRequest, format!("The parameter {name} {rule}.")).at(format!("query {name}"))
}

fn cursor(value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| "must be a cursor: the `next` of an earlier list, or the id of an entry".to_owned())
}

/// How many entries a call may ask for.
const MOST_ENTRIES: usize = crate::journal::BOUNDS.entries;

fn number(value: &str) -> Result<usize, String> {
    let number = value.parse().ok().filter(|number| (1..=MOST_ENTRIES).contains(number));
    number.ok_or_else(|| format!("must be a number from 1 to {MOST_ENTRIES}"))
}

fn duration(value: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(value).ok().filter(|duration| *duration <= LONGEST_WAIT);
    duration.ok_or_else(|| "must be a duration such as 2s or 500ms, at most 60s".to_owned())
}

fn read_id(id: &str) -> Option<u64> {
    id.parse().ok()
}

fn entry_not_found(id: &str) -> ApiError {
    let id: String = id.chars().take(32).collect();
    let sentence = format!(
        "The journal has no entry {id:?}: it may have been cleared, or dropped since the journal keeps only the latest \
         entries."
    );
    ApiError::new(Code::EntryNotFound, sentence).without_retry()
}
