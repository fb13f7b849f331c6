//! The tools of MCP servers. The mock connects to no server: their tools come from the configuration.

use serde_json::{Map, Value, json};

use super::mcp_schema::{self, Health};
use crate::{
    error::ApiError,
    mock::{
        records::{Agent, McpServer, Record, Tool, claims, links, object},
        storage::{Stored, View, claim, insert, parse, update},
    },
    store::{DocumentFilter, Locks, Tx},
};

/// A tool of an MCP server.
#[derive(Clone, Debug, PartialEq)]
pub struct McpTool {
    /// The server's name.
    pub server: String,
    /// The tool's name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// The JSON schema of its arguments.
    pub parameters: Map<String, Value>,
    /// The result of every call; `None` for a text that repeats the call.
    pub result: Option<Value>,
}

/// The names of the tools that a refresh has added, updated and deleted.
#[derive(Debug, Default)]
pub(in crate::mock) struct Changes {
    added: Vec<String>,
    updated: Vec<String>,
    deleted: Vec<String>,
}

impl Changes {
    /// As clients see it.
    pub(in crate::mock) fn wire(&self) -> Value {
        json!({"added": self.added, "updated": self.updated, "deleted": self.deleted})
    }
}

impl McpTool {
    /// The tool in the format of the protocol, with Letta's verdict on its schema.
    pub(in crate::mock) fn wire(&self) -> Value {
        let schema = mcp_schema::listed(&self.parameters);
        json!({
            "name": self.name,
            "title": null,
            "description": self.description,
            "inputSchema": schema,
            "outputSchema": null,
            "annotations": null,
            "_meta": null,
            "health": self.health(&schema).map(|Health { status, reasons }| json!({"status": status, "reasons": reasons})),
        })
    }

    /// Letta's verdict on a schema of this tool; `None` if the server gives it no schema.
    fn health(&self, schema: &Map<String, Value>) -> Option<Health> {
        (!self.parameters.is_empty()).then(|| Health::of(schema))
    }

    /// Whether its schema is invalid. Such a tool is stored only if a client adds it.
    fn is_invalid(&self) -> bool {
        self.health(&mcp_schema::listed(&self.parameters)).is_some_and(|health| health.status == "INVALID")
    }

    fn schema(&self) -> Map<String, Value> {
        let parameters = mcp_schema::arguments(&self.parameters);
        let health = self.health(&parameters);
        let mut schema = object! {"name": self.name, "description": self.description, "parameters": parameters};
        if let Some(Health { status, reasons }) = health {
            schema.insert("mcp:SCHEMA_STATUS".into(), status.into());
            schema.insert("mcp:SCHEMA_WARNINGS".into(), reasons.into());
        }
        schema
    }
}

/// The configured tools of a server.
pub(in crate::mock) fn of_server<'a>(tools: &'a [McpTool], server: &'a str) -> impl Iterator<Item = &'a McpTool> {
    tools.iter().filter(move |tool| tool.server == server)
}

/// The stored tools of a server, which can be attached.
pub(in crate::mock) async fn stored(view: View<'_>, server_id: &str) -> Result<Vec<Stored<Tool>>, ApiError> {
    view.list::<Tool>(&DocumentFilter::of_parent(Tool::KIND, server_id)).await
}

/// A server's stored tools, and the agents with a tool that is being deleted. All are locked, as is the server.
#[derive(Default)]
pub(in crate::mock) struct Present {
    tools: Vec<Stored<Tool>>,
    agents: Vec<String>,
}

impl Present {
    /// Locks them. `stays` says whether a tool is kept.
    pub(in crate::mock) async fn lock(
        tx: &mut Tx,
        server_id: &str,
        stays: impl Fn(&Tool) -> bool,
    ) -> Result<Self, ApiError> {
        let tools = tx.children(Tool::KIND, server_id).await?;
        let locked = tx.lock(&Locks::of(Tool::KIND, tools.iter().map(|tool| &tool.id))).await?;
        let tools = locked.of(Tool::KIND).map(parse).collect::<Result<Vec<Stored<Tool>>, _>>()?;
        let leaving = tools.iter().filter(|tool| !stays(&tool.record)).map(|tool| tool.record.id.clone());
        let agents = tx.linked_from_any(links::AGENT_TOOL, &leaving.collect::<Vec<_>>()).await?;
        tx.lock(&Locks::of(Agent::KIND, &agents)).await?;
        Ok(Self { tools, agents })
    }

    /// Deletes all of the tools and removes them from agents.
    pub(in crate::mock) async fn remove(&self, tx: &mut Tx) -> Result<(), ApiError> {
        for tool in &self.tools {
            remove(tx, &tool.record.id, &self.agents).await?;
        }
        Ok(())
    }
}

/// Whether a server has a configured tool of this name.
pub(in crate::mock) fn has(tools: &[McpTool], server: &str, name: &str) -> bool {
    of_server(tools, server).any(|tool| tool.name == name)
}

/// Updates a server's stored tools to the configuration. A name that another tool has stays with it, and a tool with an
/// invalid schema is not stored. The caller has called [`Tx::lock_names`].
pub(in crate::mock) async fn sync(
    tx: &mut Tx,
    server: &Stored<McpServer>,
    present: &Present,
    configured: &[McpTool],
) -> Result<Changes, ApiError> {
    let mut changes = Changes::default();
    for tool in of_server(configured, &server.record.server_name) {
        add(tx, server, tool, &present.tools, &mut changes).await?;
    }
    for Stored { record: Tool { id, name, .. }, .. } in &present.tools {
        if !has(configured, &server.record.server_name, name) {
            remove(tx, id, &present.agents).await?;
            changes.deleted.push(name.clone());
        }
    }
    Ok(changes)
}

async fn add(
    tx: &mut Tx,
    server: &Stored<McpServer>,
    tool: &McpTool,
    present: &[Stored<Tool>],
    changes: &mut Changes,
) -> Result<(), ApiError> {
    if let Some(known) = present.iter().find(|known| known.record.name == tool.name) {
        let mut record = known.record.clone();
        record.describe(tool.description.clone(), tool.schema(), tool.result.clone());
        if record != known.record {
            update(tx, &record).await?;
            changes.updated.push(tool.name.clone());
        }
        return Ok(());
    }
    if !tool.is_invalid() && store(tx, server, tool).await?.is_some() {
        changes.added.push(tool.name.clone());
    }
    Ok(())
}

/// Stores a tool that does not exist yet; `None` if another tool has its name. The caller has called
/// [`Tx::lock_names`].
pub(in crate::mock) async fn store(
    tx: &mut Tx,
    server: &Stored<McpServer>,
    tool: &McpTool,
) -> Result<Option<Tool>, ApiError> {
    let mut record = Tool::external(&tool.name, &server.record.server_name, &server.record.id);
    record.describe(tool.description.clone(), tool.schema(), tool.result.clone());
    if claim(tx, claims::TOOL, &server.project, &tool.name, &record.id).await?.is_some() {
        return Ok(None);
    }
    insert(tx, &server.project, Some(&server.record.id), &record).await?;
    Ok(Some(record))
}

async fn remove(tx: &mut Tx, tool_id: &str, agents: &[String]) -> Result<(), ApiError> {
    tx.delete_document(Tool::KIND, tool_id).await?;
    tx.unlink_from(links::AGENT_TOOL, agents, tool_id).await?;
    Ok(())
}
