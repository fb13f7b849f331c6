//! The tools and MCP servers of agent files.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::reading::{invalid_file, items};
use crate::{
    error::ApiError,
    mock::{
        records::{McpServer, Record, TOOL_TYPES, Tool, ToolChange, claims},
        storage::{Stored, claim, holder_within, insert, parse, update},
        validation::body::Fields,
    },
    store::{Locked, Tx},
};

/// Reads a tool. It gets a new id.
pub(super) fn read(name: &str, written: &Fields<'_>, project_id: Option<&str>) -> Result<Tool, ApiError> {
    let change = ToolChange::read(written).map_err(invalid_file)?;
    let mut tool = Tool::create(change, project_id.map(str::to_owned));
    name.clone_into(&mut tool.name);
    written.one_of("tool_type", TOOL_TYPES).map_err(invalid_file)?.unwrap_or("custom").clone_into(&mut tool.tool_type);
    let arguments = written.optional::<&Map<String, Value>>("args_json_schema").map_err(invalid_file)?;
    tool.args_json_schema = arguments.cloned();
    let metadata = written.optional::<&Map<String, Value>>("metadata_").map_err(invalid_file)?;
    tool.metadata = metadata.cloned().unwrap_or_default();
    Ok(tool)
}

/// Replaces an existing tool by what a file says, except for its id, its project and its scripted results.
pub(super) fn replace(present: &mut Tool, written: Tool) {
    *present = Tool {
        id: std::mem::take(&mut present.id),
        project_id: present.project_id.take(),
        scripted: present.scripted.take(),
        ..written
    };
}

/// A tool as it is written to a file.
pub(super) fn to_file(tool: &Tool, local_id: &str) -> Value {
    let mut wire = tool.wire();
    wire["id"] = local_id.into();
    wire["project_id"] = Value::Null;
    wire
}

/// The id and the name of the MCP server that a tool belongs to.
pub(super) fn server_of(tool: &Tool) -> Option<(Option<&str>, Option<&str>)> {
    let named = tool.metadata.get("mcp")?;
    Some((named["server_id"].as_str(), named["server_name"].as_str()))
}

/// An MCP server as it is written to a file, without its credentials.
pub(super) fn server_to_file(server: &McpServer, local_id: &str) -> Value {
    let setting = |name: &str| server.config.get(name).cloned().unwrap_or_default();
    let is_local = server.server_type == "stdio";
    let stdio = json!({
        "server_name": server.server_name,
        "type": "stdio",
        "command": setting("command"),
        "args": setting("args"),
    });
    json!({
        "id": local_id,
        "server_type": server.server_type,
        "server_name": server.server_name,
        "server_url": if is_local { Value::Null } else { setting("server_url") },
        "stdio_config": if is_local { stdio } else { Value::Null },
        "metadata_": {},
    })
}

/// The ids of existing MCP servers that have the names of servers in a file, by name.
pub(super) async fn present_servers(
    tx: &mut Tx,
    project: &str,
    file: &Fields<'_>,
) -> Result<HashMap<String, String>, ApiError> {
    let mut present = HashMap::new();
    for written in items(file, "mcp_servers")? {
        let name: &str = written.required("server_name").map_err(invalid_file)?;
        if let Some(holder) = holder_within(tx, claims::MCP_SERVER, project, name).await? {
            present.insert(name.to_owned(), holder);
        }
    }
    Ok(present)
}

/// Creates the MCP servers of a file, or updates the settings of existing ones. The caller has locked the existing ones, and
/// has called [`Tx::lock_names`].
pub(super) async fn make_servers(
    tx: &mut Tx,
    project: &str,
    file: &Fields<'_>,
    locked: &Locked,
) -> Result<(), ApiError> {
    for written in items(file, "mcp_servers")? {
        let server = read_server(&written).map_err(invalid_file)?;
        let holder = claim(tx, claims::MCP_SERVER, project, &server.server_name, &server.id).await?;
        let Some(holder) = holder else {
            insert(tx, project, None, &server).await?;
            continue;
        };
        // A server that is not locked was created from this file.
        let Some(document) = locked.get(McpServer::KIND, &holder) else { continue };
        let mut present: Stored<McpServer> = parse(document)?;
        if present.record.server_type == server.server_type {
            present.record.config.extend(server.config.into_iter().filter(|(_, value)| !value.is_null()));
            update(tx, &present.record).await?;
        }
    }
    Ok(())
}

fn read_server(written: &Fields<'_>) -> Result<McpServer, ApiError> {
    let server_type = written.one_of("server_type", &["stdio", "sse", "streamable_http"])?;
    let name: &str = written.required("server_name")?;
    let mut body =
        Map::from_iter([("server_name".to_owned(), Value::from(name)), ("type".to_owned(), server_type.into())]);
    if let Some(config) = written.optional::<Fields<'_>>("stdio_config")? {
        for key in ["command", "args"] {
            body.extend(config.value(key).map(|value| (key.to_owned(), value.clone())));
        }
    }
    body.extend(written.value("server_url").map(|url| ("server_url".to_owned(), url.clone())));
    let body = Value::Object(body);
    McpServer::create_flat(&Fields::of_body(&body)?)
}
