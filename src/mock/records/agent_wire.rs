//! Agents as clients see them.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};

use super::{
    ACTOR,
    agent::Agent,
    file_block::{FileBlock, WireFileBlock},
    folder::Folder,
    message::Message,
    run::StopReason,
    secret::{Secret, WireSecret},
    showing::Showing,
    timestamp::Timestamp,
    wire::WireMessage,
};
use crate::mock::client::Include;

/// What is linked to an agent, read for an answer.
#[derive(Clone, Debug, Default)]
pub(in crate::mock) struct Loaded {
    /// What is stored of a block is what goes over the wire.
    pub(in crate::mock) blocks: Vec<Box<RawValue>>,
    /// Tools as clients see them. Those that come with the server are always the same.
    pub(in crate::mock) tools: Vec<Cow<'static, RawValue>>,
    pub(in crate::mock) folders: Vec<Folder>,
    /// The files of the folders.
    pub(in crate::mock) files: Vec<FileBlock>,
    pub(in crate::mock) identities: Vec<Value>,
    pub(in crate::mock) managed_group: Option<Value>,
}

/// An agent as clients see it. The order of the fields is Letta's.
#[derive(Serialize)]
pub(in crate::mock) struct WireAgent<'a> {
    created_by_id: &'static str,
    last_updated_by_id: &'static str,
    created_at: Timestamp,
    updated_at: Timestamp,
    id: &'a str,
    name: &'a str,
    tool_rules: &'a [Value],
    message_ids: Vec<&'a str>,
    system: &'a str,
    agent_type: &'a str,
    llm_config: &'a Map<String, Value>,
    embedding_config: Option<&'a Map<String, Value>>,
    model: &'a str,
    embedding: Option<&'a str>,
    model_settings: &'a Map<String, Value>,
    compaction_settings: &'a Map<String, Value>,
    response_format: Option<&'a Map<String, Value>>,
    description: Option<&'a str>,
    metadata: Option<&'a Map<String, Value>>,
    memory: WireMemory<'a, Box<RawValue>>,
    blocks: &'a [Box<RawValue>],
    tools: &'a [Cow<'static, RawValue>],
    sources: Vec<Value>,
    tags: &'a [String],
    tool_exec_environment_variables: Vec<WireSecret<'a>>,
    secrets: Vec<WireSecret<'a>>,
    project_id: Option<&'a str>,
    template_id: Option<&'a str>,
    base_template_id: Option<&'a str>,
    deployment_id: Option<&'a str>,
    entity_id: Option<&'a str>,
    identity_ids: Vec<&'a Value>,
    identities: &'a [Value],
    pending_approval: Option<WireMessage>,
    message_buffer_autoclear: bool,
    enable_sleeptime: Option<bool>,
    multi_agent_group: Option<&'a Value>,
    managed_group: Option<&'a Value>,
    last_run_completion: Option<Timestamp>,
    last_run_duration_ms: Option<i64>,
    last_stop_reason: Option<StopReason>,
    timezone: &'a str,
    max_files_open: i64,
    per_file_view_window_char_limit: i64,
    hidden: Option<bool>,
}

/// An agent's memory as clients see it; `B` is a block.
#[derive(Serialize)]
pub(in crate::mock) struct WireMemory<'a, B> {
    agent_type: &'a str,
    git_enabled: bool,
    blocks: &'a [B],
    file_blocks: Vec<WireFileBlock<'a>>,
    prompt_template: &'static str,
}

impl Agent {
    /// The agent as clients see it, with as much of what is linked to it as they ask for.
    pub(in crate::mock) fn wire<'a>(&'a self, include: Include, loaded: &'a Loaded) -> WireAgent<'a> {
        let (blocks, files) = if include.blocks { (&*loaded.blocks, &*loaded.files) } else { (&[][..], &[][..]) };
        let secrets: &[Secret] = if include.secrets { &self.secrets } else { &[] };
        let secrets = || secrets.iter().map(|secret| secret.wire(&self.id)).collect();
        let managed_group = loaded.managed_group.as_ref();
        WireAgent {
            created_by_id: ACTOR,
            last_updated_by_id: ACTOR,
            created_at: self.created_at,
            updated_at: self.updated_at,
            id: &self.id,
            name: &self.name,
            tool_rules: &self.tool_rules,
            message_ids: self.context.iter().map(|entry| entry.id.as_str()).collect(),
            system: &self.system,
            agent_type: &self.agent_type,
            llm_config: &self.model.llm,
            embedding_config: self.embedding.as_ref().map(|embedding| &embedding.config),
            model: &self.model.handle,
            embedding: self.embedding.as_ref().map(|embedding| embedding.handle.as_str()),
            model_settings: &self.model.settings,
            compaction_settings: &self.compaction_settings,
            response_format: self.response_format.as_ref(),
            description: self.description.as_deref(),
            metadata: self.metadata.as_ref(),
            memory: self.memory(blocks, files),
            blocks,
            tools: if include.tools { &loaded.tools } else { &[] },
            sources: loaded.folders.iter().map(Folder::wire_as_source).collect(),
            tags: if include.tags { &self.tags } else { &[] },
            tool_exec_environment_variables: secrets(),
            secrets: secrets(),
            project_id: self.project_id.as_deref(),
            template_id: self.template_id.as_deref(),
            base_template_id: self.base_template_id.as_deref(),
            deployment_id: self.deployment_id.as_deref(),
            entity_id: self.entity_id.as_deref(),
            identity_ids: loaded.identities.iter().map(|identity| &identity["id"]).collect(),
            identities: &loaded.identities,
            pending_approval: self
                .pending
                .as_ref()
                .filter(|_| include.pending_approval)
                .and_then(|pending| question(&pending.request)),
            message_buffer_autoclear: self.message_buffer_autoclear,
            enable_sleeptime: self.enable_sleeptime,
            multi_agent_group: managed_group,
            managed_group,
            last_run_completion: self.last_run_completion,
            last_run_duration_ms: self.last_run_duration_ms,
            last_stop_reason: self.last_stop_reason,
            timezone: &self.timezone,
            max_files_open: self.max_files_open,
            per_file_view_window_char_limit: self.per_file_view_window_char_limit,
            hidden: self.hidden,
        }
    }

    /// The agent's memory as clients see it.
    pub(in crate::mock) fn memory<'a, B>(&'a self, blocks: &'a [B], files: &'a [FileBlock]) -> WireMemory<'a, B> {
        WireMemory {
            agent_type: &self.agent_type,
            git_enabled: false,
            blocks,
            file_blocks: files.iter().map(|file| file.wire(&self.id)).collect(),
            prompt_template: "",
        }
    }
}

/// The question that the default conversation waits for an answer to, as clients see it.
fn question(request: &Message) -> Option<WireMessage> {
    let mut question = request.expand(&Showing::USUAL).pop()?;
    // Here, and only here, Letta gives it the message's id.
    question.otid = Some(question.id.clone());
    Some(question)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{
            agent::ContextEntry,
            message::{Message, Role},
            pending::Pending,
        },
        *,
    };
    use crate::mock::fields::Fields;

    #[test]
    fn the_wire_form_has_every_key_in_lettas_order() {
        let body = json!({"model": "openai/gpt-4o-mini", "tags": ["a", "b", "a"], "secrets": {"K": "\"v"}});
        let agent = Agent::create(&Fields::of_body(&body).unwrap()).unwrap();
        let wire = |include| serde_json::to_value(agent.wire(include, &Loaded::default())).unwrap();
        let all = wire(Include::EVERYTHING);
        let keys: Vec<&String> = all.as_object().unwrap().keys().collect();
        assert_eq!(keys.len(), 45);
        assert_eq!((keys[0], keys[4], keys[44]), (&"created_by_id".into(), &"id".into(), &"hidden".into()));
        assert_eq!((&all["tags"], &all["secrets"][0]["value"]), (&json!(["a", "b"]), &json!("\"v")));
        assert_eq!((&all["max_files_open"], &all["pending_approval"]), (&json!(10), &Value::Null));
        let fewer = wire(Include { tags: false, secrets: false, ..Include::EVERYTHING });
        assert_eq!((&fewer["tags"], &fewer["secrets"]), (&json!([]), &json!([])));
    }

    /// An agent in which every text is odd and nothing is missing.
    fn full_agent() -> Agent {
        let odd = "a\"],\\ \u{0}\u{1f600}},\"tokens\":[";
        let body = json!({
            "model": "openai/gpt-4o-mini", "embedding": "openai/text-embedding-3-small", "name": odd, "system": odd,
            "description": odd, "metadata": {odd: [{odd: odd}, null, 1.5, []]}, "tags": [odd], "secrets": {odd: odd},
            "timezone": odd, "memory_variables": {odd: odd}, "message_buffer_autoclear": true, "hidden": false,
            "response_format": {"type": "json_schema", "json_schema": {odd: odd}}, "last_stop_reason": "end_turn",
        });
        let mut agent = Agent::create(&Fields::of_body(&body).unwrap()).unwrap();
        let request = Message::new(Role::Approval, Vec::new());
        agent.pending = Some(Box::new(Pending { request, beside: Vec::new(), scripted: Vec::new() }));
        (agent.deployment_id, agent.entity_id) = (Some("d".into()), Some("e".into()));
        agent.context = vec![
            ContextEntry { id: "message-1".into(), tokens: 17 },
            ContextEntry { id: "message-]".into(), tokens: -1 },
        ];
        agent
    }

    #[test]
    fn agents_are_read_again_as_they_are_stored_now_or_were_before() {
        let agent = full_agent();
        let stored = serde_json::to_value(&agent).unwrap();
        let mut entries = stored.clone();
        entries["context"] = serde_json::to_value(&agent.context).unwrap();
        let mut unknown = stored.clone();
        unknown["layout"] = json!([1, 2]);
        unknown["context"]["later"] = json!({});
        for body in [stored.to_string(), entries.to_string(), unknown.to_string()] {
            let again: Agent = serde_json::from_str(&body).unwrap();
            assert_eq!(serde_json::to_value(&again).unwrap(), stored);
        }
        let mut broken = stored;
        broken["context"]["tokens"] = json!([17]);
        assert!(serde_json::from_value::<Agent>(broken).is_err());
    }
}
