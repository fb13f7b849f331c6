//! Agents as clients see them, written from what is stored: most of it is the same on the wire, and is copied and never
//! read.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::{
    ACTOR,
    agent::ContextEntry,
    folder::Folder,
    pending::Pending,
    scan::Scan,
    secret::{Secret, WireSecret},
    wire::WireMessage,
};
use crate::mock::client::Include;

/// What is linked to an agent, read for an answer.
#[derive(Clone, Debug, Default)]
pub(in crate::mock) struct Loaded {
    /// What is stored of a block is what goes over the wire.
    pub(in crate::mock) blocks: Vec<Box<RawValue>>,
    pub(in crate::mock) tools: Vec<Cow<'static, RawValue>>,
    pub(in crate::mock) folders: Vec<Folder>,
    pub(in crate::mock) identities: Vec<Value>,
    pub(in crate::mock) managed_group: Option<Value>,
}

/// An agent as [`Agent`](super::Agent) stores it.
#[derive(Deserialize)]
pub(in crate::mock) struct StoredAgent<'a> {
    /// None has escapes.
    id: &'a str,
    #[serde(borrow)]
    name: Json<'a>,
    #[serde(borrow)]
    description: Json<'a>,
    #[serde(borrow)]
    metadata: Json<'a>,
    #[serde(borrow)]
    agent_type: Json<'a>,
    #[serde(borrow)]
    system: Json<'a>,
    #[serde(borrow)]
    model: Json<'a>,
    #[serde(borrow)]
    model_settings: Json<'a>,
    #[serde(borrow)]
    llm_config: Json<'a>,
    #[serde(borrow)]
    embedding: Option<StoredEmbedding<'a>>,
    #[serde(borrow)]
    compaction_settings: Json<'a>,
    #[serde(borrow)]
    response_format: Json<'a>,
    #[serde(borrow)]
    context: &'a RawValue,
    #[serde(borrow)]
    pending: Json<'a>,
    #[serde(borrow)]
    tool_rules: Json<'a>,
    #[serde(borrow)]
    tags: Json<'a>,
    #[serde(borrow)]
    secrets: Json<'a>,
    #[serde(borrow)]
    project_id: Json<'a>,
    #[serde(borrow)]
    template_id: Json<'a>,
    #[serde(borrow)]
    base_template_id: Json<'a>,
    #[serde(borrow)]
    deployment_id: Json<'a>,
    #[serde(borrow)]
    entity_id: Json<'a>,
    #[serde(borrow)]
    message_buffer_autoclear: Json<'a>,
    #[serde(borrow)]
    enable_sleeptime: Json<'a>,
    #[serde(borrow)]
    last_run_completion: Json<'a>,
    #[serde(borrow)]
    last_run_duration_ms: Json<'a>,
    #[serde(borrow)]
    last_stop_reason: Json<'a>,
    #[serde(borrow)]
    timezone: Json<'a>,
    #[serde(borrow)]
    max_files_open: Json<'a>,
    #[serde(borrow)]
    per_file_view_window_char_limit: Json<'a>,
    #[serde(borrow)]
    hidden: Json<'a>,
    #[serde(borrow)]
    created_at: Json<'a>,
    #[serde(borrow)]
    updated_at: Json<'a>,
}

/// JSON as it is stored; none: null, or not there.
type Json<'a> = Option<&'a RawValue>;

#[derive(Deserialize)]
struct StoredEmbedding<'a> {
    #[serde(borrow)]
    handle: &'a RawValue,
    #[serde(borrow)]
    config: &'a RawValue,
}

/// An agent as clients see it. The order of the fields is Letta's.
#[derive(Serialize)]
struct WireAgent<'a> {
    created_by_id: &'static str,
    last_updated_by_id: &'static str,
    created_at: Json<'a>,
    updated_at: Json<'a>,
    id: &'a str,
    name: Json<'a>,
    tool_rules: Json<'a>,
    message_ids: Vec<Cow<'a, str>>,
    system: Json<'a>,
    agent_type: Json<'a>,
    llm_config: Json<'a>,
    embedding_config: Json<'a>,
    model: Json<'a>,
    embedding: Json<'a>,
    model_settings: Json<'a>,
    compaction_settings: Json<'a>,
    response_format: Json<'a>,
    description: Json<'a>,
    metadata: Json<'a>,
    memory: WireMemory<'a>,
    blocks: &'a [Box<RawValue>],
    tools: &'a [Cow<'static, RawValue>],
    sources: Vec<Value>,
    tags: Tags<'a>,
    tool_exec_environment_variables: &'a [WireSecret<'a>],
    secrets: &'a [WireSecret<'a>],
    project_id: Json<'a>,
    template_id: Json<'a>,
    base_template_id: Json<'a>,
    deployment_id: Json<'a>,
    entity_id: Json<'a>,
    identity_ids: Vec<&'a Value>,
    identities: &'a [Value],
    pending_approval: Option<WireMessage>,
    message_buffer_autoclear: Json<'a>,
    enable_sleeptime: Json<'a>,
    multi_agent_group: Option<&'a Value>,
    managed_group: Option<&'a Value>,
    last_run_completion: Json<'a>,
    last_run_duration_ms: Json<'a>,
    last_stop_reason: Json<'a>,
    timezone: Json<'a>,
    max_files_open: Json<'a>,
    per_file_view_window_char_limit: Json<'a>,
    hidden: Json<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Tags<'a> {
    Stored(&'a RawValue),
    None([(); 0]),
}

/// An agent's memory as clients see it.
#[derive(Serialize)]
struct WireMemory<'a> {
    agent_type: Json<'a>,
    git_enabled: bool,
    blocks: &'a [Box<RawValue>],
    file_blocks: [(); 0],
    prompt_template: &'static str,
}

impl<'a> StoredAgent<'a> {
    /// Reads a stored agent.
    pub(in crate::mock) fn read(body: &'a str) -> serde_json::Result<Self> {
        serde_json::from_str(body)
    }

    /// Writes the agent as clients see it.
    pub(in crate::mock) fn write(
        &self,
        include: Include,
        loaded: &Loaded,
        out: &mut Vec<u8>,
    ) -> serde_json::Result<()> {
        let blocks = if include.blocks { loaded.blocks.as_slice() } else { &[] };
        let secrets = self.secrets(include)?;
        let secrets: Vec<WireSecret<'_>> = secrets.iter().map(|secret| secret.wire(self.id)).collect();
        let wire = WireAgent {
            created_by_id: ACTOR,
            last_updated_by_id: ACTOR,
            created_at: self.created_at,
            updated_at: self.updated_at,
            id: self.id,
            name: self.name,
            tool_rules: self.tool_rules,
            message_ids: self.message_ids()?,
            system: self.system,
            agent_type: self.agent_type,
            llm_config: self.llm_config,
            embedding_config: self.embedding.as_ref().map(|embedding| embedding.config),
            model: self.model,
            embedding: self.embedding.as_ref().map(|embedding| embedding.handle),
            model_settings: self.model_settings,
            compaction_settings: self.compaction_settings,
            response_format: self.response_format,
            description: self.description,
            metadata: self.metadata,
            memory: WireMemory {
                agent_type: self.agent_type,
                git_enabled: false,
                blocks,
                file_blocks: [],
                prompt_template: "",
            },
            blocks,
            tools: if include.tools { &loaded.tools } else { &[] },
            sources: loaded.folders.iter().map(Folder::wire_as_source).collect(),
            tags: self.tags.filter(|_| include.tags).map_or(Tags::None([]), Tags::Stored),
            tool_exec_environment_variables: &secrets,
            secrets: &secrets,
            project_id: self.project_id,
            template_id: self.template_id,
            base_template_id: self.base_template_id,
            deployment_id: self.deployment_id,
            entity_id: self.entity_id,
            identity_ids: loaded.identities.iter().map(|identity| &identity["id"]).collect(),
            identities: &loaded.identities,
            pending_approval: self.pending_approval(include)?,
            message_buffer_autoclear: self.message_buffer_autoclear,
            enable_sleeptime: self.enable_sleeptime,
            multi_agent_group: loaded.managed_group.as_ref(),
            managed_group: loaded.managed_group.as_ref(),
            last_run_completion: self.last_run_completion,
            last_run_duration_ms: self.last_run_duration_ms,
            last_stop_reason: self.last_stop_reason,
            timezone: self.timezone,
            max_files_open: self.max_files_open,
            per_file_view_window_char_limit: self.per_file_view_window_char_limit,
            hidden: self.hidden,
        };
        serde_json::to_writer(out, &wire)
    }

    /// The messages that the model sees. There may be many.
    fn message_ids(&self) -> serde_json::Result<Vec<Cow<'a, str>>> {
        if let Some(ids) = plain_ids(self.context.get()) {
            return Ok(ids);
        }
        let context: Vec<ContextEntry> = serde_json::from_str(self.context.get())?;
        Ok(context.into_iter().map(|entry| Cow::Owned(entry.id)).collect())
    }

    fn secrets(&self, include: Include) -> serde_json::Result<Vec<Secret>> {
        match self.secrets.filter(|_| include.secrets) {
            Some(secrets) => serde_json::from_str(secrets.get()),
            None => Ok(Vec::new()),
        }
    }

    /// The question that the default conversation waits for an answer to, as clients see it.
    fn pending_approval(&self, include: Include) -> serde_json::Result<Option<WireMessage>> {
        let Some(pending) = self.pending.filter(|_| include.pending_approval) else { return Ok(None) };
        let pending: Pending = serde_json::from_str(pending.get())?;
        let mut question = pending.request.expand().pop();
        if let Some(question) = &mut question {
            // Here, and only here, Letta gives it the message's id.
            question.otid = Some(question.id.clone());
        }
        Ok(question)
    }
}

/// The ids in a context that is written as [`ContextEntry`] is, without escapes.
fn plain_ids(context: &str) -> Option<Vec<Cow<'_, str>>> {
    let mut scan = Scan(context);
    let mut ids = Vec::with_capacity(context.len() / 64);
    scan.literal("[")?;
    while !scan.skips("]") {
        if !ids.is_empty() {
            scan.literal(",")?;
        }
        scan.literal(r#"{"id":"#)?;
        ids.push(Cow::Borrowed(scan.plain()?));
        scan.literal(r#","tokens":"#)?;
        scan.past(b'}')?;
    }
    scan.0.is_empty().then_some(ids)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::agent::Agent, *};
    use crate::mock::fields::Fields;

    #[test]
    fn the_wire_form_has_every_key_in_lettas_order() {
        let body = json!({"model": "openai/gpt-4o-mini", "tags": ["a", "b", "a"], "secrets": {"K": "\"v"}});
        let agent = Agent::create(&Fields::of_body(&body).unwrap()).unwrap();
        let stored = serde_json::to_string(&agent).unwrap();
        let wire = |include| {
            let mut text = Vec::new();
            StoredAgent::read(&stored).unwrap().write(include, &Loaded::default(), &mut text).unwrap();
            serde_json::from_slice::<Value>(&text).unwrap()
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
}
