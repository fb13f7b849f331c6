//! An agent's memory as files: its blocks, each a Markdown file in `system`. The mock keeps no history of them.

use serde_json::{Value, json};

use super::{Failed, Object, Socket, text};
use crate::access::Operation;

/// The keys of a failed response; `None` for a type that is not about memory, or not mocked.
pub(super) fn empty(kind: &str) -> Option<Object> {
    let keys = match kind {
        "list_memory" => json!({"entries": [], "done": true, "total": 0}),
        "read_memory_file" => json!({"agent_id": "", "path": "", "content": null, "encoding": "utf8"}),
        "memory_history" => json!({"file_path": "", "commits": []}),
        "memory_file_at_ref" => json!({"file_path": "", "ref": "", "content": null}),
        "memory_commit_diff" => json!({"sha": "", "diff": null}),
        _ => return None,
    };
    keys.as_object().cloned()
}

/// Does what a command about memory asks for.
pub(super) async fn respond(socket: &Socket, kind: &str, frame: &Object) -> Result<Value, Failed> {
    let agent_id = text(frame, "agent_id")?;
    let blocks = socket.call(Operation::ListCoreMemoryBlocks, &[("agent_id", agent_id)], &[], Value::Null).await;
    let blocks = blocks.map_err(|_| Failed(format!("Agent {agent_id} not found")))?;
    let blocks = blocks.as_array().map(Vec::as_slice).unwrap_or_default();
    match kind {
        "list_memory" => {
            let entries: Vec<Value> = blocks.iter().map(entry).collect();
            Ok(json!({
                "entries": entries, "done": true, "total": entries.len(), "success": true, "memfs_enabled": true,
                "memfs_initialized": true,
            }))
        }
        "read_memory_file" => {
            let path = text(frame, "path")?;
            let block = blocks.iter().find(|block| path_of(block) == path).ok_or_else(no_file)?;
            Ok(json!({
                "agent_id": agent_id, "path": path, "content": block["value"], "encoding": "utf8", "success": true,
            }))
        }
        "memory_history" => {
            let path = frame.get("file_path").and_then(Value::as_str).unwrap_or_default();
            Ok(json!({"file_path": path, "commits": [], "success": true}))
        }
        _ => Err(no_file()),
    }
}

fn no_file() -> Failed {
    Failed("There is no such file in the agent's memory".into())
}

fn path_of(block: &Value) -> String {
    format!("system/{}.md", block["label"].as_str().unwrap_or_default())
}

fn entry(block: &Value) -> Value {
    json!({
        "relative_path": path_of(block),
        "is_system": true,
        "description": block["description"],
        "content": block["value"],
        "size": block["value"].as_str().map_or(0, str::len),
        "kind": "markdown",
        "mime_type": "text/markdown",
    })
}
