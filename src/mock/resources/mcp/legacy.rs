//! MCP servers by their names, as older clients know them. They are the same servers.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::servers::{all, arguments, called, change, connected, read_again, remove, store};
use crate::{
    access::{Call, Operation},
    error::{ApiError, Code},
    mock::{
        records::{McpServer, Tool, claims},
        resources::{HandlerResult, Routes},
        state::State,
        storage::documents::{Stored, View, holder},
        tools::mcp,
        validation::body::{Expect, Fields, TextMap},
    },
    reply::Reply,
    store::transaction,
};

const NOBODY_CALLED: &str =
    "Nobody is connected to; the tools are those that the configuration gives the server's name.";
const NO_REDIRECT: &str = "Nobody is sent away to log in, so nobody comes back.";

pub(in crate::mock) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ListMcpServers, list)
        .on(Operation::AddMcpServer, add)
        .on(Operation::UpdateMcpServer, modify)
        .on(Operation::DeleteMcpServer, delete)
        .state_only(Operation::ListMcpToolsByServer, tools, NOBODY_CALLED)
        .state_only(Operation::AddMcpTool, add_tool, NOBODY_CALLED)
        .state_only(Operation::ResyncMcpServerTools, resync, NOBODY_CALLED)
        .state_only(Operation::ExecuteMcpTool, execute, NOBODY_CALLED)
        .fixed_shape(Operation::TestMcpServer, test, NOBODY_CALLED)
        .fixed_shape(Operation::ConnectMcpServer, connect, NOBODY_CALLED)
        .not_mocked([Operation::McpOauthCallback], NO_REDIRECT)
}

/// By their names.
async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let servers = all(state.view(&call.permit), call.permit.project().as_str()).await?;
    let named = servers.iter().map(|server| (server.record.server_name.clone(), server.record.wire_flat()));
    Ok(Reply::ok(Value::Object(named.collect())))
}

/// Answers with all servers.
async fn add(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let server = McpServer::create_flat(&Fields::of_body(&body)?)?;
    transaction!(state.store, tx => {
        store(&state, tx, call.permit.project().as_str(), server.clone()).await?;
        Ok(())
    })?;
    show_all(&state, call).await
}

async fn show_all(state: &State, call: Call) -> HandlerResult {
    let servers = all(state.view(&call.permit), call.permit.project().as_str()).await?;
    Ok(Reply::ok(servers.iter().map(|server| server.record.wire_flat()).collect()))
}

async fn find(view: View<'_>, project: &str, name: &str) -> Result<Stored<McpServer>, ApiError> {
    let found = match holder(view.store(), claims::MCP_SERVER, project, name).await? {
        Some(id) => view.find::<McpServer>(&id).await?,
        None => None,
    };
    found.ok_or_else(|| {
        let name: String = name.chars().take(100).collect();
        ApiError::letta(Code::NotFound, format!("MCP server with name '{name}' not found"))
    })
}

async fn modify(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    fields.check(&["server_name", "server_url", "token"].map(|name| (name, Expect::Text)))?;
    fields.optional::<TextMap>("custom_headers")?;
    let view = state.view(&call.permit);
    let named = find(view, call.permit.project().as_str(), call.param("mcp_server_name")).await?;
    // The older form has the configuration of a local server in an object, and calls the token by another name.
    let mut config = match fields.optional::<Fields<'_>>("stdio_config")? {
        Some(stdio) => stdio.map().clone(),
        None => fields.map().clone(),
    };
    if let Some(token) = config.remove("token") {
        config.insert("auth_token".into(), token);
    }
    let config = Value::Object(config);
    let server = transaction!(state.store, tx => {
        let mut server = view.get_for_update::<McpServer>(tx, &named.record.id).await?;
        let former = server.record.server_name.clone();
        server.record.apply(&Fields::of_body(&config)?)?;
        server.record.server_name = fields.optional("server_name")?.unwrap_or_else(|| former.clone());
        change(tx, &server, &former).await?;
        Ok(server)
    })?;
    Ok(Reply::ok(server.record.wire_flat()))
}

/// Answers with the servers that are left.
async fn delete(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let server = find(view, call.permit.project().as_str(), call.param("mcp_server_name")).await?.record;
    transaction!(state.store, tx => {
        view.get_for_update::<McpServer>(tx, &server.id).await?;
        remove(tx, &server.id).await?;
        Ok(())
    })?;
    show_all(&state, call).await
}

async fn tools(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let server = find(view, call.permit.project().as_str(), call.param("mcp_server_name")).await?.record;
    Ok(Reply::ok(mcp::of_server(&state.mcp_tools, &server.server_name).map(mcp::McpTool::wire).collect()))
}

/// The tool, which is there already unless its schema is invalid: a server comes with the others.
async fn add_tool(state: Arc<State>, call: Call) -> HandlerResult {
    let (server, name) = (call.param("mcp_server_name"), call.param("mcp_tool_name"));
    let (view, project) = (state.view(&call.permit), call.permit.project().as_str());
    let found = find_tool(view, project, server, name).await;
    let configured = mcp::of_server(&state.mcp_tools, server).find(|tool| tool.name == name);
    let Some(configured) = configured.filter(|_| found.as_ref().is_err_and(|error| error.code() == Code::NotFound))
    else {
        return Ok(Reply::ok(found?.wire()));
    };
    let server_id = find(view, project, server).await?.record.id;
    let stored = transaction!(state.store, tx => {
        let server = view.get_for_update::<McpServer>(tx, &server_id).await?;
        tx.lock_names(&server.project).await?;
        mcp::store(tx, &server, configured).await
    })?;
    Ok(Reply::ok(stored.map_or(found, Ok)?.wire()))
}

async fn find_tool(view: View<'_>, project: &str, server: &str, name: &str) -> Result<Tool, ApiError> {
    let server = find(view, project, server).await?.record;
    let tools = mcp::stored(view, &server.id).await?;
    let found = tools.into_iter().find(|tool| tool.record.name == name);
    found.map(|tool| tool.record).ok_or_else(|| {
        let name: String = name.chars().take(100).collect();
        ApiError::letta(Code::NotFound, format!("Tool '{name}' not found on MCP server '{}'", server.server_name))
    })
}

async fn resync(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let server = find(view, call.permit.project().as_str(), call.param("mcp_server_name")).await?.record;
    Ok(Reply::ok(read_again(&state, view, &server.id).await?.wire()))
}

async fn execute(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let arguments: Map<String, Value> = arguments(&body)?;
    let (server, name) = (call.param("mcp_server_name"), call.param("tool_name"));
    let tool = find_tool(state.view(&call.permit), call.permit.project().as_str(), server, name).await?;
    Ok(Reply::ok(called(&tool, &arguments)))
}

async fn test(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let server = McpServer::create_flat(&Fields::of_body(&body)?)?;
    let tools: Vec<Value> = mcp::of_server(&state.mcp_tools, &server.server_name).map(mcp::McpTool::wire).collect();
    Ok(Reply::ok(json!({"status": "success", "tools": tools})))
}

async fn connect(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let server = McpServer::create_flat(&Fields::of_body(&body)?)?;
    Ok(connected(&state, &server.server_name))
}
