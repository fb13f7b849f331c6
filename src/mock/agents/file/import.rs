//! Agents made from what was written down. Everything gets ids of its own.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::{
    groups,
    messages::ImportedMessages,
    numbers,
    tools::{self as written_tools, make_servers, present_servers},
};
use crate::{
    error::{ApiError, Code},
    mock::{
        agents::{
            create::{Attachments, make, new_blocks, unusable},
            legacy,
        },
        budget::{Budget, json_length},
        files::{
            store::{self, Duplicate},
            upload,
        },
        records::{
            Agent, Block, File, Folder, Identity, MOST_FILLED_IN, McpServer, Message, Record, SPEAKING_TOOL, Tool,
            claims,
        },
        storage::{
            Stored, View, changed_meanwhile, claim, holder_within, insert, parse, project_scope::ProjectScope, update,
        },
        tools::base_tools::{self, BaseTool},
        validation::body::{Fields, Location, Read, TextMap},
    },
    store::{Locks, Tx},
};

/// What is to be different from what is written.
#[derive(Clone, Debug, Default)]
pub(in crate::mock) struct Import {
    /// The name of all agents; none: as written.
    pub(in crate::mock) name: Option<String>,
    /// Whether names that are as written get a suffix.
    pub(in crate::mock) with_suffix: bool,
    /// Whether tools that are there already are changed to what is written.
    pub(in crate::mock) overrides_tools: bool,
    /// The handles of other models.
    pub(in crate::mock) model: Option<String>,
    pub(in crate::mock) embedding: Option<String>,
    /// The values of secrets.
    pub(in crate::mock) secrets: Vec<(String, String)>,
    /// More fields of an agent, which replace those that are written.
    pub(in crate::mock) fields: Map<String, Value>,
    pub(in crate::mock) identity_ids: Vec<String>,
    pub(in crate::mock) history: History,
    /// Marks of the template and deployment that the agents belong to.
    pub(in crate::mock) deployment_id: Option<String>,
}

/// What the agents of a file have said.
#[derive(Clone, Debug, Default)]
pub(in crate::mock) enum History {
    /// What is written.
    #[default]
    Written,
    /// Nothing.
    Nothing,
    /// What agents of their type begin with.
    Usual,
    /// These messages, as a request gives them.
    Given(Vec<Message>),
}

/// The ids of what was made from a file.
#[derive(Clone, Debug)]
pub(in crate::mock) struct Imported {
    pub(in crate::mock) agent_ids: Vec<String>,
    pub(in crate::mock) group_ids: Vec<String>,
}

/// Makes the agents and groups that a file describes, with all that belongs to them.
pub(in crate::mock) async fn import(
    tx: &mut Tx,
    view: View<'_>,
    scope: &ProjectScope,
    file: &Value,
    import: &Import,
    budget: &Budget,
) -> Result<Imported, ApiError> {
    let fields = Fields::of_body(file).map_err(corrupted)?;
    let agents: Vec<Fields<'_>> = fields.required("agents").map_err(corrupted)?;
    if agents.is_empty() {
        return Err(unusable("The agent file has no agents"));
    }
    numbers::check(&fields)?;
    let mut things = ImportContext::new(scope, import);
    things.tools(tx, view, &fields).await?;
    things.blocks(tx, &fields).await?;
    things.folders(tx, &fields).await?;
    let (mut agent_ids, mut by_number) = (Vec::new(), HashMap::new());
    for agent in &agents {
        let made = things.agent(tx, view, agent, budget).await?.record.id;
        by_number.extend(agent.optional::<String>("id").map_err(corrupted)?.map(|number| (number, made.clone())));
        agent_ids.push(made);
    }
    let group_ids = groups::make(tx, scope, &fields, &by_number, &things.blocks).await?;
    Ok(Imported { agent_ids, group_ids })
}

/// What the file holds, by the ids it has there.
struct ImportContext<'a> {
    scope: &'a ProjectScope,
    import: &'a Import,
    tools: HashMap<String, Stored<Tool>>,
    /// The tools that the file has, and those that are there already and that an agent of it calls by name.
    called: HashMap<String, Stored<Tool>>,
    blocks: HashMap<String, String>,
    /// The labels of the blocks and how long they are, by the ids that they have in the file.
    labels: HashMap<String, (String, usize)>,
    folders: HashMap<String, String>,
    /// The files of the folders, by the ids that they have in the file.
    files: HashMap<String, File>,
    /// How often a name was given to a folder, or to a file of a folder.
    names: HashMap<(String, String), usize>,
}

impl<'a> ImportContext<'a> {
    fn new(scope: &'a ProjectScope, import: &'a Import) -> Self {
        Self {
            scope,
            import,
            tools: HashMap::new(),
            called: HashMap::new(),
            blocks: HashMap::new(),
            labels: HashMap::new(),
            folders: HashMap::new(),
            files: HashMap::new(),
            names: HashMap::new(),
        }
    }

    fn project(&self) -> &'a str {
        self.scope.project.as_str()
    }

    /// The file's tools, and all locks that the file needs.
    async fn tools(&mut self, tx: &mut Tx, view: View<'_>, file: &Fields<'_>) -> Result<(), ApiError> {
        let mut written = Vec::new();
        for tool in items(file, "tools")? {
            let id: String = tool.required("id").map_err(corrupted)?;
            let name: String = tool.required("name").map_err(corrupted)?;
            written.push((id, name, tool));
        }
        let mut called = Vec::new();
        for agent in items(file, "agents")? {
            called.extend(agent.optional::<Vec<&str>>("tools").map_err(corrupted)?.unwrap_or_default());
        }
        let mut present: HashMap<&str, String> = HashMap::new();
        let names = written.iter().map(|(_, name, _)| name.as_str()).chain(called.iter().copied());
        for name in names.filter(|name| base_tools::by_name(name).is_none()) {
            if let Some(holder) = holder_within(tx, claims::TOOL, self.project(), name).await? {
                present.insert(name, holder);
            }
        }
        let servers = present_servers(tx, self.project(), file).await?;
        let locks = Locks::of(Tool::KIND, present.values())
            .and(Identity::KIND, &self.import.identity_ids)
            .and(McpServer::KIND, servers.values());
        let locked = tx.lock(&locks).await?;
        tx.lock_names(self.project()).await?;
        make_servers(tx, self.project(), file, &locked).await?;
        for (id, name, tool) in &written {
            let tool = match (base_tools::by_name(name), present.get(name.as_str())) {
                (Some(tool), _) => built_in(tool),
                (None, Some(holder)) => {
                    let stored = locked.get(Tool::KIND, holder).map(parse::<Tool>).transpose()?;
                    let stored = stored.filter(|stored| stored.record.name == *name);
                    self.change_tool(tx, stored.ok_or_else(|| changed_meanwhile(name))?, tool).await?
                }
                (None, None) => self.make_tool(tx, view, name, tool).await?,
            };
            self.called.insert(name.clone(), tool.clone());
            self.tools.insert(id.clone(), tool);
        }
        for name in called {
            if let (false, Some(holder)) = (self.called.contains_key(name), present.get(name)) {
                let stored = locked.get(Tool::KIND, holder).map(parse::<Tool>).transpose()?;
                let stored = stored.filter(|stored| stored.record.name == name);
                self.called.insert(name.to_owned(), stored.ok_or_else(|| changed_meanwhile(name))?);
            }
        }
        Ok(())
    }

    /// A tool that is there, changed to what is written if that is wanted.
    async fn change_tool(
        &self,
        tx: &mut Tx,
        mut present: Stored<Tool>,
        written: &Fields<'_>,
    ) -> Result<Stored<Tool>, ApiError> {
        let written = written_tools::read(&present.record.name, written, None)?;
        if self.import.overrides_tools {
            written_tools::replace(&mut present.record, written);
            update(tx, &present.record).await?;
        }
        Ok(present)
    }

    async fn make_tool(
        &self,
        tx: &mut Tx,
        view: View<'_>,
        name: &str,
        written: &Fields<'_>,
    ) -> Result<Stored<Tool>, ApiError> {
        let tool = written_tools::read(name, written, self.scope.shown.as_deref())?;
        match claim(tx, claims::TOOL, self.project(), name, &tool.id).await? {
            None => insert(tx, self.project(), None, &tool).await?,
            // Another of the file has the same name.
            Some(id) if self.tools.values().any(|made| made.record.id == id) => {
                let made = view.get_within::<Tool>(tx, &id).await?;
                return self.change_tool(tx, made, written).await;
            }
            Some(_) => return Err(changed_meanwhile(name)),
        }
        Ok(Stored { seq: 0, project: self.project().to_owned(), record: tool })
    }

    async fn blocks(&mut self, tx: &mut Tx, file: &Fields<'_>) -> Result<(), ApiError> {
        let variables = self.variables()?;
        let mut left = MOST_FILLED_IN;
        for written in items(file, "blocks")? {
            let id: String = written.required("id").map_err(corrupted)?;
            let mut block = Block::create(&written).map_err(corrupted)?;
            block.project_id.clone_from(&self.scope.shown);
            block.deployment_id.clone_from(&self.import.deployment_id);
            block.fill_in(&variables, &mut left)?;
            insert(tx, self.project(), None, &block).await?;
            self.labels.insert(id.clone(), (block.label, block.value.len()));
            self.blocks.insert(id, block.id);
        }
        Ok(())
    }

    fn variables(&self) -> Result<Map<String, Value>, ApiError> {
        let Some(variables) = self.import.fields.get("memory_variables") else { return Ok(Map::new()) };
        let TextMap(variables) = TextMap::read(variables, &Location::body())?;
        Ok(variables.into_iter().map(|(name, value)| (name, value.into())).collect())
    }

    /// Folders, under names of their own, with their files.
    async fn folders(&mut self, tx: &mut Tx, file: &Fields<'_>) -> Result<(), ApiError> {
        let project = self.project();
        for written in items(file, "sources")? {
            let id: String = written.required("id").map_err(corrupted)?;
            let mut folder = Folder::of_file(&written).map_err(corrupted)?;
            let name = folder.name.clone();
            let written_name = name.clone();
            // Names that the file itself repeats are not tried again from the first.
            let number = self.names.entry((String::new(), name.clone())).or_default();
            if *number > 0 {
                folder.name = format!("{name}_({number})");
            }
            while claim(tx, claims::FOLDER, project, &folder.name, &folder.id).await?.is_some() {
                *number += 1;
                folder.name = format!("{name}_({number})");
            }
            *number += 1;
            insert(tx, self.project(), None, &folder).await?;
            self.folders.insert(id.clone(), folder.id.clone());
            let folder = Stored { seq: 0, project: self.project().to_owned(), record: folder };
            for file in items(file, "files")? {
                if file.required::<&str>("source_id").map_err(corrupted)? == id {
                    let id: String = file.required("id").map_err(corrupted)?;
                    let name: &str = file.required("file_name").map_err(corrupted)?;
                    // Letta puts the folder's name before it.
                    let own = name.strip_prefix(&*written_name).and_then(|rest| rest.strip_prefix('/'));
                    let name = own.unwrap_or(name);
                    let number = self.names.entry((folder.record.id.clone(), name.to_owned())).or_default();
                    let file = put_file(tx, &folder, &file, name, *number).await?;
                    *number += 1;
                    self.files.insert(id, file);
                }
            }
        }
        Ok(())
    }

    async fn agent(
        &self,
        tx: &mut Tx,
        view: View<'_>,
        written: &Fields<'_>,
        budget: &Budget,
    ) -> Result<Stored<Agent>, ApiError> {
        /// What an agent takes beside its prompt.
        const AGENT: usize = 16 * 1024;
        let block_ids: Vec<&str> = written.optional("block_ids").map_err(corrupted)?.unwrap_or_default();
        let shown: usize = block_ids.iter().filter_map(|id| self.labels.get(*id)).map(|(_, length)| length).sum();
        let given = match &self.import.history {
            History::Given(given) => json_length(given),
            _ => 0,
        };
        budget.charge(AGENT + shown + given + json_length(written.map()) + json_length(&self.import.fields))?;
        let body = self.body(written)?;
        let fields = Fields::of_body(&body)?;
        let mut agent = Agent::create(&fields).map_err(corrupted)?;
        agent.deployment_id.clone_from(&self.import.deployment_id);
        if let (None, Some(llm)) =
            (&self.import.model, written.optional::<&Map<_, _>>("llm_config").map_err(corrupted)?)
            && llm.get("max_tokens").is_none_or(Value::is_null)
        {
            // Left to the provider, which is not what a new agent has.
            agent.model.llm.insert("max_tokens".into(), Value::Null);
        }
        let tools = self.tools_of(written, &agent)?;
        let agent_type = agent.agent_type.as_str();
        let of = |messages| ImportedMessages { messages, ..ImportedMessages::default() };
        let said = match &self.import.history {
            History::Written => {
                let speaks_by_tool = tools.iter().any(|tool| tool.record.name == SPEAKING_TOOL);
                ImportedMessages::read(written, &agent, speaks_by_tool)?
            }
            History::Nothing => ImportedMessages::default(),
            History::Usual => of(legacy::beginning_of_new(agent_type, true)),
            History::Given(given) => of(legacy::given(agent_type, given.clone())),
        };
        agent.pending = said.pending();
        let mut source_ids: Vec<String> = written.optional("source_ids").map_err(corrupted)?.unwrap_or_default();
        source_ids.extend(written.optional::<Vec<String>>("folder_ids").map_err(corrupted)?.unwrap_or_default());
        let labels: HashSet<&str> =
            block_ids.iter().filter_map(|id| self.labels.get(*id)).map(|(label, _)| label.as_str()).collect();
        let mut new_blocks = new_blocks(written).map_err(corrupted)?;
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
            system: said.system,
            history: said.messages,
            forgotten: said.forgotten,
            // Others that think for it are in the file.
            alone: true,
        };
        make(tx, view, self.scope, agent, attachments).await
    }

    /// The blocks of an agent. Of two with the same label, the first counts.
    fn blocks_of(&self, written: &Fields<'_>) -> Result<Vec<String>, ApiError> {
        let mut labels = HashSet::new();
        let mut all = Vec::new();
        for id in written.optional::<Vec<&str>>("block_ids").map_err(corrupted)?.unwrap_or_default() {
            let block = made_of(&self.blocks, id)?;
            if self.labels.get(id).is_none_or(|(label, _)| labels.insert(label)) {
                all.push(block);
            }
        }
        Ok(all)
    }

    /// The tools of an agent, each once: those that are named by their ids in the file or by their names, and those that
    /// agents of its type get unless the file says not to.
    fn tools_of(&self, written: &Fields<'_>, agent: &Agent) -> Result<Vec<Stored<Tool>>, ApiError> {
        let flag = |name| written.optional::<bool>(name).map_err(corrupted);
        let texts = |name| written.optional::<Vec<&str>>(name).map(Option::unwrap_or_default).map_err(corrupted);
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
            let tool = base_tools::by_name(name).map(built_in).or_else(|| self.called.get(name).cloned());
            all.push(tool.ok_or_else(|| dangling(name))?);
        }
        let mut seen = HashSet::new();
        all.retain(|tool| seen.insert(tool.record.id.clone()));
        Ok(all)
    }

    /// The files that lay open before the agent.
    fn open_files(&self, written: &Fields<'_>) -> Result<Vec<File>, ApiError> {
        let mut open = Vec::new();
        for attachment in items(written, "files_agents")? {
            let id: &str = attachment.required("file_id").map_err(corrupted)?;
            let file = self.files.get(id).ok_or_else(|| dangling(id))?;
            if attachment.optional("is_open").map_err(corrupted)?.unwrap_or(true) {
                open.push(file.clone());
            }
        }
        Ok(open)
    }

    /// What is written of an agent, with what is to be different.
    fn body(&self, written: &Fields<'_>) -> Result<Value, ApiError> {
        let import = self.import;
        let mut body = written.map().clone();
        if body.get("llm_config").is_some_and(Value::is_object) {
            // It says all of this, and the fields of a request beside it count for nothing in a file.
            for name in MODEL_FIELDS {
                body.remove(*name);
            }
        }
        let name: Option<&str> = written.optional("name").map_err(corrupted)?;
        let chosen = import.name.as_deref();
        if let Some(name) = chosen.or(name) {
            let suffix = if chosen.is_none() && import.with_suffix { "_copy" } else { "" };
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
            if let Some(TextMap(entries)) = written.optional(name).map_err(corrupted)? {
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

/// What a request may say of an agent's model beside its configuration.
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

/// A tool that comes with the server, and belongs to every project.
fn built_in(tool: &BaseTool) -> Stored<Tool> {
    Stored { seq: 0, project: String::new(), record: tool.tool() }
}

/// The objects of a list in the file.
pub(in crate::mock) fn items<'f>(file: &Fields<'f>, name: &str) -> Result<Vec<Fields<'f>>, ApiError> {
    file.optional(name).map(Option::unwrap_or_default).map_err(corrupted)
}

/// What ids that are written have become.
pub(in crate::mock) fn found(
    made: &HashMap<String, String>,
    written: &Fields<'_>,
    name: &str,
) -> Result<Vec<String>, ApiError> {
    let ids: Vec<&str> = written.optional(name).map_err(corrupted)?.unwrap_or_default();
    ids.into_iter().map(|id| made_of(made, id)).collect()
}

/// What an id that is written has become.
pub(in crate::mock) fn made_of(made: &HashMap<String, String>, id: &str) -> Result<String, ApiError> {
    made.get(id).cloned().ok_or_else(|| dangling(id))
}

/// Puts a file into a folder; `number`: of files that had its name before.
async fn put_file(
    tx: &mut Tx,
    folder: &Stored<Folder>,
    written: &Fields<'_>,
    name: &str,
    number: usize,
) -> Result<File, ApiError> {
    let media_type: &str = written.optional("file_type").map_err(corrupted)?.unwrap_or("text/plain");
    let text: String = written.optional("content").map_err(corrupted)?.unwrap_or_default();
    let size = written.at_least("file_size", 0).map_err(corrupted)?.and_then(|size| usize::try_from(size).ok());
    let mut file = store::new_file(&folder.record, name, media_type, size.unwrap_or(text.len()));
    if number > 0 {
        file.name = upload::numbered(name, number);
    }
    store::take_name(tx, folder, &mut file, Duplicate::Suffix).await?;
    store::store(tx, folder, &mut file, &upload::text(text.as_bytes(), media_type)).await?;
    Ok(file)
}

fn dangling(id: &str) -> ApiError {
    let id: String = id.chars().take(100).collect();
    unusable(format!("The agent file names {id} and does not have it"))
}

/// What is wrong with a file is not what is wrong with a request, which Letta's validation would say.
pub(in crate::mock) fn corrupted(error: ApiError) -> ApiError {
    if error.code() == Code::ValidationFailed {
        let problem = error.message().trim_start_matches("body.").to_owned();
        return unusable(format!("Invalid agent file: {problem}"));
    }
    error
}
