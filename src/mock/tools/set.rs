//! The tools that a model can call in a turn: those of its agent, and those of the client.

use serde_json::{Map, Value};

use super::{agent_tools, base_tools};
use crate::{
    error::ApiError,
    mock::records::{self, Agent, ClientTool},
    store::Store,
};

/// A tool that the model can call.
#[derive(Clone, Debug)]
pub(in crate::mock) struct CallableTool {
    pub(in crate::mock) name: String,
    /// The JSON schema of its arguments.
    pub(in crate::mock) parameters: Map<String, Value>,
    /// The stored tool; `None` if the client runs it.
    pub(in crate::mock) stored: Option<records::Tool>,
}

/// The tools of a turn.
#[derive(Clone, Debug, Default)]
pub(in crate::mock) struct ToolSet {
    tools: Vec<CallableTool>,
    /// Names of server tools that need approval.
    needing_approval: Vec<String>,
    /// Names of server tools after which a turn ends.
    ending: Vec<String>,
    /// Names of server tools after which a turn continues.
    continuing: Vec<String>,
}

impl ToolSet {
    /// The tools of an agent and of a client. A client's tool hides the agent's of the same name.
    pub(in crate::mock) async fn of(
        store: &Store,
        agent: &Agent,
        client_tools: &[ClientTool],
    ) -> Result<Self, ApiError> {
        let mut tools: Vec<CallableTool> = client_tools.iter().map(CallableTool::of_client).collect();
        for tool in agent_tools::of_agent(store, &agent.id).await? {
            if tools.iter().all(|present| present.name != tool.record.name) {
                tools.push(CallableTool::of_server(tool.record));
            }
        }
        let ruled = |kinds: &[&str]| {
            let rules = agent.tool_rules.iter().filter(|rule| kinds.iter().any(|kind| rule["type"] == *kind));
            rules.filter_map(|rule| rule["tool_name"].as_str().map(str::to_owned)).collect()
        };
        let mut ending: Vec<String> = ruled(&["exit_loop"]);
        if agent.agent_type == "voice_sleeptime_agent" {
            // Letta applies this rule in each turn without storing it.
            ending.push("finish_rethinking_memory".to_owned());
        }
        Ok(Self {
            tools,
            needing_approval: ruled(&["requires_approval"]),
            ending,
            continuing: ruled(&["continue_loop", "constrain_child_tools", "conditional"]),
        })
    }

    /// All of them.
    pub(in crate::mock) fn tools(&self) -> &[CallableTool] {
        &self.tools
    }

    /// The tool of this name.
    pub(in crate::mock) fn find(&self, name: &str) -> Option<&CallableTool> {
        self.tools.iter().find(|tool| tool.name == name)
    }

    /// Whether a call waits for approval, or for the client to run it.
    pub(in crate::mock) fn waits(&self, name: &str) -> bool {
        self.find(name).is_some_and(CallableTool::runs_on_client)
            || self.needing_approval.iter().any(|tool| tool == name)
    }

    /// Whether a tool is one of Letta's that send messages to other agents.
    pub(in crate::mock) fn messages_agents(&self, name: &str) -> bool {
        let stored = self.find(name).and_then(|tool| tool.stored.as_ref());
        stored.is_some_and(base_tools::messages_agents)
    }

    /// Whether a turn continues after a call, whatever the call's heartbeat says.
    pub(in crate::mock) fn continues_turn(&self, name: &str) -> bool {
        self.continuing.iter().any(|tool| tool == name)
    }

    /// Whether a turn ends after a call.
    pub(in crate::mock) fn ends_turn(&self, name: &str) -> bool {
        self.ending.iter().any(|tool| tool == name)
    }
}

impl CallableTool {
    fn of_client(tool: &ClientTool) -> Self {
        let schema = tool.parameters.as_deref().and_then(|text| serde_json::from_str(text).ok());
        Self { name: tool.name.clone(), parameters: schema.unwrap_or_default(), stored: None }
    }

    fn of_server(tool: records::Tool) -> Self {
        let parameters = tool.json_schema.get("parameters").and_then(Value::as_object).cloned();
        Self { name: tool.name.clone(), parameters: parameters.unwrap_or_default(), stored: Some(tool) }
    }

    /// Whether the client runs it, not the server.
    pub(in crate::mock) fn runs_on_client(&self) -> bool {
        self.stored.is_none()
    }

    /// Its arguments, each with the schema of its values.
    pub(in crate::mock) fn properties(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.parameters.get("properties").and_then(Value::as_object).into_iter().flatten()
    }

    /// Whether an argument is required.
    pub(in crate::mock) fn requires(&self, argument: &str) -> bool {
        let required = self.parameters.get("required").and_then(Value::as_array);
        required.is_some_and(|names| names.iter().any(|name| name == argument))
    }
}
