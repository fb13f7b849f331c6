//! Namespaces: create, show, list, reset, copy and delete them.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, State},
    routing::{get, post},
};
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value, json};

use super::{
    ControlState,
    caller::{Caller, Ns},
    clock,
    error::ControlResult,
    input::{Input, Raw, parse},
};
use crate::{
    credentials::PlainApiKey,
    error::{ApiError, Code},
    faults::SavedFaults,
    namespaces::{Created, Creation, IDLE_TTL, IfExists, Injected, Kept, LimitOverrides, Namespace, Refs, ResetTo},
    replies::SavedReplies,
    world::{ClockRequest, IdStyle},
};

/// The longest text from which ids are derived, in bytes.
const MOST_SEED_TEXT: usize = 256;

pub(super) fn routes() -> Router<Arc<ControlState>> {
    Router::new()
        .route("/ns", get(list).post(create))
        .route("/ns/{ns}", get(show).delete(delete))
        .route("/ns/{ns}/reset", post(reset))
        .route("/ns/{ns}/fork", post(fork))
}

/// A namespace to be created.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewNamespace {
    name: Option<String>,
    seed: Option<IgnoredAny>,
    ids: Option<String>,
    clock: Option<ClockRequest>,
    #[serde(default)]
    replies: Vec<Value>,
    #[serde(default)]
    faults: Vec<Value>,
    unmatched: Option<String>,
    #[serde(default)]
    limits: LimitOverrides,
    idle_ttl: Option<String>,
    #[serde(default)]
    if_exists: IfExists,
    api_key: Option<String>,
}

/// A copy to be made.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewFork {
    name: Option<String>,
    snapshot: Option<String>,
    idle_ttl: Option<String>,
    api_key: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResetRequest {
    #[serde(default)]
    to: ResetTo,
    #[serde(default)]
    keep: Vec<Kept>,
}

async fn create(
    State(control): State<Arc<ControlState>>,
    caller: Caller,
    headers: HeaderMap,
    body: Raw,
) -> ControlResult<(StatusCode, Json<Value>)> {
    caller.check_instance()?;
    let NewNamespace { name, seed, ids, clock, replies, faults, unmatched, limits, idle_ttl, if_exists, api_key } =
        parse(&body.bytes, body.format)?;
    let creation = Creation {
        name,
        ids: ids.map(id_style).transpose()?,
        clock,
        limits,
        idle_ttl: lifetime(idle_ttl.as_deref())?,
        seed: seed.map(|_| super::seed::read(&body, "/seed")).transpose()?,
        if_exists,
        injected: Injected {
            replies: SavedReplies::read(replies, unmatched.as_deref(), "/replies")?,
            faults: SavedFaults::read(faults, "/faults")?,
        },
        key: api_key.as_deref().map(test_key).transpose()?,
    };
    respond_created(&control.directory.create(creation).await?, &headers).await
}

async fn fork(
    State(control): State<Arc<ControlState>>,
    caller: Caller,
    Ns(source): Ns,
    headers: HeaderMap,
    Input(fork): Input<NewFork>,
) -> ControlResult<(StatusCode, Json<Value>)> {
    caller.check_instance()?;
    let NewFork { name, snapshot, idle_ttl, api_key } = fork;
    let creation = Creation {
        name,
        idle_ttl: lifetime(idle_ttl.as_deref())?,
        key: api_key.as_deref().map(test_key).transpose()?,
        ..Creation::default()
    };
    respond_created(&control.directory.fork(&source, snapshot.as_deref(), creation).await?, &headers).await
}

async fn respond_created(created: &Created, headers: &HeaderMap) -> ControlResult<(StatusCode, Json<Value>)> {
    let Created { namespace, is_new, tokens } = created;
    let mut response = state(namespace, tokens).await?;
    response.insert("api_key".into(), namespace.api_key().map(PlainApiKey::reveal).into());
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    response.insert("base_url".into(), format!("http://{host}").into());
    let status = if *is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(response.into())))
}

/// What a namespace begins with, or begins with again.
pub(super) async fn state(namespace: &Namespace, tokens: &Map<String, Value>) -> Result<Map<String, Value>, ApiError> {
    let refs: Refs = namespace.refs();
    Ok(Map::from_iter([
        ("name".into(), namespace.name().into()),
        ("refs".into(), refs.into()),
        ("tokens".into(), tokens.clone().into()),
        ("clock".into(), clock_of(namespace).await?),
    ]))
}

async fn clock_of(namespace: &Namespace) -> Result<Value, ApiError> {
    let app = namespace.app();
    let world = clock::world_of(&app)?;
    Ok(clock::describe(world, &clock::pending(&app, world).await?))
}

async fn list(State(control): State<Arc<ControlState>>, caller: Caller) -> ControlResult<Json<Value>> {
    caller.check_instance()?;
    let mut namespaces = Vec::new();
    for namespace in control.directory.all() {
        // One that is deleted meanwhile is not listed.
        if let Ok(described) = describe(&namespace).await {
            namespaces.push(described);
        }
    }
    Ok(Json(json!({"namespaces": namespaces})))
}

async fn show(Ns(namespace): Ns) -> ControlResult<Json<Value>> {
    Ok(Json(describe(&namespace).await?))
}

async fn describe(namespace: &Namespace) -> Result<Value, ApiError> {
    let summary = namespace.summary().await?;
    let mut described = serde_json::to_value(&summary).map_err(ApiError::internal)?;
    described["clock"] = clock_of(namespace).await?;
    Ok(described)
}

async fn delete(
    State(control): State<Arc<ControlState>>,
    caller: Caller,
    Path(name): Path<String>,
) -> ControlResult<StatusCode> {
    control.directory.delete(caller.reach(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn reset(
    State(control): State<Arc<ControlState>>,
    Ns(namespace): Ns,
    Input(request): Input<ResetRequest>,
) -> ControlResult<Json<Value>> {
    let ResetRequest { to, keep } = request;
    let reset = control.directory.reset(&namespace, to, &keep).await?;
    let mut response = state(&namespace, &reset.tokens).await?;
    response.insert("dropped".into(), json!(reset.dropped));
    Ok(Json(response.into()))
}

fn id_style(text: String) -> Result<IdStyle, ApiError> {
    match text.as_str() {
        "random" => Ok(IdStyle::Random),
        "count" => Ok(IdStyle::Count),
        _ if (1..=MOST_SEED_TEXT).contains(&text.len()) => Ok(IdStyle::Seed(text)),
        _ => Err(invalid("/ids", "give random, count, or a text of at most 256 bytes from which ids are derived")),
    }
}

fn lifetime(text: Option<&str>) -> Result<Option<Duration>, ApiError> {
    match text {
        None => Ok(Some(IDLE_TTL)),
        Some("never") => Ok(None),
        Some(text) => match humantime::parse_duration(text) {
            Ok(lifetime) if !lifetime.is_zero() => Ok(Some(lifetime)),
            _ => Err(invalid("/idle_ttl", "give a duration such as 90s or 10m, or never")),
        },
    }
}

fn test_key(text: &str) -> Result<PlainApiKey, ApiError> {
    PlainApiKey::parse_test(text).map_err(|rule| invalid("/api_key", rule))
}

fn invalid(place: &str, problem: &str) -> ApiError {
    ApiError::new(Code::ControlInvalid, format!("{place}: {problem}.")).at(place)
}
