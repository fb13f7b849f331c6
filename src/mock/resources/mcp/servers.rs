//! MCP servers. Their tools come from the configuration.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::{
    access::{Call, Operation},
    error::{ApiError, Code},
    mock::{
        pagination::list::Listing,
        records::{Agent, McpServer, Record, Tool, claims},
        resources::{HandlerResult, Routes},
        state::State,
        storage::documents::{Stored, View, claim, insert, not_found, release, update},
        tools::mcp::{self, Present},
        validation::body::Fields,
    },
    reply::Reply,
    request::body::Body,
    store::{DocumentFilter, Tx, transaction},
};

const NOBODY_CALLED: &str =
    "Nobody is connected to; the tools are those that the configuration gives the server's name.";

pub(in crate::mock) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::McpListMcpServers, list)
        .on(Operation::McpCreateMcpServer, create)
        .on(Operation::McpRetrieveMcpServer, retrieve)
        .on(Operation::McpUpdateMcpServer, modify)
        .on(Operation::McpDeleteMcpServer, delete)
        .state_only(Operation::McpListToolsForMcpServer, tools, NOBODY_CALLED)
        .state_only(Operation::McpRetrieveMcpTool, tool, NOBODY_CALLED)
        .state_only(Operation::McpRunTool, run, NOBODY_CALLED)
        .state_only(Operation::McpRefreshMcpServerTools, refresh, NOBODY_CALLED)
        .fixed_shape(Operation::McpConnectMcpServer, connect, NOBODY_CALLED)
}

async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let servers = all(state.view(&call.permit), call.permit.project().as_str()).await?;
    Ok(Reply::ok(servers.iter().map(|server| server.record.wire()).collect()))
}

/// The servers of a project, oldest first.
pub(in crate::mock) async fn all(view: View<'_>, project: &str) -> Result<Vec<Stored<McpServer>>, ApiError> {
    Listing::<McpServer>::of(DocumentFilter::of_project(McpServer::KIND, project)).all(view, |_| true).await
}

async fn create(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let server = McpServer::create(&Fields::of_body(&body)?)?;
    let server = transaction!(state.store, tx => {
        let server = store(&state, tx, call.permit.project().as_str(), server.clone()).await?;
        Ok(server)
    })?;
    Ok(Reply::ok(server.wire()))
}

/// Stores a new server with its tools.
pub(in crate::mock) async fn store(
    state: &State,
    tx: &mut Tx,
    project: &str,
    server: McpServer,
) -> Result<McpServer, ApiError> {
    tx.lock_names(project).await?;
    take_name(tx, project, &server).await?;
    insert(tx, project, None, &server).await?;
    let server = Stored { seq: 0, project: project.to_owned(), record: server };
    mcp::sync(tx, &server, &Present::default(), &state.mcp_tools).await?;
    Ok(server.record)
}

async fn take_name(tx: &mut Tx, project: &str, server: &McpServer) -> Result<(), ApiError> {
    match claim(tx, claims::MCP_SERVER, project, &server.server_name, &server.id).await? {
        None => Ok(()),
        Some(_) => {
            let name: String = server.server_name.chars().take(100).collect();
            Err(ApiError::conflict(format!("CONFLICT: An MCP server with the name '{name}' already exists")))
        }
    }
}

async fn retrieve(state: Arc<State>, call: Call) -> HandlerResult {
    let server = state.view(&call.permit).get::<McpServer>(call.param("mcp_server_id")).await?;
    Ok(Reply::ok(server.record.wire()))
}

async fn modify(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    McpServer::check(&fields)?;
    let view = state.view(&call.permit);
    let mcp_server_id = call.param("mcp_server_id");
    let server = transaction!(state.store, tx => {
        let mut server = view.get_for_update::<McpServer>(tx, mcp_server_id).await?;
        let former = server.record.server_name.clone();
        server.record.change(&fields)?;
        change(tx, &server, &former).await?;
        Ok(server)
    })?;
    Ok(Reply::ok(server.record.wire()))
}

/// Stores a changed server. The caller holds the lock on its document.
pub(in crate::mock) async fn change(tx: &mut Tx, server: &Stored<McpServer>, former: &str) -> Result<(), ApiError> {
    if server.record.server_name != former {
        release(tx, claims::MCP_SERVER, &server.project, former).await?;
        take_name(tx, &server.project, &server.record).await?;
    }
    update(tx, &server.record).await
}

/// Takes its tools along. A second time is a mistake of the caller's, by Letta's word not a 404.
async fn delete(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let id = call.param("mcp_server_id");
    transaction!(state.store, tx => {
        view.get_for_update::<McpServer>(tx, id).await.map_err(|error| match error.code() {
            Code::NotFound => ApiError::letta(Code::InvalidRequest, error.message().to_owned()),
            _ => error,
        })?;
        remove(tx, id).await?;
        Ok(())
    })?;
    Ok(Reply::Empty(StatusCode::NO_CONTENT))
}

/// Removes a server and its tools. The caller has locked the server.
pub(in crate::mock) async fn remove(tx: &mut Tx, server_id: &str) -> Result<(), ApiError> {
    Present::lock(tx, server_id, |_| false).await?.remove(tx).await?;
    tx.delete_document(McpServer::KIND, server_id).await?;
    Ok(())
}

async fn tools(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let server = view.get::<McpServer>(call.param("mcp_server_id")).await?.record;
    let tools = mcp::stored(view, &server.id).await?;
    Ok(Reply::ok(tools.iter().map(|tool| tool.record.wire()).collect()))
}

async fn tool(state: Arc<State>, call: Call) -> HandlerResult {
    let tool = find_tool(state.view(&call.permit), call.param("mcp_server_id"), call.param("tool_id")).await?;
    Ok(Reply::ok(tool.wire()))
}

async fn find_tool(view: View<'_>, server_id: &str, tool_id: &str) -> Result<Tool, ApiError> {
    let server = view.get::<McpServer>(server_id).await?.record;
    let tools = mcp::stored(view, &server.id).await?;
    let found = tools.into_iter().find(|tool| tool.record.id == tool_id);
    found.map(|tool| tool.record).ok_or_else(|| not_found::<Tool>(tool_id))
}

async fn run(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let arguments = arguments(&body)?;
    let tool = find_tool(state.view(&call.permit), call.param("mcp_server_id"), call.param("tool_id")).await?;
    Ok(Reply::ok(called(&tool, &arguments)))
}

/// The arguments in the body of a request that calls a tool.
pub(in crate::mock) fn arguments(body: &Value) -> Result<Map<String, Value>, ApiError> {
    let Some(fields) = Fields::of_optional_body(body)? else { return Ok(Map::new()) };
    Ok(fields.optional::<&Map<String, Value>>("args")?.cloned().unwrap_or_default())
}

/// What a call of a tool comes to.
pub(in crate::mock) fn called(tool: &Tool, arguments: &Map<String, Value>) -> Value {
    tool.call(arguments, &Map::new()).wire()
}

async fn refresh(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    if let Some(agent_id) = call.query.first("agent_id") {
        view.get::<Agent>(agent_id).await?;
    }
    let id = call.param("mcp_server_id");
    let changes = read_again(&state, view, id).await?;
    Ok(Reply::ok(changes.wire()))
}

/// Makes a server's tools what the configuration says by now.
pub(in crate::mock) async fn read_again(
    state: &State,
    view: View<'_>,
    server_id: &str,
) -> Result<mcp::Changes, ApiError> {
    transaction!(state.store, tx => {
        let server = view.get_for_update::<McpServer>(tx, server_id).await?;
        let stays = |tool: &Tool| mcp::has(&state.mcp_tools, &server.record.server_name, &tool.name);
        let present = Present::lock(tx, server_id, stays).await?;
        tx.lock_names(&server.project).await?;
        mcp::sync(tx, &server, &present, &state.mcp_tools).await
    })
}

async fn connect(state: Arc<State>, call: Call) -> HandlerResult {
    let server = state.view(&call.permit).get::<McpServer>(call.param("mcp_server_id")).await?.record;
    Ok(connected(&state, &server.server_name))
}

/// The events of a connection that succeeds at once.
pub(in crate::mock) fn connected(state: &State, server_name: &str) -> Reply {
    let tools: Vec<Value> = mcp::of_server(&state.mcp_tools, server_name).map(mcp::McpTool::wire).collect();
    let attempt = json!({"event": "connection_attempt", "server_name": server_name});
    let message = format!("Successfully connected to {server_name}");
    let success = json!({"event": "success", "message": message, "tools": tools});
    Reply::Events(Body::from(format!("data: {attempt}\n\ndata: {success}\n\n")))
}
