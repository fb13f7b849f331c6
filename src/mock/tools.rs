//! The tools that come with Letta, as the mock describes them. They exist without being stored, always and for everyone,
//! so their ids are constants.

use serde_json::{Value, json};

use super::records::ACTOR;

/// A tool that comes with the server.
#[derive(Debug)]
pub(super) struct BaseTool {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    tool_type: &'static str,
    /// Whether the model may call it several times at once.
    parallel: bool,
    description: &'static str,
    parameters: &'static [Parameter],
}

/// Name, JSON type, description, whether it is required.
type Parameter = (&'static str, &'static str, &'static str, bool);

const LABEL: Parameter = ("label", "string", "The label of the block to change.", true);

static BASE_TOOLS: &[BaseTool] = &[
    BaseTool {
        id: "tool-3b0a6e0a-5a0e-4c56-9d5c-8f2a1b7c4e01",
        name: "conversation_search",
        tool_type: "letta_core",
        parallel: true,
        description: "Finds earlier messages of this conversation, by words or by meaning.",
        parameters: &[
            (
                "query",
                "string",
                "What to look for; without it, the newest messages that fit the other parameters.",
                false,
            ),
            ("roles", "array", "Only messages of these roles: assistant, user, tool.", false),
            ("limit", "integer", "The most messages to return.", false),
            ("start_date", "string", "Only messages from this day on, such as 2026-01-31.", false),
            ("end_date", "string", "Only messages up to and including this day.", false),
        ],
    },
    BaseTool {
        id: "tool-3b0a6e0a-5a0e-4c56-9d5c-8f2a1b7c4e02",
        name: "memory_insert",
        tool_type: "letta_sleeptime_core",
        parallel: false,
        description: "Adds text to a memory block, at a line or at its end.",
        parameters: &[
            LABEL,
            ("new_string", "string", "The text to add.", true),
            ("insert_line", "integer", "The line after which to add it; 0 for the beginning, -1 for the end.", false),
        ],
    },
    BaseTool {
        id: "tool-3b0a6e0a-5a0e-4c56-9d5c-8f2a1b7c4e03",
        name: "memory_replace",
        tool_type: "letta_sleeptime_core",
        parallel: false,
        description: "Replaces a passage of a memory block that occurs exactly once.",
        parameters: &[
            LABEL,
            ("old_string", "string", "The passage as it stands, to the last space.", true),
            ("new_string", "string", "What to put in its place; nothing, to delete it.", true),
        ],
    },
    BaseTool {
        id: "tool-3b0a6e0a-5a0e-4c56-9d5c-8f2a1b7c4e04",
        name: "archival_memory_insert",
        tool_type: "letta_core",
        parallel: true,
        description: "Stores a passage in the agent's archive.",
        parameters: &[("content", "string", "The passage.", true), ("tags", "array", "Words to find it by.", false)],
    },
    BaseTool {
        id: "tool-3b0a6e0a-5a0e-4c56-9d5c-8f2a1b7c4e05",
        name: "archival_memory_search",
        tool_type: "letta_core",
        parallel: true,
        description: "Finds passages in the agent's archive.",
        parameters: &[
            ("query", "string", "What to look for.", true),
            ("tags", "array", "Only passages with these tags.", false),
            ("top_k", "integer", "The most passages to return.", false),
        ],
    },
    BaseTool {
        id: "tool-3b0a6e0a-5a0e-4c56-9d5c-8f2a1b7c4e06",
        name: "send_message",
        tool_type: "letta_core",
        parallel: false,
        description: "Says something to the user; agents of older types speak only so.",
        parameters: &[("message", "string", "What to say.", true)],
    },
    BaseTool {
        id: "tool-3b0a6e0a-5a0e-4c56-9d5c-8f2a1b7c4e07",
        name: "core_memory_append",
        tool_type: "letta_memory_core",
        parallel: false,
        description: "Adds a line at the end of a memory block.",
        parameters: &[LABEL, ("content", "string", "The line.", true)],
    },
    BaseTool {
        id: "tool-3b0a6e0a-5a0e-4c56-9d5c-8f2a1b7c4e08",
        name: "core_memory_replace",
        tool_type: "letta_memory_core",
        parallel: false,
        description: "Replaces a text in a memory block.",
        parameters: &[
            LABEL,
            ("old_content", "string", "The text as it stands.", true),
            ("new_content", "string", "What to put in its place.", true),
        ],
    },
    BaseTool {
        id: "tool-3b0a6e0a-5a0e-4c56-9d5c-8f2a1b7c4e09",
        name: "web_search",
        tool_type: "letta_builtin",
        parallel: true,
        description: "Searches the web.",
        parameters: &[("query", "string", "What to look for.", true)],
    },
    BaseTool {
        id: "tool-3b0a6e0a-5a0e-4c56-9d5c-8f2a1b7c4e0a",
        name: "fetch_webpage",
        tool_type: "letta_builtin",
        parallel: true,
        description: "Reads a web page as text.",
        parameters: &[("url", "string", "The page's address.", true)],
    },
    BaseTool {
        id: "tool-3b0a6e0a-5a0e-4c56-9d5c-8f2a1b7c4e0b",
        name: "run_code",
        tool_type: "letta_builtin",
        parallel: false,
        description: "Runs a program in a sandbox.",
        parameters: &[
            ("code", "string", "The program.", true),
            ("language", "string", "The language it is written in, such as python or ts.", true),
        ],
    },
];

/// The names of the tools that an agent of a type gets unless it asks not to.
pub(super) fn default_names(agent_type: &str) -> &'static [&'static str] {
    match agent_type {
        "memgpt_agent" => &[
            "send_message",
            "conversation_search",
            "archival_memory_insert",
            "archival_memory_search",
            "core_memory_append",
            "core_memory_replace",
        ],
        "memgpt_v2_agent" => &["send_message", "conversation_search", "memory_insert", "memory_replace"],
        _ => &["conversation_search", "memory_insert", "memory_replace"],
    }
}

/// The tool of this name.
pub(super) fn by_name(name: &str) -> Option<&'static BaseTool> {
    BASE_TOOLS.iter().find(|tool| tool.name == name)
}

/// The tool with this id.
pub(super) fn by_id(id: &str) -> Option<&'static BaseTool> {
    BASE_TOOLS.iter().find(|tool| tool.id == id)
}

impl BaseTool {
    /// The tool as clients see it. The order of the keys is Letta's.
    pub(super) fn wire(&self) -> Value {
        let property = |kind: &str, description: &str| {
            let mut property = json!({"type": kind, "description": description});
            if kind == "array" {
                property["items"] = json!({"type": "string"});
            }
            property
        };
        let properties: serde_json::Map<_, _> = self
            .parameters
            .iter()
            .map(|(name, kind, description, _)| ((*name).to_owned(), property(kind, description)))
            .collect();
        let required: Vec<&str> =
            self.parameters.iter().filter(|(_, _, _, required)| *required).map(|(name, ..)| *name).collect();
        json!({
            "id": self.id,
            "tool_type": self.tool_type,
            "description": self.description,
            "source_type": "python",
            "name": self.name,
            "tags": [self.tool_type],
            "source_code": null,
            "json_schema": {
                "name": self.name,
                "description": self.description,
                "parameters": {"type": "object", "properties": properties, "required": required},
            },
            "args_json_schema": null,
            "return_char_limit": 50000,
            "pip_requirements": null,
            "npm_requirements": null,
            "default_requires_approval": null,
            "enable_parallel_execution": self.parallel,
            "created_by_id": ACTOR,
            "last_updated_by_id": ACTOR,
            "metadata_": {},
            "project_id": null,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::access::is_letta_id;

    #[test]
    fn base_tools_have_ids_and_names_of_their_own() {
        assert!(BASE_TOOLS.iter().all(|tool| is_letta_id(tool.id, "tool")));
        assert_eq!(BASE_TOOLS.iter().map(|tool| tool.id).collect::<HashSet<_>>().len(), BASE_TOOLS.len());
        assert_eq!(BASE_TOOLS.iter().map(|tool| tool.name).collect::<HashSet<_>>().len(), BASE_TOOLS.len());
    }

    #[test]
    fn default_tools_exist() {
        for agent_type in ["letta_v1_agent", "memgpt_agent", "memgpt_v2_agent"] {
            assert!(default_names(agent_type).iter().all(|name| by_name(name).is_some()));
        }
    }
}
