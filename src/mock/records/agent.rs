//! Agents: what is stored, and what a request can set.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    Record, agent_names,
    agent_types::{AGENT_TYPES, DEFAULT_AGENT_TYPE, is_older},
    context::{ContextEntry, remember},
    defaults::{BASE_INSTRUCTIONS, compaction_settings},
    message::Message,
    model::{EmbeddingConfig, ModelConfig},
    pending::Pending,
    secret::{self, Secret},
    stop_reason::StopReason,
    stored_context,
    timestamp::Timestamp,
    tool_rules,
};
use crate::{
    entropy,
    error::ApiError,
    mock::{
        text::without_repeats,
        validation::body::{Expect, Fields, TextMap, one_of},
    },
    world,
};

/// An agent as it is stored. Blocks and tools are linked to it, messages are kept apart. A new field needs a default: those
/// that are stored do not have it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[expect(clippy::struct_field_names, reason = "Letta calls it agent_type")]
pub(in crate::mock) struct Agent {
    pub(in crate::mock) created_at: Timestamp,
    pub(in crate::mock) updated_at: Timestamp,
    pub(in crate::mock) id: String,
    pub(in crate::mock) name: String,
    pub(in crate::mock) tool_rules: Vec<Value>,
    /// The messages of the default conversation that the model sees, oldest first; the system message is the first.
    #[serde(with = "stored_context")]
    pub(in crate::mock) context: Vec<ContextEntry>,
    pub(in crate::mock) system: String,
    pub(in crate::mock) agent_type: String,
    /// Not nested: what a body may hold at its depth must not be stored any deeper, or it could not be read again.
    #[serde(flatten)]
    pub(in crate::mock) model: ModelConfig,
    pub(in crate::mock) compaction_settings: Map<String, Value>,
    pub(in crate::mock) response_format: Option<Map<String, Value>>,
    pub(in crate::mock) description: Option<String>,
    pub(in crate::mock) metadata: Option<Map<String, Value>>,
    pub(in crate::mock) embedding: Option<EmbeddingConfig>,
    pub(in crate::mock) tags: Vec<String>,
    pub(in crate::mock) secrets: Vec<Secret>,
    /// The project that the request named; `None` if it named none.
    pub(in crate::mock) project_id: Option<String>,
    pub(in crate::mock) template_id: Option<String>,
    pub(in crate::mock) base_template_id: Option<String>,
    #[serde(default)]
    pub(in crate::mock) deployment_id: Option<String>,
    #[serde(default)]
    pub(in crate::mock) entity_id: Option<String>,
    pub(in crate::mock) message_buffer_autoclear: bool,
    pub(in crate::mock) enable_sleeptime: Option<bool>,
    pub(in crate::mock) last_run_completion: Option<Timestamp>,
    pub(in crate::mock) last_run_duration_ms: Option<i64>,
    pub(in crate::mock) last_stop_reason: Option<StopReason>,
    pub(in crate::mock) timezone: String,
    pub(in crate::mock) max_files_open: i64,
    pub(in crate::mock) per_file_view_window_char_limit: i64,
    pub(in crate::mock) hidden: Option<bool>,
    /// The number of messages in the default conversation, without the system message.
    pub(in crate::mock) recall: i64,
    /// Tool calls of the default conversation that wait for approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::mock) pending: Option<Box<Pending>>,
    /// The values of the variables in the blocks that were created with the agent.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(in crate::mock) variables: Map<String, Value>,
}

/// Fields that Letta ignores or that the mock has no use for; only their types are checked.
const UNUSED: &[(&str, Expect)] = &[
    ("project_id", Expect::Text),
    ("project", Expect::Text),
    ("from_template", Expect::Text),
    ("template", Expect::Flag),
    ("include_multi_agent_tools", Expect::Flag),
    ("include_base_tool_rules", Expect::Flag),
    ("include_default_source", Expect::Flag),
];

const COMPACTION: &[(&str, Expect)] = &[
    ("model", Expect::Text),
    ("model_settings", Expect::Object),
    ("prompt", Expect::Text),
    ("prompt_acknowledgement", Expect::Flag),
    ("clip_chars", Expect::Integer),
    ("mode", Expect::Word(&["all", "sliding_window", "self_compact_all", "self_compact_sliding_window"])),
    ("sliding_window_percentage", Expect::Number),
];

impl Record for Agent {
    const KIND: &'static str = "agent";
    const NAME: &'static str = "Agent";

    fn id(&self) -> &str {
        &self.id
    }
}

impl Agent {
    /// Creates an agent from the fields of a request, without messages, blocks and tools. All types are checked first.
    pub(in crate::mock) fn create(fields: &Fields<'_>) -> Result<Self, ApiError> {
        Self::check(fields)?;
        let mut agent = Self::blank();
        if let Some(agent_type) = fields.one_of("agent_type", AGENT_TYPES)? {
            agent_type.clone_into(&mut agent.agent_type);
        }
        agent.model = ModelConfig::create(fields, is_older(&agent.agent_type))?;
        EmbeddingConfig::change(&mut agent.embedding, fields)?;
        (agent.max_files_open, agent.per_file_view_window_char_limit) = file_limits(agent.model.context_window());
        agent.apply(fields)?;
        // As in Letta, whatever the request says.
        agent.message_buffer_autoclear |= agent.agent_type == "workflow_agent";
        Ok(agent)
    }

    fn blank() -> Self {
        let now = Timestamp::now();
        Self {
            id: entropy::letta_id(Self::KIND),
            name: agent_names::random(),
            description: None,
            metadata: None,
            agent_type: DEFAULT_AGENT_TYPE.to_owned(),
            system: BASE_INSTRUCTIONS.to_owned(),
            model: ModelConfig::default(),
            embedding: None,
            compaction_settings: compaction_settings(),
            response_format: None,
            context: Vec::new(),
            recall: 0,
            pending: None,
            tool_rules: Vec::new(),
            tags: Vec::new(),
            secrets: Vec::new(),
            project_id: None,
            template_id: None,
            base_template_id: None,
            deployment_id: None,
            entity_id: None,
            variables: Map::new(),
            message_buffer_autoclear: false,
            enable_sleeptime: None,
            last_run_completion: None,
            last_run_duration_ms: None,
            last_stop_reason: None,
            timezone: "UTC".into(),
            max_files_open: 0,
            per_file_view_window_char_limit: 0,
            hidden: None,
            created_at: now,
            updated_at: now,
        }
    }

    /// Checks the types of all fields, not whether their values can be applied.
    pub(in crate::mock) fn check(fields: &Fields<'_>) -> Result<(), ApiError> {
        fields.one_of("agent_type", AGENT_TYPES)?;
        ModelConfig::check(fields)?;
        EmbeddingConfig::check(fields)?;
        world::dry_run(|| {
            let mut agent = Self::blank();
            agent.apply_last_run(fields)?;
            agent.apply(fields)
        })
    }

    /// Applies the fields of a change. Absent fields stay as they are; lists and secrets are replaced as a whole.
    pub(in crate::mock) fn change(&mut self, fields: &Fields<'_>) -> Result<(), ApiError> {
        Self::check(fields)?;
        self.model.change(fields, is_older(&self.agent_type))?;
        EmbeddingConfig::change(&mut self.embedding, fields)?;
        self.apply_last_run(fields)?;
        self.apply(fields)?;
        self.updated_at = Timestamp::now();
        Ok(())
    }

    /// Whether a model reasons when it responds for this agent. `settings` override the agent's own.
    pub(in crate::mock) fn reasons(&self, model: &str, settings: Option<&Map<String, Value>>) -> bool {
        let thinks_in_writing = is_older(&self.agent_type);
        match (model == self.model.handle, settings) {
            (true, None) => self.model.reasons(thinks_in_writing),
            (is_own, settings) => {
                let other = if is_own { Some(self.model.clone()) } else { ModelConfig::named(model) };
                other.is_some_and(|mut config| {
                    config.note_settings(settings);
                    config.reasons(thinks_in_writing)
                })
            }
        }
    }

    fn apply_last_run(&mut self, fields: &Fields<'_>) -> Result<(), ApiError> {
        self.last_run_completion = Timestamp::of_field(fields, "last_run_completion")?.or(self.last_run_completion);
        self.last_run_duration_ms = fields.optional("last_run_duration_ms")?.or(self.last_run_duration_ms);
        if let Some(value) = fields.value("last_stop_reason") {
            let word = one_of(value, &fields.at("last_stop_reason"), StopReason::WORDS)?;
            self.last_stop_reason = StopReason::from_word(word);
        }
        Ok(())
    }

    /// Applies the fields that both creation and change accept.
    fn apply(&mut self, fields: &Fields<'_>) -> Result<(), ApiError> {
        fields.check(UNUSED)?;
        self.name = fields.optional("name")?.unwrap_or_else(|| self.name.clone());
        self.description = fields.optional("description")?.or(self.description.take());
        self.metadata = fields.optional::<&Map<_, _>>("metadata")?.cloned().or(self.metadata.take());
        self.system = fields.optional("system")?.unwrap_or_else(|| self.system.clone());
        self.template_id = fields.optional("template_id")?.or(self.template_id.take());
        self.base_template_id = fields.optional("base_template_id")?.or(self.base_template_id.take());
        self.timezone = fields.optional("timezone")?.unwrap_or_else(|| self.timezone.clone());
        self.max_files_open = fields.at_least("max_files_open", 0)?.unwrap_or(self.max_files_open);
        self.per_file_view_window_char_limit =
            fields.at_least("per_file_view_window_char_limit", 0)?.unwrap_or(self.per_file_view_window_char_limit);
        self.hidden = fields.optional("hidden")?.or(self.hidden);
        self.enable_sleeptime = fields.optional("enable_sleeptime")?.or(self.enable_sleeptime);
        self.message_buffer_autoclear =
            fields.optional("message_buffer_autoclear")?.unwrap_or(self.message_buffer_autoclear);
        if let Some(TextMap(variables)) = fields.optional("memory_variables")? {
            self.variables = variables.into_iter().map(|(name, value)| (name, value.into())).collect();
        }
        if let Some(tags) = fields.optional::<Vec<String>>("tags")? {
            self.tags = without_repeats(tags);
        }
        if let Some(rules) = tool_rules::read(fields)? {
            self.tool_rules = rules;
        }
        self.apply_response_format(fields)?;
        self.apply_compaction(fields)?;
        secret::replace(&mut self.secrets, fields)
    }

    /// The format that responses must have, unless it is plain text.
    pub(in crate::mock) fn response_form(&self) -> Option<&Map<String, Value>> {
        let formed = |form: &&Map<String, Value>| form.get("type").is_some_and(|kind| kind != "text");
        let of_model = self.model.settings.get("response_format").and_then(Value::as_object);
        of_model.filter(formed).or(self.response_format.as_ref().filter(formed))
    }

    fn apply_response_format(&mut self, fields: &Fields<'_>) -> Result<(), ApiError> {
        let Some(format) = fields.optional::<Fields<'_>>("response_format")? else { return Ok(()) };
        format.one_of("type", &["text", "json_schema", "json_object"])?;
        format.check(&[("json_schema", Expect::Object)])?;
        self.response_format = Some(format.map().clone());
        Ok(())
    }

    fn apply_compaction(&mut self, fields: &Fields<'_>) -> Result<(), ApiError> {
        let Some(settings) = fields.optional::<Fields<'_>>("compaction_settings")? else { return Ok(()) };
        settings.check(COMPACTION)?;
        for (name, _) in COMPACTION {
            if let Some(value) = settings.value(name) {
                self.compaction_settings.insert((*name).to_owned(), value.clone());
            }
        }
        Ok(())
    }

    /// The id of the system message.
    pub(in crate::mock) fn system_message_id(&self) -> Option<&str> {
        self.context.first().map(|entry| entry.id.as_str())
    }

    /// Adds new messages to the context. If it no longer fits the window, the oldest messages leave it, as in Letta's
    /// sliding window; they stay in the history.
    pub(in crate::mock) fn remember(&mut self, said: impl IntoIterator<Item = ContextEntry>) {
        let (window, forgets) = (self.model.context_window(), self.message_buffer_autoclear);
        remember(&mut self.context, said, window, forgets);
    }

    /// Adds the initial messages to the context. They stay there even if the agent clears its message buffer after each
    /// turn.
    pub(in crate::mock) fn begin_with<'m>(&mut self, said: impl IntoIterator<Item = &'m Message>) {
        let entries: Vec<ContextEntry> = said.into_iter().map(ContextEntry::of).collect();
        remember(&mut self.context, entries, self.model.context_window(), false);
    }

    /// Sets whether calls of a tool need approval.
    pub(in crate::mock) fn require_approval(&mut self, tool_name: &str, required: bool) {
        let rule = json!({"tool_name": tool_name, "type": "requires_approval", "prompt_template": null});
        let is_it = |present: &Value| present["type"] == rule["type"] && present["tool_name"] == rule["tool_name"];
        match (required, self.tool_rules.iter().any(is_it)) {
            (true, false) => self.tool_rules.push(rule),
            (false, true) => self.tool_rules.retain(|present| !is_it(present)),
            _ => {}
        }
    }

    /// Its secrets as the environment variables of its tools.
    pub(in crate::mock) fn environment(&self) -> Map<String, Value> {
        self.secrets.iter().map(|secret| (secret.key.clone(), secret.value.clone().into())).collect()
    }

    /// A sleeptime agent for this agent, of the given type.
    pub(in crate::mock) fn new_sleeptime_agent(&self, agent_type: &str) -> Self {
        Self {
            name: format!("{}-sleeptime", self.name),
            agent_type: agent_type.to_owned(),
            model: self.model.clone(),
            embedding: self.embedding.clone(),
            project_id: self.project_id.clone(),
            timezone: self.timezone.clone(),
            max_files_open: self.max_files_open,
            per_file_view_window_char_limit: self.per_file_view_window_char_limit,
            ..Self::blank()
        }
    }

    /// Adds a tool rule, unless the agent has it already.
    pub(in crate::mock) fn add_rule(&mut self, tool_name: &str, kind: &str) {
        let rule = json!({"tool_name": tool_name, "type": kind, "prompt_template": null});
        if !self.tool_rules.contains(&rule) {
            self.tool_rules.push(rule);
        }
    }

    /// Updates the time of the last change.
    pub(in crate::mock) fn touch(&mut self) {
        self.updated_at = Timestamp::now();
    }

    /// Removes everything but the system message from the context.
    pub(in crate::mock) fn forget(&mut self) {
        self.context.truncate(1);
        self.recall = 0;
        self.pending = None;
        self.updated_at = Timestamp::now();
    }
}

/// The most files that an agent opens and the most characters that it sees of each, by its context window.
fn file_limits(context_window: i64) -> (i64, i64) {
    match context_window {
        ..=8_000 => (3, 5_000),
        8_001..=32_000 => (5, 15_000),
        32_001..=128_000 => (10, 25_000),
        128_001..=200_000 => (10, 40_000),
        _ => (15, 40_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::Code, mock::records::context::tokens_of};

    fn create(body: &Value) -> Agent {
        Agent::create(&Fields::of_body(body).unwrap()).unwrap()
    }

    #[test]
    fn every_wrong_type_is_named_before_anything_else_is_said() {
        for (name, value) in [
            ("name", json!(5)),
            ("description", json!([])),
            ("metadata", json!("x")),
            ("system", json!({})),
            ("tags", json!("a")),
            ("tool_rules", json!({})),
            ("secrets", json!(["a"])),
            ("tool_exec_environment_variables", json!({"k": 1})),
            ("project_id", json!(1)),
            ("template_id", json!(1)),
            ("base_template_id", json!(1)),
            ("agent_type", json!("robot")),
            ("model", json!(1)),
            ("embedding", json!(1)),
            ("llm_config", json!(1)),
            ("embedding_config", json!("x")),
            ("model_settings", json!([])),
            ("compaction_settings", json!([])),
            ("response_format", json!("text")),
            ("context_window_limit", json!("x")),
            ("max_tokens", json!("x")),
            ("max_reasoning_tokens", json!("x")),
            ("embedding_chunk_size", json!("x")),
            ("parallel_tool_calls", json!("x")),
            ("enable_reasoner", json!("x")),
            ("reasoning", json!("x")),
            ("message_buffer_autoclear", json!("x")),
            ("enable_sleeptime", json!(1)),
            ("timezone", json!(1)),
            ("max_files_open", json!(-1)),
            ("per_file_view_window_char_limit", json!(1.5)),
            ("hidden", json!("x")),
            ("include_multi_agent_tools", json!("x")),
            ("memory_variables", json!("x")),
            ("last_run_completion", json!("yesterday")),
            ("last_run_duration_ms", json!("x")),
            ("last_stop_reason", json!("bored")),
        ] {
            let error = Agent::create(&Fields::of_body(&json!({name: value})).unwrap()).unwrap_err();
            assert_eq!(error.code(), Code::ValidationFailed, "{name}");
            assert!(error.message().starts_with(&format!("body.{name}")), "{}", error.message());
        }
    }

    fn entries(count: usize, tokens: i64) -> Vec<ContextEntry> {
        (0..count).map(|index| ContextEntry { id: index.to_string(), tokens }).collect()
    }

    #[test]
    fn the_oldest_messages_leave_a_full_context_but_never_the_system_message() {
        let mut agent = create(&json!({"model": "a/b", "context_window_limit": 100}));
        agent.remember(entries(1, 10));
        agent.remember(entries(9, 10));
        assert_eq!(agent.context.len(), 10);
        agent.remember([ContextEntry { id: "new".into(), tokens: 10 }]);
        assert_eq!(agent.context.len(), 7);
        assert_eq!(tokens_of(&agent.context), 70);
        assert_eq!((agent.context[0].id.as_str(), agent.context[6].id.as_str()), ("0", "new"));
        agent.remember([ContextEntry { id: "huge".into(), tokens: 1_000 }]);
        assert_eq!(agent.context.len(), 2);
    }

    #[test]
    fn an_agent_that_forgets_keeps_only_the_system_message_in_context() {
        let mut agent = create(&json!({"model": "a/b", "message_buffer_autoclear": true}));
        agent.remember(entries(1, 10));
        agent.remember(entries(2, 10));
        assert_eq!(agent.context.len(), 1);
    }
}
