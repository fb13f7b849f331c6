//! The base tools, which come with Letta. They exist without being stored, in all projects, so their ids are constants.

mod table;

use std::{collections::HashMap, sync::LazyLock};

use serde_json::{
    Map, json,
    value::{RawValue, to_raw_value},
};

use crate::mock::records::{Agent, RETURN_CHAR_LIMIT, Tool, object};

pub(super) use table::BASE_TOOLS;

/// A base tool.
#[derive(Debug)]
pub(in crate::mock) struct BaseTool {
    pub(in crate::mock) id: &'static str,
    pub(in crate::mock) name: &'static str,
    pub(in crate::mock) tool_type: &'static str,
    /// Whether the model may call it in parallel.
    pub(in crate::mock) parallel: bool,
    pub(in crate::mock) description: &'static str,
    pub(in crate::mock) parameters: &'static [Parameter],
}

/// Name, JSON type (or `roles`, an array of roles), description, whether it is required.
pub(in crate::mock) type Parameter = (&'static str, &'static str, &'static str, bool);

/// The names of the tools that an agent of a type gets by default.
pub(in crate::mock) fn default_names(agent_type: &str) -> &'static [&'static str] {
    match agent_type {
        "memgpt_agent" | "split_thread_agent" => &[
            "send_message",
            "conversation_search",
            "core_memory_append",
            "core_memory_replace",
            "memory",
            "memory_apply_patch",
        ],
        "memgpt_v2_agent" => &["send_message", "conversation_search", "memory_insert", "memory_replace"],
        "sleeptime_agent" => &["memory_insert", "memory_replace", "memory_rethink", "memory_finish_edits"],
        "voice_convo_agent" => &["send_message", "search_memory"],
        "voice_sleeptime_agent" => &["store_memories", "rethink_user_memory", "finish_rethinking_memory"],
        "react_agent" | "workflow_agent" => &[],
        _ => &["conversation_search", "memory_insert", "memory_replace"],
    }
}

/// The tools through which agents talk to each other.
pub(in crate::mock) const MULTI_AGENT: [&str; 3] =
    ["send_message_to_agent_and_wait_for_reply", "send_message_to_agents_matching_tags", "send_message_to_agent_async"];

/// Whether a tool is one of [`MULTI_AGENT`], and not a tool of a project with such a name.
pub(in crate::mock) fn messages_agents(tool: &Tool) -> bool {
    MULTI_AGENT.contains(&tool.name.as_str()) && by_id(&tool.id).is_some()
}

/// Adds the rules that older agents get with base tools: speaking tools end a turn, memory and search tools continue
/// it, and others have no rule.
pub(in crate::mock) fn add_base_rules<'n>(agent: &mut Agent, names: impl IntoIterator<Item = &'n str>) {
    for name in names {
        match name {
            "send_message" | "send_message_to_agent_async" | "memory_finish_edits" => agent.add_rule(name, "exit_loop"),
            "conversation_search"
            | "archival_memory_insert"
            | "archival_memory_search"
            | "core_memory_append"
            | "core_memory_replace"
            | "memory"
            | "memory_apply_patch"
            | "memory_insert"
            | "memory_replace"
            | "memory_rethink" => agent.add_rule(name, "continue_loop"),
            _ => {}
        }
    }
}

/// The tool of this name.
pub(in crate::mock) fn by_name(name: &str) -> Option<&'static BaseTool> {
    BASE_TOOLS.iter().find(|tool| tool.name == name)
}

/// The tool with this id.
pub(in crate::mock) fn by_id(id: &str) -> Option<&'static BaseTool> {
    BASE_TOOLS.iter().find(|tool| tool.id == id)
}

impl BaseTool {
    /// The tool as a record.
    pub(in crate::mock) fn tool(&self) -> Tool {
        let property = |kind: &str, description: &str| {
            let items = match kind {
                "array" => json!({"type": "string"}),
                "roles" => json!({"type": "string", "enum": ["assistant", "user", "tool"]}),
                _ => return json!({"type": kind, "description": description}),
            };
            json!({"type": "array", "items": items, "description": description})
        };
        let properties: Map<_, _> = self
            .parameters
            .iter()
            .map(|(name, kind, description, _)| ((*name).to_owned(), property(kind, description)))
            .collect();
        let required: Vec<&str> =
            self.parameters.iter().filter(|(_, _, _, required)| *required).map(|(name, ..)| *name).collect();
        Tool {
            id: self.id.to_owned(),
            tool_type: self.tool_type.to_owned(),
            description: Some(self.description.to_owned()),
            source_type: "python".to_owned(),
            name: self.name.to_owned(),
            tags: vec![self.tool_type.to_owned()],
            source_code: None,
            json_schema: object! {
                "name": self.name,
                "description": self.description,
                "parameters": {"type": "object", "properties": properties, "required": required},
            },
            args_json_schema: None,
            return_char_limit: RETURN_CHAR_LIMIT,
            pip_requirements: None,
            npm_requirements: None,
            default_requires_approval: None,
            enable_parallel_execution: self.parallel,
            metadata: Map::new(),
            project_id: None,
            scripted: None,
        }
    }

    /// The serialized tool as clients see it; it never changes.
    pub(in crate::mock) fn written(&self) -> Option<&'static RawValue> {
        static WRITTEN: LazyLock<HashMap<&str, Box<RawValue>>> = LazyLock::new(|| {
            let written = BASE_TOOLS.iter().filter_map(|tool| {
                let written = to_raw_value(&tool.tool().wire()).ok()?;
                Some((tool.id, written))
            });
            written.collect()
        });
        WRITTEN.get(self.id).map(|tool| &**tool)
    }
}

/// All of them.
pub(in crate::mock) fn all() -> impl Iterator<Item = Tool> {
    BASE_TOOLS.iter().map(BaseTool::tool)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;
    use crate::access::{grant::Redaction, is_letta_id, redact};

    #[test]
    fn base_tools_have_ids_and_names_of_their_own() {
        assert!(BASE_TOOLS.iter().all(|tool| is_letta_id(tool.id, "tool")));
        assert_eq!(BASE_TOOLS.iter().map(|tool| tool.id).collect::<HashSet<_>>().len(), BASE_TOOLS.len());
        assert_eq!(BASE_TOOLS.iter().map(|tool| tool.name).collect::<HashSet<_>>().len(), BASE_TOOLS.len());
    }

    #[test]
    fn default_tools_exist() {
        for agent_type in [
            "letta_v1_agent",
            "memgpt_agent",
            "memgpt_v2_agent",
            "sleeptime_agent",
            "voice_convo_agent",
            "voice_sleeptime_agent",
        ] {
            assert!(default_names(agent_type).iter().all(|name| by_name(name).is_some()));
        }
    }

    #[test]
    fn what_comes_with_letta_has_no_secrets() {
        for tool in BASE_TOOLS {
            let written: Value = serde_json::from_str(tool.written().unwrap().get()).unwrap();
            let mut redacted = written.clone();
            redact(&mut redacted, Redaction::Secrets, None);
            assert_eq!(redacted, written);
        }
    }
}
