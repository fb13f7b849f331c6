//! Agents as clients see them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::{
    ACTOR,
    file_block::{FileBlock, WireFileBlock},
    folder::Folder,
    include::Include,
    message::Message,
    message_view::MessageView,
    pending::Pending,
    secret::{Secret, WireSecret},
    stored_context,
    wire_message::WireMessage,
};

/// What is linked to an agent, read for a response.
#[derive(Clone, Debug, Default)]
pub(in crate::mock) struct Loaded {
    /// Blocks are stored in their wire form.
    pub(in crate::mock) blocks: Vec<Box<RawValue>>,
    /// Tools as clients see them. Those that come with the server are always the same.
    pub(in crate::mock) tools: Vec<Cow<'static, RawValue>>,
    pub(in crate::mock) folders: Vec<Folder>,
    /// The files of the folders.
    pub(in crate::mock) files: Vec<FileBlock>,
    pub(in crate::mock) identities: Vec<Value>,
    pub(in crate::mock) managed_group: Option<Value>,
}

/// A stored [`Agent`]. Most fields have the same form on the wire and are copied without parsing them. Fields that an
/// earlier version did not store are null.
///
/// [`Agent`]: super::Agent
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(in crate::mock) struct StoredAgent<'a> {
    created_at: Piece<'a>,
    updated_at: Piece<'a>,
    pub(in crate::mock) id: &'a str,
    name: Piece<'a>,
    tool_rules: Piece<'a>,
    #[serde(rename = "context", deserialize_with = "stored_context::deserialize_ids")]
    message_ids: Cow<'a, RawValue>,
    system: Piece<'a>,
    agent_type: Piece<'a>,
    llm_config: Piece<'a>,
    model: Piece<'a>,
    model_settings: Piece<'a>,
    compaction_settings: Piece<'a>,
    response_format: Piece<'a>,
    description: Piece<'a>,
    metadata: Piece<'a>,
    embedding: Option<StoredEmbedding<'a>>,
    tags: Vec<&'a RawValue>,
    secrets: Vec<Secret>,
    project_id: Piece<'a>,
    template_id: Piece<'a>,
    base_template_id: Piece<'a>,
    deployment_id: Piece<'a>,
    entity_id: Piece<'a>,
    message_buffer_autoclear: Piece<'a>,
    enable_sleeptime: Piece<'a>,
    last_run_completion: Piece<'a>,
    last_run_duration_ms: Piece<'a>,
    last_stop_reason: Piece<'a>,
    timezone: Piece<'a>,
    max_files_open: Piece<'a>,
    pub(in crate::mock) per_file_view_window_char_limit: i64,
    hidden: Piece<'a>,
    pending: Option<Box<Pending>>,
}

/// The value of a field, in its stored form.
type Piece<'a> = Option<&'a RawValue>;

#[derive(Deserialize)]
struct StoredEmbedding<'a> {
    #[serde(borrow)]
    handle: Piece<'a>,
    #[serde(borrow)]
    config: Piece<'a>,
}

/// An agent as clients see it. The order of the fields is Letta's.
#[derive(Serialize)]
pub(in crate::mock) struct WireAgent<'a> {
    created_by_id: &'static str,
    last_updated_by_id: &'static str,
    created_at: Piece<'a>,
    updated_at: Piece<'a>,
    id: &'a str,
    name: Piece<'a>,
    tool_rules: Piece<'a>,
    message_ids: &'a RawValue,
    system: Piece<'a>,
    agent_type: Piece<'a>,
    llm_config: Piece<'a>,
    embedding_config: Piece<'a>,
    model: Piece<'a>,
    embedding: Piece<'a>,
    model_settings: Piece<'a>,
    compaction_settings: Piece<'a>,
    response_format: Piece<'a>,
    description: Piece<'a>,
    metadata: Piece<'a>,
    memory: WireMemory<'a, Piece<'a>, Box<RawValue>>,
    blocks: &'a [Box<RawValue>],
    tools: &'a [Cow<'static, RawValue>],
    sources: Vec<Value>,
    tags: &'a [&'a RawValue],
    tool_exec_environment_variables: Vec<WireSecret<'a>>,
    secrets: Vec<WireSecret<'a>>,
    project_id: Piece<'a>,
    template_id: Piece<'a>,
    base_template_id: Piece<'a>,
    deployment_id: Piece<'a>,
    entity_id: Piece<'a>,
    identity_ids: Vec<&'a Value>,
    identities: &'a [Value],
    pending_approval: Option<WireMessage>,
    message_buffer_autoclear: Piece<'a>,
    enable_sleeptime: Piece<'a>,
    multi_agent_group: Option<&'a Value>,
    managed_group: Option<&'a Value>,
    last_run_completion: Piece<'a>,
    last_run_duration_ms: Piece<'a>,
    last_stop_reason: Piece<'a>,
    timezone: Piece<'a>,
    max_files_open: Piece<'a>,
    per_file_view_window_char_limit: i64,
    hidden: Piece<'a>,
}

/// An agent's memory as clients see it; `T` is the agent's type and `B` a block.
#[derive(Serialize)]
pub(in crate::mock) struct WireMemory<'a, T, B> {
    agent_type: T,
    git_enabled: bool,
    blocks: &'a [B],
    file_blocks: Vec<WireFileBlock<'a>>,
    prompt_template: &'static str,
}

impl<'a, T, B> WireMemory<'a, T, B> {
    /// The memory of an agent: its type, its blocks, and its windows on files.
    pub(in crate::mock) fn new(agent_id: &str, agent_type: T, blocks: &'a [B], files: &'a [FileBlock]) -> Self {
        let file_blocks = files.iter().map(|file| file.wire(agent_id)).collect();
        Self { agent_type, git_enabled: false, blocks, file_blocks, prompt_template: "" }
    }
}

impl StoredAgent<'_> {
    /// The agent as clients see it, with the relationships that `include` names.
    pub(in crate::mock) fn wire<'a>(&'a self, include: Include, loaded: &'a Loaded) -> WireAgent<'a> {
        let (blocks, files) = if include.blocks { (&*loaded.blocks, &*loaded.files) } else { (&[][..], &[][..]) };
        let secrets: &[Secret] = if include.secrets { &self.secrets } else { &[] };
        let secrets = || secrets.iter().map(|secret| secret.wire(self.id)).collect();
        let embedding = self.embedding.as_ref();
        let managed_group = loaded.managed_group.as_ref();
        let pending = self.pending.as_ref().filter(|_| include.pending_approval);
        WireAgent {
            created_by_id: ACTOR,
            last_updated_by_id: ACTOR,
            created_at: self.created_at,
            updated_at: self.updated_at,
            id: self.id,
            name: self.name,
            tool_rules: self.tool_rules,
            message_ids: &self.message_ids,
            system: self.system,
            agent_type: self.agent_type,
            llm_config: self.llm_config,
            embedding_config: embedding.and_then(|embedding| embedding.config),
            model: self.model,
            embedding: embedding.and_then(|embedding| embedding.handle),
            model_settings: self.model_settings,
            compaction_settings: self.compaction_settings,
            response_format: self.response_format,
            description: self.description,
            metadata: self.metadata,
            memory: WireMemory::new(self.id, self.agent_type, blocks, files),
            blocks,
            tools: if include.tools { &loaded.tools } else { &[] },
            sources: loaded.folders.iter().map(Folder::wire_as_source).collect(),
            tags: if include.tags { &self.tags } else { &[] },
            tool_exec_environment_variables: secrets(),
            secrets: secrets(),
            project_id: self.project_id,
            template_id: self.template_id,
            base_template_id: self.base_template_id,
            deployment_id: self.deployment_id,
            entity_id: self.entity_id,
            identity_ids: loaded.identities.iter().map(|identity| &identity["id"]).collect(),
            identities: &loaded.identities,
            pending_approval: pending.and_then(|pending| question(&pending.request)),
            message_buffer_autoclear: self.message_buffer_autoclear,
            enable_sleeptime: self.enable_sleeptime,
            multi_agent_group: managed_group,
            managed_group,
            last_run_completion: self.last_run_completion,
            last_run_duration_ms: self.last_run_duration_ms,
            last_stop_reason: self.last_stop_reason,
            timezone: self.timezone,
            max_files_open: self.max_files_open,
            per_file_view_window_char_limit: self.per_file_view_window_char_limit,
            hidden: self.hidden,
        }
    }
}

/// The pending approval request of the default conversation, as clients see it.
fn question(request: &Message) -> Option<WireMessage> {
    let mut question = request.expand(&MessageView::USUAL).pop()?;
    // Only here does Letta use the id of the message.
    question.otid = Some(question.id.clone());
    Some(question)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{agent::Agent, context::ContextEntry, message::Role},
        *,
    };
    use crate::mock::validation::body::Fields;

    #[test]
    fn the_wire_form_has_every_key_in_lettas_order() {
        let body = json!({"model": "openai/gpt-4o-mini", "tags": ["a", "b", "a"], "secrets": {"K": "\"v"}});
        let agent = Agent::create(&Fields::of_body(&body).unwrap()).unwrap();
        let stored = serde_json::to_string(&agent).unwrap();
        let wire = |include| {
            let agent: StoredAgent<'_> = serde_json::from_str(&stored).unwrap();
            serde_json::to_value(agent.wire(include, &Loaded::default())).unwrap()
        };
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
        agent.pending = Some(Box::new(Pending { request, automatic: Vec::new(), scripted: Vec::new(), reply: None }));
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
            let again: StoredAgent<'_> = serde_json::from_str(&body).unwrap();
            let wire = serde_json::to_value(again.wire(Include::EVERYTHING, &Loaded::default())).unwrap();
            assert_eq!(
                (&wire["message_ids"], &wire["embedding"]),
                (&stored["context"]["ids"], &stored["embedding"]["handle"])
            );
            for name in
                ["name", "tool_rules", "llm_config", "model", "metadata", "tags", "response_format", "entity_id"]
            {
                assert_eq!(wire[name], stored[name], "{name}");
            }
        }
        let mut broken = stored;
        broken["context"]["tokens"] = json!([17]);
        assert!(serde_json::from_value::<Agent>(broken).is_err());
    }
}
