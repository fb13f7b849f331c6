//! Remote devices that wait for work. None ever registers with the mock.

use std::sync::Arc;

use serde_json::json;

use super::{HandlerResult, Routes};
use crate::{
    access::{Call, Operation},
    error::{ApiError, Code},
    mock::{pagination::cursor::Window, state::State, validation::body::Fields},
    reply::Reply,
};

const NO_DEVICES: &str = "No device ever connects, so the list is empty and every id is unknown.";

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .fixed_shape(Operation::ListEnvironments, list, NO_DEVICES)
        .fixed_shape(Operation::GetEnvironment, retrieve, NO_DEVICES)
        .fixed_shape(Operation::SendEnvironmentMessage, send, NO_DEVICES)
        .fixed_shape(Operation::DeleteEnvironment, delete, NO_DEVICES)
}

async fn list(_: Arc<State>, call: Call) -> HandlerResult {
    Window::read(&call.query, 0)?;
    call.query.boolean("onlineOnly")?;
    Ok(Reply::ok(json!({"connections": [], "hasNextPage": false})))
}

async fn retrieve(_: Arc<State>, call: Call) -> HandlerResult {
    Err(unknown(call.param("deviceId")))
}

async fn send(_: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    Fields::of_body(&body)?.required::<Vec<Fields<'_>>>("messages")?;
    Err(unknown(call.param("connectionId")))
}

async fn delete(_: Arc<State>, call: Call) -> HandlerResult {
    Err(unknown(call.param("id")))
}

fn unknown(id: &str) -> ApiError {
    let id: String = id.chars().take(100).collect();
    ApiError::letta(Code::NotFound, format!("No environment {id} is connected")).with("errorCode", "NOT_FOUND")
}
