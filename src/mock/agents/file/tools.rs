//! The tools of agent files, and the MCP servers that have some of them.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::import::{corrupted, items};
use crate::{
    error::ApiError,
    mock::{
        records::{McpServer, Record, TOOL_TYPES, Tool, ToolChange, claims},
        storage::{Stored, claim, holder_within, insert, parse, update},
        validation::body::Fields,
    },
    store::{Locked, Tx},
};

/// A tool as a file has it, with an id of its own.
pub(in crate::mock) fn read(name: &str, written: &Fields<'_>, project_id: Option<&str>) -> Result<Tool, ApiError> {
    let change = ToolChange::read(written).map_err(corrupted)?;
    let mut tool = Tool::create(change, project_id.map(str::to_owned));
    name.clone_into(&mut tool.name);
    written.one_of("tool_type", TOOL_TYPES).map_err(corrupted)?.unwrap_or("custom").clone_into(&mut tool.tool_type);
    let arguments = written.optional::<&Map<String, Value>>("args_json_schema").map_err(corrupted)?;
    tool.args_json_schema = arguments.cloned();
    let metadata = written.optional::<&Map<String, Value>>("metadata_").map_err(corrupted)?;
    tool.metadata = metadata.cloned().unwrap_or_default();
    Ok(tool)
}

/// Makes a tool that is there what a file says. What its calls come to stays what the configuration says.
pub(in crate::mock) fn replace(present: &mut Tool, written: Tool) {
    *present = Tool {
        id: std::mem::take(&mut present.id),
        project_id: present.project_id.take(),
        scripted: present.scripted.take(),
        ..written
    };
}

/// A tool as it is written into a file; `number` is its id there.
pub(in crate::mock) fn written(tool: &Tool, number: &str) -> Value {
    let mut wire = tool.wire();
    wire["id"] = number.into();
    wire["project_id"] = Value::Null;
    wire
}

/// The MCP server that a tool names: its id where it was made, and its name.
pub(in crate::mock) fn server_of(tool: &Tool) -> Option<(Option<&str>, Option<&str>)> {
    let named = tool.metadata.get("mcp")?;
    Some((named["server_id"].as_str(), named["server_name"].as_str()))
}

/// An MCP server as it is written into a file. What it is reached with stays where it is.
pub(in crate::mock) fn written_server(server: &McpServer, number: &str) -> Value {
    let setting = |name: &str| server.config.get(name).cloned().unwrap_or_default();
    let is_local = server.server_type == "stdio";
    let stdio = json!({
        "server_name": server.server_name,
        "type": "stdio",
        "command": setting("command"),
        "args": setting("args"),
    });
    json!({
        "id": number,
        "server_type": server.server_type,
        "server_name": server.server_name,
        "server_url": if is_local { Value::Null } else { setting("server_url") },
        "stdio_config": if is_local { stdio } else { Value::Null },
        "metadata_": {},
    })
}

/// The ids of the servers of a file that are there already, by their names.
pub(in crate::mock) async fn present_servers(
    tx: &mut Tx,
    project: &str,
    file: &Fields<'_>,
) -> Result<HashMap<String, String>, ApiError> {
    let mut present = HashMap::new();
    for written in items(file, "mcp_servers")? {
        let name: &str = written.required("server_name").map_err(corrupted)?;
        if let Some(holder) = holder_within(tx, claims::MCP_SERVER, project, name).await? {
            present.insert(name.to_owned(), holder);
        }
    }
    Ok(present)
}

/// Makes the servers of a file, or lets those that are there be reached as it says. The caller has locked these, and has
/// called [`Tx::lock_names`].
pub(in crate::mock) async fn make_servers(
    tx: &mut Tx,
    project: &str,
    file: &Fields<'_>,
    locked: &Locked,
) -> Result<(), ApiError> {
    for written in items(file, "mcp_servers")? {
        let server = read_server(&written).map_err(corrupted)?;
        let holder = claim(tx, claims::MCP_SERVER, project, &server.server_name, &server.id).await?;
        let Some(holder) = holder else {
            insert(tx, project, None, &server).await?;
            continue;
        };
        // One that is not locked was made from this very file.
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
