//! The tools that a model may call in a turn: those attached to its agent, and those that the client brings.

use serde_json::{Map, Value};

use super::builtin;
use crate::{
    error::ApiError,
    mock::{
        records::{self, Agent},
        turn::ClientTool,
    },
    store::Store,
};

/// A tool that may be called.
#[derive(Clone, Debug)]
pub(in crate::mock) struct Tool {
    pub(in crate::mock) name: String,
    /// The JSON schema of its arguments.
    pub(in crate::mock) parameters: Map<String, Value>,
    /// The server's own tool; none: the client runs it.
    pub(in crate::mock) servers: Option<records::Tool>,
}

/// The tools of a turn.
#[derive(Clone, Debug, Default)]
pub(in crate::mock) struct ToolSet {
    tools: Vec<Tool>,
    /// Names of tools of the server that must be asked about.
    asks: Vec<String>,
    /// Names of tools of the server after which a turn ends.
    exits: Vec<String>,
    /// Names of tools of the server after which a turn goes on.
    continues: Vec<String>,
}

impl ToolSet {
    /// The tools of an agent and of a client, whose tools hide the agent's of the same name.
    pub(in crate::mock) async fn of(store: &Store, agent: &Agent, brought: &[ClientTool]) -> Result<Self, ApiError> {
        let mut tools: Vec<Tool> = brought.iter().map(Tool::of_client).collect();
        for tool in builtin::of_agent(store, &agent.id).await? {
            if tools.iter().all(|present| present.name != tool.record.name) {
                tools.push(Tool::of_server(tool.record));
            }
        }
        let ruled = |kinds: &[&str]| {
            let rules = agent.tool_rules.iter().filter(|rule| kinds.iter().any(|kind| rule["type"] == *kind));
            rules.filter_map(|rule| rule["tool_name"].as_str().map(str::to_owned)).collect()
        };
        let mut exits: Vec<String> = ruled(&["exit_loop"]);
        if agent.agent_type == "voice_sleeptime_agent" {
            // Letta gives it this rule for each turn, and does not keep it.
            exits.push("finish_rethinking_memory".to_owned());
        }
        Ok(Self {
            tools,
            asks: ruled(&["requires_approval"]),
            exits,
            continues: ruled(&["continue_loop", "constrain_child_tools", "conditional"]),
        })
    }

    /// All of them.
    pub(in crate::mock) fn tools(&self) -> &[Tool] {
        &self.tools
    }

    /// The tool of this name.
    pub(in crate::mock) fn find(&self, name: &str) -> Option<&Tool> {
        self.tools.iter().find(|tool| tool.name == name)
    }

    /// Whether a call waits for a decision, or for the client to run it.
    pub(in crate::mock) fn asks(&self, name: &str) -> bool {
        self.find(name).is_some_and(Tool::is_clients) || self.asks.iter().any(|asks| asks == name)
    }

    /// Whether a tool sends messages to other agents.
    pub(in crate::mock) fn messages_agents(&self, name: &str) -> bool {
        let tool = self.find(name).and_then(|tool| tool.servers.as_ref());
        builtin::MULTI_AGENT.contains(&name) && tool.is_some_and(|tool| builtin::by_id(&tool.id).is_some())
    }

    /// Whether a turn goes on after a call, whatever the call says about that.
    pub(in crate::mock) fn continues_turn(&self, name: &str) -> bool {
        self.continues.iter().any(|continues| continues == name)
    }

    /// Whether a turn ends after a call.
    pub(in crate::mock) fn ends_turn(&self, name: &str) -> bool {
        self.exits.iter().any(|exits| exits == name)
    }
}

impl Tool {
    fn of_client(tool: &ClientTool) -> Self {
        let schema = tool.parameters.as_deref().and_then(|text| serde_json::from_str(text).ok());
        Self { name: tool.name.clone(), parameters: schema.unwrap_or_default(), servers: None }
    }

    fn of_server(tool: records::Tool) -> Self {
        let parameters = tool.json_schema.get("parameters").and_then(Value::as_object).cloned();
        Self { name: tool.name.clone(), parameters: parameters.unwrap_or_default(), servers: Some(tool) }
    }

    /// Whether the client runs it, not the server.
    pub(in crate::mock) fn is_clients(&self) -> bool {
        self.servers.is_none()
    }

    /// The arguments that it takes, each with the schema of its values.
    pub(in crate::mock) fn properties(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.parameters.get("properties").and_then(Value::as_object).into_iter().flatten()
    }

    /// Whether it cannot be called without an argument.
    pub(in crate::mock) fn requires(&self, argument: &str) -> bool {
        let required = self.parameters.get("required").and_then(Value::as_array);
        required.is_some_and(|names| names.iter().any(|name| name == argument))
    }
}
