//! Imports the agents of an agent file, once the parts that they share are imported.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{
    import_options::History,
    import_parts::{ImportContext, built_in},
    messages::ImportedMessages,
    reading::{dangling, invalid_file, items, new_id},
};
use crate::{
    error::ApiError,
    mock::{
        agents::{
            create::{Attachments, create_agent, new_blocks},
            legacy,
        },
        budget::{Budget, json_length},
        records::{Agent, File, SPEAKING_TOOL, Tool},
        storage::{Stored, View},
        tools::base_tools,
        validation::body::{Fields, TextMap},
    },
    store::Tx,
};

/// The fields of a request that configure the model. Letta ignores them in a file that has an `llm_config`.
const MODEL_FIELDS: &[&str] = &[
    "model",
    "model_settings",
    "context_window_limit",
    "max_tokens",
    "max_reasoning_tokens",
    "enable_reasoner",
    "reasoning",
    "parallel_tool_calls",
];

impl ImportContext<'_> {
    /// Imports an agent.
    pub(super) async fn import_agent(
        &self,
        tx: &mut Tx,
        view: View<'_>,
        written: &Fields<'_>,
        budget: &Budget,
    ) -> Result<Stored<Agent>, ApiError> {
        /// The size of an agent's record besides its prompt, in bytes.
        const RECORD: usize = 16 * 1024;
        let block_ids: Vec<&str> = written.optional("block_ids").map_err(invalid_file)?.unwrap_or_default();
        let shown: usize = block_ids.iter().filter_map(|id| self.labels.get(*id)).map(|(_, length)| length).sum();
        let given = match &self.import.history {
            History::Given(given) => json_length(given),
            _ => 0,
        };
        budget.charge(RECORD + shown + given + json_length(written.map()) + json_length(&self.import.fields))?;
        let body = self.body(written)?;
        let fields = Fields::of_body(&body)?;
        let mut agent = Agent::create(&fields).map_err(invalid_file)?;
        agent.deployment_id.clone_from(&self.import.deployment_id);
        if let (None, Some(llm)) =
            (&self.import.model, written.optional::<&Map<_, _>>("llm_config").map_err(invalid_file)?)
            && llm.get("max_tokens").is_none_or(Value::is_null)
        {
            // In a file it means the provider's limit, not the default of a new agent.
            agent.model.llm.insert("max_tokens".into(), Value::Null);
        }
        let tools = self.tools_of(written, &agent)?;
        let agent_type = agent.agent_type.as_str();
        let without_system = |messages| ImportedMessages { messages, ..ImportedMessages::default() };
        let history = match &self.import.history {
            History::FromFile => {
                let speaks_by_tool = tools.iter().any(|tool| tool.record.name == SPEAKING_TOOL);
                ImportedMessages::read(written, &agent, speaks_by_tool)?
            }
            History::Empty => ImportedMessages::default(),
            History::Initial => without_system(legacy::initial_messages_of_new(agent_type, true)),
            History::Given(given) => without_system(legacy::convert_initial_messages(agent_type, given.clone())),
        };
        agent.pending = history.pending();
        let mut source_ids: Vec<String> = written.optional("source_ids").map_err(invalid_file)?.unwrap_or_default();
        source_ids.extend(written.optional::<Vec<String>>("folder_ids").map_err(invalid_file)?.unwrap_or_default());
        let labels: HashSet<&str> =
            block_ids.iter().filter_map(|id| self.labels.get(*id)).map(|(label, _)| label.as_str()).collect();
        let mut new_blocks = new_blocks(written).map_err(invalid_file)?;
        new_blocks.retain(|block| !labels.contains(block.label.as_str()));
        let attachments = Attachments {
            new_blocks,
            block_ids: self.blocks_of(written)?,
            tools,
            folder_ids: source_ids
                .iter()
                .map(|id| self.folders.get(id).cloned().ok_or_else(|| dangling(id)))
                .collect::<Result<_, _>>()?,
            identity_ids: self.import.identity_ids.clone(),
            files: self.open_files(written)?,
            system: history.system,
            history: history.messages,
            out_of_context: history.out_of_context,
            // Sleeptime agents are in the file.
            without_sleeptime_agent: true,
        };
        create_agent(tx, view, self.scope, agent, attachments).await
    }

    /// The ids of an agent's blocks. Of two with the same label, the second is ignored.
    fn blocks_of(&self, written: &Fields<'_>) -> Result<Vec<String>, ApiError> {
        let mut labels = HashSet::new();
        let mut all = Vec::new();
        for id in written.optional::<Vec<&str>>("block_ids").map_err(invalid_file)?.unwrap_or_default() {
            let block = new_id(&self.blocks, id)?;
            if self.labels.get(id).is_none_or(|(label, _)| labels.insert(label)) {
                all.push(block);
            }
        }
        Ok(all)
    }

    /// The tools of an agent, without duplicates: those that it names by local id or by name, and the default tools of its type
    /// unless `include_base_tools` is false.
    fn tools_of(&self, written: &Fields<'_>, agent: &Agent) -> Result<Vec<Stored<Tool>>, ApiError> {
        let flag = |name| written.optional::<bool>(name).map_err(invalid_file);
        let texts = |name| written.optional::<Vec<&str>>(name).map(Option::unwrap_or_default).map_err(invalid_file);
        let mut names = Vec::new();
        if flag("include_base_tools")?.unwrap_or(true) {
            names.extend_from_slice(base_tools::default_names(&agent.agent_type));
        }
        if flag("include_multi_agent_tools")?.unwrap_or(false) {
            names.extend_from_slice(&base_tools::MULTI_AGENT);
        }
        names.extend(texts("tools")?);
        let mut all = Vec::new();
        for id in texts("tool_ids")? {
            all.push(self.tools.get(id).cloned().ok_or_else(|| dangling(id))?);
        }
        for name in names {
            let tool = base_tools::by_name(name).map(built_in).or_else(|| self.tools_by_name.get(name).cloned());
            all.push(tool.ok_or_else(|| dangling(name))?);
        }
        let mut seen = HashSet::new();
        all.retain(|tool| seen.insert(tool.record.id.clone()));
        Ok(all)
    }

    /// The files that the agent has open.
    fn open_files(&self, written: &Fields<'_>) -> Result<Vec<File>, ApiError> {
        let mut open = Vec::new();
        for attachment in items(written, "files_agents")? {
            let id: &str = attachment.required("file_id").map_err(invalid_file)?;
            let file = self.files.get(id).ok_or_else(|| dangling(id))?;
            if attachment.optional("is_open").map_err(invalid_file)?.unwrap_or(true) {
                open.push(file.clone());
            }
        }
        Ok(open)
    }

    /// The body of a request for the agent, with the options of the import applied.
    fn body(&self, written: &Fields<'_>) -> Result<Value, ApiError> {
        let import = self.import;
        let mut body = written.map().clone();
        if body.get("llm_config").is_some_and(Value::is_object) {
            for name in MODEL_FIELDS {
                body.remove(*name);
            }
        }
        let name: Option<&str> = written.optional("name").map_err(invalid_file)?;
        let new_name = import.name.as_deref();
        if let Some(name) = new_name.or(name) {
            let suffix = if new_name.is_none() && import.with_suffix { "_copy" } else { "" };
            body.insert("name".into(), format!("{name}{suffix}").into());
        }
        if let Some(model) = &import.model {
            body.remove("llm_config");
            body.insert("model".into(), model.as_str().into());
        }
        if let Some(embedding) = &import.embedding {
            body.remove("embedding_config");
            body.insert("embedding".into(), embedding.as_str().into());
        }
        let mut secrets = Map::new();
        for name in ["tool_exec_environment_variables", "secrets"] {
            if let Some(TextMap(entries)) = written.optional(name).map_err(invalid_file)? {
                secrets.extend(entries.into_iter().map(|(key, value)| (key, value.into())));
            }
            body.remove(name);
        }
        secrets.extend(import.secrets.iter().map(|(key, value)| (key.clone(), value.as_str().into())));
        body.insert("secrets".into(), Value::Object(secrets));
        body.remove("project_id");
        body.extend(import.fields.clone());
        Ok(Value::Object(body))
    }
}
