//! The clock of a namespace: read it, set it, advance it.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ControlState, caller::Ns, error::ControlResult, input::Input};
use crate::{
    clock::{Millis, format_micros},
    error::{ApiError, Code},
    http::App,
    store::TokenFilter,
    world::{Backwards, ClockRequest, Micros, Pending, TimerKind, World, parse_instant},
};

/// The longest step of a clock.
const LONGEST_STEP: Duration = Duration::from_hours(10 * 366 * 24);

/// The last instant of a clock, 9999-12-31T23:59:59Z: later ones cannot be written in RFC 3339.
const LAST_INSTANT: Micros = 253_402_300_799_000_000;

/// The most tokens whose expiry is looked at.
const MOST_TOKENS: i64 = 1_000;

pub(super) fn routes() -> Router<Arc<ControlState>> {
    Router::new().route("/ns/{ns}/clock", get(show).put(set)).route("/ns/{ns}/clock/advance", post(advance))
}

/// How far to advance.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    by: Option<String>,
    to: Option<String>,
}

async fn show(Ns(namespace): Ns) -> ControlResult<Json<Value>> {
    let app = namespace.app();
    let world = world_of(&app)?;
    Ok(Json(describe(world, &pending(&app, world).await?)))
}

async fn set(Ns(namespace): Ns, Input(request): Input<ClockRequest>) -> ControlResult<Json<Value>> {
    namespace.check_in_memory()?;
    let app = namespace.app();
    let world = world_of(&app)?;
    let current = world.clock_settings();
    let settings = request.apply_to(current);
    check_step(current.now, settings.now, "/now")?;
    world.set_clock(settings).map_err(|Backwards| backwards("/now"))?;
    Ok(Json(describe(world, &pending(&app, world).await?)))
}

async fn advance(Ns(namespace): Ns, Input(step): Input<Step>) -> ControlResult<Json<Value>> {
    namespace.check_in_memory()?;
    let app = namespace.app();
    let world = world_of(&app)?;
    let waiting = pending(&app, world).await?;
    let now = world.now();
    let (to, place) = match (&step.by, step.to.as_deref()) {
        (Some(by), None) => {
            let by = humantime::parse_duration(by)
                .map_err(|error| invalid("/by", format!("'{by}' is not a duration such as 90s or 5m: {error}")))?;
            (now.saturating_add(Micros::try_from(by.as_micros()).unwrap_or(Micros::MAX)), "/by")
        }
        // Pings are sent as long as nothing else happens; they are the next thing only if there is no other.
        (None, Some("next")) => match waiting.iter().find(|timer| timer.kind != TimerKind::Ping).or(waiting.first()) {
            Some(next) => (next.due.max(now), "/to"),
            None => return Err(invalid("/to", "no timer is pending, so there is no next one").into()),
        },
        (None, Some(to)) => {
            let to = parse_instant(to).ok_or_else(|| {
                invalid("/to", format!("'{to}' is neither an instant such as 2026-01-05T09:00:00Z nor next"))
            })?;
            (to, "/to")
        }
        _ => return Err(invalid("/by", "give either by (a duration) or to (an instant, or next)").into()),
    };
    check_step(now, to, place)?;
    let advanced = world.advance(to).await.map_err(|Backwards| backwards(place))?;
    // Tokens expire whether or not something waits for it.
    let mut fired = advanced.fired;
    let expired = waiting.into_iter().filter(|timer| timer.kind == TimerKind::TokenExpiry && timer.due <= to);
    for timer in expired {
        if !fired.iter().any(|other| other.kind == timer.kind && other.id == timer.id) {
            fired.push(timer);
        }
    }
    fired.sort_by_key(|timer| timer.due);
    let mut response = json!({
        "now": instant(world.now()),
        "fired": fired.iter().map(timer).collect::<Vec<_>>(),
        "settled": advanced.settled,
    });
    if !advanced.settled {
        response["unsettled"] = advanced.unsettled.iter().map(timer).collect();
    }
    Ok(Json(response))
}

/// The world of an app that is controlled.
pub(crate) fn world_of(app: &App) -> Result<&World, ApiError> {
    app.world.as_ref().ok_or_else(|| ApiError::internal("a controlled app has no world"))
}

/// A clock as responses show it.
pub(crate) fn describe(world: &World, pending: &[Pending]) -> Value {
    let settings = world.clock_settings();
    json!({
        "now": instant(settings.now),
        "offset_ms": world.clock_offset().div_euclid(1_000),
        "frozen": settings.is_frozen,
        "timers": settings.timers,
        "expiry": settings.expiry,
        "pending": pending.iter().map(timer).collect::<Vec<_>>(),
    })
}

/// What waits for the clock: timers, and the expiry of live tokens.
pub(super) async fn pending(app: &App, world: &World) -> Result<Vec<Pending>, ApiError> {
    let now: Millis = world.now().div_euclid(1_000);
    let filter = TokenFilter { project: None, agent: None, offset: 0, limit: MOST_TOKENS, now };
    let mut pending = world.pending();
    for token in app.store.client_tokens(&filter).await? {
        let id = token.id.to_string();
        if !pending.iter().any(|timer| timer.kind == TimerKind::TokenExpiry && *timer.id == *id) {
            let due = token.expires_at.saturating_mul(1_000);
            pending.push(Pending { due, kind: TimerKind::TokenExpiry, id: id.into() });
        }
    }
    pending.sort_by_key(|timer| timer.due);
    Ok(pending)
}

fn timer(timer: &Pending) -> Value {
    json!({"due": instant(timer.due), "kind": timer.kind, "id": timer.id})
}

fn instant(micros: Micros) -> String {
    format_micros(chrono::DateTime::from_timestamp_micros(micros).unwrap_or_default())
}

fn check_step(from: Micros, to: Micros, place: &str) -> Result<(), ApiError> {
    let longest = Micros::try_from(LONGEST_STEP.as_micros()).unwrap_or(Micros::MAX);
    if to.saturating_sub(from) > longest {
        return Err(invalid(place, "a clock moves at most ten years a step"));
    }
    if to > LAST_INSTANT {
        return Err(invalid(place, "a clock ends with the year 9999"));
    }
    Ok(())
}

fn backwards(place: &str) -> ApiError {
    let sentence = "A clock only moves forward; to go back, restore a snapshot.";
    ApiError::new(Code::ClockBackwards, sentence).at(place)
}

fn invalid(place: &str, problem: impl std::fmt::Display) -> ApiError {
    ApiError::new(Code::ControlInvalid, format!("{place}: {problem}.")).at(place)
}
