//! The replies of a namespace, and the state that they lead to.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, RawQuery},
    routing::{delete, get, put},
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    ControlState,
    caller::Ns,
    error::ControlResult,
    input::{Document, Format, Input, Raw, parse},
    journal::each,
};
use crate::{
    error::{ApiError, Code},
    replies::{Definitions, Limits, Mistake, Source, Unmatched, read_list, read_reply},
};

/// The longest name of a state, in bytes.
const MOST_STATE: usize = 256;

pub(super) fn routes() -> Router<Arc<ControlState>> {
    Router::new()
        .route("/ns/{ns}/replies", get(list).post(add).patch(change).delete(remove_all))
        .route("/ns/{ns}/replies/{id}", delete(remove))
        .route("/ns/{ns}/script", put(set_script))
        .route("/ns/{ns}/state", get(show_state).put(set_state))
}

async fn list(Ns(namespace): Ns) -> Json<Value> {
    Json(namespace.replies().to_json())
}

/// Adds a reply, or several.
async fn add(Ns(namespace): Ns, Document(body): Document) -> ControlResult<(StatusCode, Json<Value>)> {
    let value: Value = parse(&body.bytes, body.format)?;
    let replies = match value {
        Value::Object(mut members) if members.contains_key("replies") => {
            let replies = members.remove("replies");
            read_several(replies, &members).map_err(|mistake| placed(mistake, &body))?
        }
        reply => vec![read_reply(reply, "", Limits::HTTP).map_err(|mistake| placed(mistake, &body))?],
    };
    let ids = namespace.replies().add(replies).map_err(|mistake| placed(mistake, &body))?;
    Ok((StatusCode::CREATED, Json(json!({"ids": ids}))))
}

fn read_several(replies: Option<Value>, others: &Map<String, Value>) -> Result<Vec<crate::replies::Reply>, Mistake> {
    if let Some(other) = others.keys().next() {
        return Err(Mistake::new(
            format!("/{other}"),
            format!("unknown field `{other}`; there is only `replies` here"),
        ));
    }
    match replies {
        Some(Value::Array(replies)) => read_list(replies, "/replies", Limits::HTTP),
        _ => Err(Mistake::new("/replies", "replies is a list")),
    }
}

/// Whether agents say what the mock says without replies, if none fits.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    unmatched: String,
}

async fn change(Ns(namespace): Ns, Input(change): Input<Change>) -> ControlResult<Json<Value>> {
    let unmatched = Unmatched::read(&change.unmatched, "/unmatched")?;
    namespace.replies().set_unmatched(unmatched);
    Ok(Json(json!({"unmatched": unmatched})))
}

/// Removes all replies, or all of one `source`.
async fn remove_all(Ns(namespace): Ns, RawQuery(query): RawQuery) -> ControlResult<StatusCode> {
    let mut source: Option<Source> = None;
    each(query.as_deref(), |name, value| {
        if name != "source" {
            return Ok(false);
        }
        let read = serde_json::from_value(value.into());
        source = Some(read.map_err(|_| "is run_time or file".to_owned())?);
        Ok(true)
    })?;
    namespace.replies().remove_all(source);
    Ok(StatusCode::NO_CONTENT)
}

async fn remove(Ns(namespace): Ns, Path((_, id)): Path<(String, String)>) -> StatusCode {
    namespace.replies().remove(&id);
    StatusCode::NO_CONTENT
}

/// Replaces all replies by those of a script.
async fn set_script(Ns(namespace): Ns, Document(body): Document) -> ControlResult<Json<Value>> {
    let script = match body.format {
        Format::Toml => Definitions::of_toml(text(&body)?, Limits::HTTP).map_err(ApiError::from)?,
        Format::Json => Definitions::of_json(parse(&body.bytes, body.format)?, Limits::HTTP)?,
    };
    let ids = namespace.replies().set_script(script).map_err(|mistake| placed(mistake, &body))?;
    Ok(Json(json!({"ids": ids})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    state: String,
}

async fn show_state(Ns(namespace): Ns) -> Json<Value> {
    Json(json!({"state": *namespace.replies().state()}))
}

async fn set_state(Ns(namespace): Ns, Input(State { state }): Input<State>) -> ControlResult<Json<Value>> {
    if !(1..=MOST_STATE).contains(&state.len()) {
        let sentence = format!("/state: the name of a state has 1 to {MOST_STATE} bytes.");
        return Err(ApiError::new(Code::ControlInvalid, sentence).at("/state").into());
    }
    namespace.replies().set_state(&state);
    Ok(Json(json!({"state": state})))
}

/// A mistake in a body: in JSON at a pointer, in TOML on a line.
fn placed(mistake: Mistake, body: &Raw) -> ApiError {
    match (body.format, text(body)) {
        (Format::Toml, Ok(text)) => mistake.in_toml(text).into(),
        _ => mistake.into(),
    }
}

fn text(body: &Raw) -> Result<&str, ApiError> {
    let sentence = "A script is a text in UTF-8, and this one is not.";
    std::str::from_utf8(&body.bytes).map_err(|_| ApiError::new(Code::ScriptInvalid, sentence))
}
