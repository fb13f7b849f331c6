//! The fields of the objects in an agent file, in Letta's order.

use serde_json::{Map, Value, json};

use crate::mock::records::{Agent, Block, File, Folder, object};

/// The fields of an agent. What is linked to the agent is filled in later.
pub(super) fn agent_fields(agent: &Agent) -> Map<String, Value> {
    // Files have the names of secrets without their values.
    let blanked: Map<String, Value> = agent.environment().keys().map(|key| (key.clone(), "".into())).collect();
    let mut fields = object! {
        "name": agent.name,
        "memory_blocks": [],
        "tools": [],
        "tool_ids": null,
        "source_ids": null,
        "folder_ids": null,
        "block_ids": null,
        "tool_rules": agent.tool_rules,
        "tags": agent.tags,
        "system": agent.system,
        "agent_type": agent.agent_type,
        "initial_message_sequence": null,
        "include_base_tools": false,
        "include_multi_agent_tools": false,
        "include_base_tool_rules": false,
        "include_default_source": false,
        "description": agent.description,
        "metadata": agent.metadata,
        "llm_config": agent.model.llm,
        "embedding_config": agent.embedding.as_ref().map(|embedding| &embedding.config),
        "model": null,
        "embedding": null,
        "model_settings": null,
        "compaction_settings": null,
        "context_window_limit": null,
        "embedding_chunk_size": null,
        "max_tokens": null,
        "max_reasoning_tokens": null,
        "enable_reasoner": false,
        "reasoning": null,
        "from_template": null,
        "template": false,
        "project": null,
    };
    fields.extend(object! {
        "tool_exec_environment_variables": blanked,
        "secrets": if blanked.is_empty() { Value::Null } else { blanked.clone().into() },
        "memory_variables": null,
        "project_id": null,
        "template_id": null,
        "base_template_id": null,
        "identity_ids": null,
        "message_buffer_autoclear": agent.message_buffer_autoclear,
        "enable_sleeptime": false,
        "response_format": agent.response_format,
        "timezone": agent.timezone,
        "max_files_open": agent.max_files_open,
        "per_file_view_window_char_limit": agent.per_file_view_window_char_limit,
        "hidden": agent.hidden,
        "parallel_tool_calls": null,
        "id": null,
        "in_context_message_ids": [],
        "messages": [],
        "files_agents": [],
        "group_ids": [],
    });
    fields
}

/// The fields of a block, without references to its project, template and deployment.
pub(super) fn block_fields(block: &Block, local_id: &str) -> Value {
    json!({
        "value": block.value,
        "limit": block.limit,
        "project_id": null,
        "template_name": block.template_name,
        "is_template": block.is_template,
        "template_id": null,
        "base_template_id": null,
        "deployment_id": null,
        "entity_id": null,
        "preserve_on_migration": block.preserve_on_migration,
        "label": block.label,
        "read_only": block.read_only,
        "description": block.description,
        "metadata": block.metadata,
        "hidden": block.hidden,
        "tags": if block.tags.is_empty() { Value::Null } else { json!(block.tags) },
        "id": local_id,
    })
}

/// The fields of a folder.
pub(super) fn folder_fields(folder: &Folder, local_id: &str) -> Value {
    json!({
        "name": folder.name,
        "description": folder.description,
        "instructions": folder.instructions,
        "metadata": folder.metadata,
        "embedding": null,
        "embedding_chunk_size": null,
        "embedding_config": folder.embedding.config,
        "id": local_id,
    })
}

/// The fields of a file. `name` begins with the folder's name.
pub(super) fn file_fields(file: &File, local_id: &str, source_id: &str, name: &str, text: Option<&str>) -> Value {
    json!({
        "source_id": source_id,
        "file_name": name,
        "original_file_name": file.original_name,
        "file_path": null,
        "file_type": file.media_type,
        "file_size": file.size,
        "file_creation_date": null,
        "file_last_modified_date": null,
        "processing_status": "completed",
        "error_message": null,
        "total_chunks": file.chunks,
        "chunks_embedded": file.chunks,
        "content": text,
        "id": local_id,
    })
}
