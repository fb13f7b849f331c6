//! Agents made from what was written down. Everything gets ids of its own.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use crate::{
    entropy,
    error::{ApiError, Code},
    mock::{
        budget::{Budget, json_length},
        documents::{Stored, View, changed_meanwhile, claim, holder_within, insert, parse, update},
        fields::{Fields, Location, Read, TextMap},
        filing::{self, Duplicate},
        home::Home,
        maker::{Belongings, make, unusable},
        monologue,
        records::{
            Agent, Approval, Block, Content, File, Folder, Identity, MOST_FILLED_IN, Message, Part, Record, Role,
            SPEAKING_TOOL, Timestamp, Tool, ToolCall, ToolChange, ToolReturn, claims, without_repeats,
        },
        tools, uploads,
    },
    store::{Locks, Tx},
};

/// What is to be different from what is written.
#[derive(Clone, Debug, Default)]
pub(in crate::mock) struct Import {
    /// The name of the first agent; none: as written.
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

/// Makes the agents that a file describes, with all that belongs to them; returns their ids.
pub(in crate::mock) async fn import(
    tx: &mut Tx,
    view: View<'_>,
    home: &Home,
    file: &Value,
    import: &Import,
    budget: &Budget,
) -> Result<Vec<String>, ApiError> {
    let fields = Fields::of_body(file).map_err(corrupted)?;
    let agents: Vec<Fields<'_>> = fields.required("agents").map_err(corrupted)?;
    if agents.is_empty() {
        return Err(unusable("The agent file has no agents"));
    }
    let mut things = Things::new(home, import);
    things.tools(tx, view, &fields).await?;
    things.blocks(tx, &fields).await?;
    things.folders(tx, &fields).await?;
    let mut made = Vec::new();
    for (index, agent) in agents.iter().enumerate() {
        made.push(things.agent(tx, view, agent, index == 0, budget).await?.record.id);
    }
    Ok(made)
}

/// What the file holds, by the ids it has there.
struct Things<'a> {
    home: &'a Home,
    import: &'a Import,
    tools: HashMap<String, Stored<Tool>>,
    blocks: HashMap<String, String>,
    /// How long the blocks are, by the ids that they have in the file.
    lengths: HashMap<String, usize>,
    folders: HashMap<String, String>,
    /// The files of the folders, by the ids that they have in the file.
    files: HashMap<String, File>,
    /// How often a name was given to a folder, or to a file of a folder.
    names: HashMap<(String, String), usize>,
}

impl<'a> Things<'a> {
    fn new(home: &'a Home, import: &'a Import) -> Self {
        Self {
            home,
            import,
            tools: HashMap::new(),
            blocks: HashMap::new(),
            lengths: HashMap::new(),
            folders: HashMap::new(),
            files: HashMap::new(),
            names: HashMap::new(),
        }
    }

    fn project(&self) -> &'a str {
        self.home.project.as_str()
    }

    /// The file's tools, and all locks that the file needs.
    async fn tools(&mut self, tx: &mut Tx, view: View<'_>, file: &Fields<'_>) -> Result<(), ApiError> {
        let mut written = Vec::new();
        for tool in items(file, "tools")? {
            let id: String = tool.required("id").map_err(corrupted)?;
            let name: String = tool.required("name").map_err(corrupted)?;
            written.push((id, name, tool));
        }
        let mut present: HashMap<&str, String> = HashMap::new();
        for (_, name, _) in written.iter().filter(|(_, name, _)| tools::by_name(name).is_none()) {
            if let Some(holder) = holder_within(tx, claims::TOOL, self.project(), name).await? {
                present.insert(name, holder);
            }
        }
        let locks = Locks::of(Tool::KIND, present.values()).and(Identity::KIND, &self.import.identity_ids);
        let locked = tx.lock(&locks).await?;
        tx.lock_names(self.project()).await?;
        for (id, name, tool) in &written {
            let tool = match (tools::by_name(name), present.get(name.as_str())) {
                (Some(tool), _) => Stored { seq: 0, project: String::new(), record: tool.tool() },
                (None, Some(holder)) => {
                    let stored = locked.get(Tool::KIND, holder).map(parse::<Tool>).transpose()?;
                    let stored = stored.filter(|stored| stored.record.name == *name);
                    self.change_tool(tx, stored.ok_or_else(|| changed_meanwhile(name))?, tool).await?
                }
                (None, None) => self.make_tool(tx, view, name, tool).await?,
            };
            self.tools.insert(id.clone(), tool);
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
        let change = ToolChange::read(written).map_err(corrupted)?;
        if self.import.overrides_tools {
            present.record.replace(change);
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
        let change = ToolChange::read(written).map_err(corrupted)?;
        let mut tool = Tool::create(change, self.home.shown.clone());
        name.clone_into(&mut tool.name);
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
            block.project_id.clone_from(&self.home.shown);
            block.deployment_id.clone_from(&self.import.deployment_id);
            block.fill_in(&variables, &mut left)?;
            insert(tx, self.project(), None, &block).await?;
            self.lengths.insert(id.clone(), block.value.len());
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
                    let number = self.names.entry((folder.record.id.clone(), name.to_owned())).or_default();
                    let file = put_file(tx, &folder, &file, *number).await?;
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
        is_first: bool,
        budget: &Budget,
    ) -> Result<Stored<Agent>, ApiError> {
        /// What an agent takes beside its prompt.
        const AGENT: usize = 16 * 1024;
        let block_ids: Vec<&str> = written.optional("block_ids").map_err(corrupted)?.unwrap_or_default();
        let shown: usize = block_ids.iter().filter_map(|id| self.lengths.get(*id)).sum();
        let given = match &self.import.history {
            History::Given(given) => json_length(given),
            _ => 0,
        };
        budget.charge(AGENT + shown + given + json_length(written.map()) + json_length(&self.import.fields))?;
        let body = self.body(written, is_first)?;
        let fields = Fields::of_body(&body)?;
        let mut agent = Agent::create(&fields).map_err(corrupted)?;
        agent.deployment_id.clone_from(&self.import.deployment_id);
        let tool_ids: Vec<String> = written.optional("tool_ids").map_err(corrupted)?.unwrap_or_default();
        // Each is a copy of its tool.
        let tool_ids = without_repeats(tool_ids);
        let tools = tool_ids.iter().map(|id| self.tools.get(id).cloned().ok_or_else(|| dangling(id)));
        let tools: Vec<Stored<Tool>> = tools.collect::<Result<_, _>>()?;
        let agent_type = agent.agent_type.as_str();
        let (history, forgotten) = match &self.import.history {
            History::Written => {
                let (mut history, forgotten) = history(written)?;
                let speaks_by_tool = tools.iter().any(|tool| tool.record.name == SPEAKING_TOOL);
                monologue::recognise(agent_type, speaks_by_tool, &mut history);
                (history, forgotten)
            }
            History::Nothing => (Vec::new(), HashSet::new()),
            History::Usual => (monologue::beginning_of_new(agent_type, true), HashSet::new()),
            History::Given(given) => (monologue::given(agent_type, given.clone()), HashSet::new()),
        };
        let mut source_ids: Vec<String> = written.optional("source_ids").map_err(corrupted)?.unwrap_or_default();
        source_ids.extend(written.optional::<Vec<String>>("folder_ids").map_err(corrupted)?.unwrap_or_default());
        let belongings = Belongings {
            block_ids: found(&self.blocks, written, "block_ids")?,
            tools,
            folder_ids: source_ids
                .iter()
                .map(|id| self.folders.get(id).cloned().ok_or_else(|| dangling(id)))
                .collect::<Result<_, _>>()?,
            identity_ids: self.import.identity_ids.clone(),
            files: self.open_files(written)?,
            history,
            forgotten,
            ..Belongings::default()
        };
        make(tx, view, self.home, agent, belongings).await
    }

    /// The files that lay open before the agent.
    fn open_files(&self, written: &Fields<'_>) -> Result<Vec<File>, ApiError> {
        let mut open = Vec::new();
        for attachment in items(written, "files_agents")? {
            let id: &str = attachment.required("file_id").map_err(corrupted)?;
            if attachment.optional("is_open").map_err(corrupted)?.unwrap_or(true) {
                open.push(self.files.get(id).cloned().ok_or_else(|| dangling(id))?);
            }
        }
        Ok(open)
    }

    /// What is written of an agent, with what is to be different.
    fn body(&self, written: &Fields<'_>, is_first: bool) -> Result<Value, ApiError> {
        let import = self.import;
        let mut body = written.map().clone();
        let name: Option<&str> = written.optional("name").map_err(corrupted)?;
        let chosen = import.name.as_deref().filter(|_| is_first);
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

/// The objects of a list in the file.
fn items<'f>(file: &Fields<'f>, name: &str) -> Result<Vec<Fields<'f>>, ApiError> {
    file.optional(name).map(Option::unwrap_or_default).map_err(corrupted)
}

/// What ids that are written have become.
fn found(made: &HashMap<String, String>, written: &Fields<'_>, name: &str) -> Result<Vec<String>, ApiError> {
    let ids: Vec<String> = written.optional(name).map_err(corrupted)?.unwrap_or_default();
    ids.iter().map(|id| made.get(id).cloned().ok_or_else(|| dangling(id))).collect()
}

/// Puts a file into a folder; `number`: of files that had its name before.
async fn put_file(tx: &mut Tx, folder: &Stored<Folder>, written: &Fields<'_>, number: usize) -> Result<File, ApiError> {
    let name: &str = written.required("file_name").map_err(corrupted)?;
    let media_type: &str = written.optional("file_type").map_err(corrupted)?.unwrap_or("text/plain");
    let text: String = written.optional("content").map_err(corrupted)?.unwrap_or_default();
    let size = written.at_least("file_size", 0).map_err(corrupted)?.and_then(|size| usize::try_from(size).ok());
    let mut file = filing::new_file(&folder.record, name, media_type, size.unwrap_or(text.len()));
    if number > 0 {
        file.name = uploads::numbered(name, number);
    }
    filing::take_name(tx, folder, &mut file, Duplicate::Suffix).await?;
    filing::store(tx, folder, &mut file, &uploads::text(text.as_bytes(), media_type)).await?;
    Ok(file)
}

/// What was said, without the system message, which is compiled again; and the ids of what the model did not see.
fn history(agent: &Fields<'_>) -> Result<(Vec<Message>, HashSet<String>), ApiError> {
    let context: Option<Vec<String>> = agent.optional("in_context_message_ids").map_err(corrupted)?;
    let (mut history, mut forgotten) = (Vec::new(), HashSet::new());
    for (index, written) in items(agent, "messages")?.iter().enumerate() {
        let message = message(written).map_err(corrupted)?;
        if index == 0 && message.role == Role::System {
            continue;
        }
        let id = written.optional::<&str>("id").map_err(corrupted)?.unwrap_or_default();
        if context.as_ref().is_some_and(|context| context.iter().all(|seen| seen != id)) {
            forgotten.insert(message.id.clone());
        }
        history.push(message);
    }
    Ok((history, forgotten))
}

/// A message as it is stored, with a new id.
fn message(written: &Fields<'_>) -> Result<Message, ApiError> {
    let role = written.required::<&str>("role")?;
    let role: Role = read(written, "role", &json!(role))?;
    let content = match written.value("content") {
        None => Vec::new(),
        Some(Value::String(text)) => vec![Part::text(text.as_str())],
        Some(parts) => read::<Vec<Part>>(written, "content", parts)?,
    };
    let calls = written.optional::<Vec<Fields<'_>>>("tool_calls")?.unwrap_or_default();
    let returns = written.optional::<Vec<Fields<'_>>>("tool_returns")?.unwrap_or_default();
    let approvals = written.value("approvals").map(|value| read::<Vec<Approval>>(written, "approvals", value));
    let created_at = written.optional::<Timestamp>("created_at")?;
    let new = Message::new(role, content);
    Ok(Message {
        id: entropy::letta_id("message"),
        created_at: created_at.unwrap_or(new.created_at),
        name: written.optional("name")?,
        sender_id: written.optional("sender_id")?,
        tool_calls: calls.iter().map(tool_call).collect::<Result<_, _>>()?,
        tool_returns: returns.iter().map(tool_return).collect::<Result<_, _>>()?,
        approvals: approvals.transpose()?.unwrap_or_default(),
        ..new
    })
}

fn tool_call(written: &Fields<'_>) -> Result<ToolCall, ApiError> {
    let function: Fields<'_> = written.required("function")?;
    Ok(ToolCall {
        name: function.required("name")?,
        arguments: function.required("arguments")?,
        id: written.required("id")?,
    })
}

fn tool_return(written: &Fields<'_>) -> Result<ToolReturn, ApiError> {
    let said = written.value("func_response").map_or_else(|| "".into(), unpacked);
    let status = written.value("status").cloned().unwrap_or_else(|| "success".into());
    Ok(ToolReturn {
        tool_return: read::<Content>(written, "func_response", &said)?,
        status: read(written, "status", &status)?,
        tool_call_id: written.optional("tool_call_id")?.unwrap_or_default(),
        stdout: written.optional("stdout")?,
        stderr: written.optional("stderr")?,
    })
}

/// What a tool returned, without the wrapping in which Letta keeps it.
fn unpacked(response: &Value) -> Value {
    let packaged = response.as_str().and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
    match packaged.filter(|packaged| packaged.contains_key("status") && packaged.contains_key("time")) {
        Some(mut packaged) => match packaged.remove("message") {
            Some(Value::Null) => "None".into(),
            Some(Value::String(text)) => text.into(),
            Some(other) => other.to_string().into(),
            None => response.clone(),
        },
        None => response.clone(),
    }
}

fn read<T: serde::de::DeserializeOwned>(fields: &Fields<'_>, name: &str, value: &Value) -> Result<T, ApiError> {
    T::deserialize(value).map_err(|error| fields.at(name).breaks_rule(&error.to_string(), value))
}

fn dangling(id: &str) -> ApiError {
    let id: String = id.chars().take(100).collect();
    unusable(format!("The agent file names {id} and does not have it"))
}

/// What is wrong with a file is not what is wrong with a request, which Letta's validation would say.
fn corrupted(error: ApiError) -> ApiError {
    if error.code() == Code::ValidationFailed {
        let problem = error.message().trim_start_matches("body.").to_owned();
        return unusable(format!("Invalid agent file: {problem}"));
    }
    error
}
