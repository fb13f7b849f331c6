//! Where tool calls of a turn run. Memory tools work on the mock's own state: what they change is kept apart until the
//! turn is stored, so that a turn that ends differently has changed nothing, and one that is taken up again changes it
//! once; so it is with files that are opened. No other tool runs anything: its return is what can be read off its source,
//! or says what it was called with.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::{
    file_search::{FileSearch, Opening},
    memory_edit::{self, Edit},
    set::{Tool, ToolSet},
};
use crate::{
    error::ApiError,
    mock::{
        agents::legacy,
        budget::{Budget, aside, value_weight, written_length},
        records::{
            Agent, Block, Content, NewPassage, Passage, Record, Role, SPEAKING_TOOL, Timestamp, ToolCall, ToolReturn,
            ToolStatus, links, without_repeats,
        },
        search::{
            archival::{self, ArchivalSearch, SearchScope},
            messages::{self, MessageQuery},
        },
        storage::documents::parse,
        text::search::{Terms, tagged},
    },
    store::{Store, StoreError},
};

/// What the tools of a turn have changed.
#[derive(Clone, Debug, Default)]
pub(in crate::mock) struct Effects {
    /// Changes of blocks, in the order in which they were made.
    pub(in crate::mock) edits: Vec<BlockEdit>,
    /// What was put into the archive.
    pub(in crate::mock) passages: Vec<NewPassage>,
    /// Files that were opened, in their order.
    pub(in crate::mock) openings: Vec<Opening>,
}

impl Effects {
    /// Whether nothing was changed.
    pub(in crate::mock) fn is_empty(&self) -> bool {
        self.edits.is_empty() && self.passages.is_empty() && self.openings.is_empty()
    }
}

/// A change of a block.
#[derive(Clone, Debug)]
pub(in crate::mock) struct BlockEdit {
    pub(in crate::mock) block_id: String,
    pub(in crate::mock) edit: Edit,
    /// What the block said afterwards, as the tool saw it.
    pub(in crate::mock) value: String,
}

/// Where tool calls run.
#[derive(Debug)]
pub(in crate::mock) struct ToolExecutor<'a> {
    store: &'a Store,
    agent: &'a Agent,
    conversation: &'a str,
    /// Blocks that the conversation has for itself.
    isolated: &'a [String],
    /// What the turn may produce.
    budget: &'a Budget,
    /// How long its tools have searched.
    searched: Duration,
    /// The blocks as the tools have left them, once one of them has asked.
    blocks: Option<Vec<Block>>,
    pub(in crate::mock) effects: Effects,
}

/// The tools that look through all there is, and how long those of a turn may do so together.
const SEARCHING: [&str; 5] =
    ["archival_memory_search", "conversation_search", "open_files", "grep_files", "semantic_search_files"];
const LONGEST_SEARCHES: Duration = Duration::from_secs(5);

/// What a tool comes to: a text, or an error in words for the model.
pub(in crate::mock) type ToolResult = Result<String, String>;

impl<'a> ToolExecutor<'a> {
    pub(in crate::mock) fn new(
        store: &'a Store,
        agent: &'a Agent,
        conversation: &'a str,
        isolated: &'a [String],
        budget: &'a Budget,
    ) -> Self {
        Self {
            store,
            agent,
            conversation,
            isolated,
            budget,
            searched: Duration::ZERO,
            blocks: None,
            effects: Effects::default(),
        }
    }

    /// Runs a call.
    ///
    /// # Errors
    /// When the turn produces more than it may; when the database fails. What is wrong with the call is said in its
    /// return.
    pub(in crate::mock) async fn run(&mut self, call: &ToolCall, tool_set: &ToolSet) -> Result<ToolReturn, ApiError> {
        let arguments = legacy::arguments_of_tool(call);
        let tool = tool_set.find(&call.name);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let (begun, searches) = (Instant::now(), SEARCHING.contains(&call.name.as_str()));
        let outcome = if tool.is_none() {
            Err("no tool of this name is attached to the agent".to_owned())
        } else if searches && self.searched > LONGEST_SEARCHES {
            Err("this turn has searched for too long; search less".to_owned())
        } else if tool.is_some_and(Tool::is_clients) {
            Err("the client runs this tool itself and has not said what it returned".to_owned())
        } else if memory_edit::TOOLS.contains(&call.name.as_str()) {
            self.change_memory(&call.name, &arguments).await?
        } else {
            match call.name.as_str() {
                "archival_memory_insert" => self.archive(&arguments)?,
                "archival_memory_search" => self.search_archive(&arguments).await?,
                "conversation_search" => self.search_conversation(&arguments).await?,
                "open_files" => match self.reading().await?.open(&arguments, self.budget).await? {
                    Ok((told, openings)) => {
                        self.effects.openings.extend(openings);
                        Ok(told)
                    }
                    Err(problem) => Err(problem),
                },
                "grep_files" => self.reading().await?.grep(&arguments, self.budget).await?,
                "semantic_search_files" => self.reading().await?.search(&arguments, self.budget).await?,
                SPEAKING_TOOL => Ok(legacy::SENT.to_owned()),
                _ => {
                    let environment = self.agent.environment();
                    let servers = tool.and_then(|tool| tool.servers.as_ref());
                    let source = servers.and_then(|tool| tool.source_code.as_ref()).map_or(0, String::len);
                    match servers.map(|tool| aside(source, || tool.call(&arguments, &environment))) {
                        Some(called) => {
                            (stdout, stderr) = (called.stdout.clone(), called.stderr.clone());
                            called.text()
                        }
                        None => Err("the server does not know it".to_owned()),
                    }
                }
            }
        };
        if searches {
            self.searched += begun.elapsed();
        }
        Ok(returned(call, tool, outcome, [stdout, stderr]))
    }

    async fn change_memory(&mut self, tool: &str, arguments: &Map<String, Value>) -> Result<ToolResult, ApiError> {
        let (label, edit) = match Edit::of_call(tool, arguments) {
            Ok(asked) => asked,
            Err(problem) => return Ok(Err(problem)),
        };
        let budget = self.budget;
        let blocks = self.blocks().await?;
        let Some(block) = blocks.iter_mut().find(|block| block.label == label) else {
            let labels = blocks.iter().map(|block| block.label.as_str()).collect::<Vec<_>>().join(", ");
            return Ok(Err(format!("there is no block '{label}'; the blocks are: {labels}")));
        };
        if block.read_only {
            return Ok(Err(format!("the block '{label}' is read-only")));
        }
        let value = match edit.apply(&block.value, &budget.draft())? {
            Ok(value) => value,
            Err(problem) => return Ok(Err(problem)),
        };
        block.value.clone_from(&value);
        // The change and what it leads to are both kept.
        budget.charge(2 * written_length(&value))?;
        let (answer, block_id) = (format!("The block '{label}' now says:\n{value}"), block.id.clone());
        self.effects.edits.push(BlockEdit { block_id, edit, value });
        Ok(Ok(answer))
    }

    fn archive(&mut self, arguments: &Map<String, Value>) -> Result<ToolResult, ApiError> {
        /// What a passage takes beside its text.
        const PASSAGE: usize = 2_000;
        let asked = || -> Result<(String, Vec<String>), String> {
            let text = text(arguments, "content")?.ok_or("content is missing")?.to_owned();
            Ok((text, without_repeats(texts(arguments, "tags")?)))
        };
        let (text, tags) = match asked() {
            Ok(asked) => asked,
            Err(problem) => return Ok(Err(problem)),
        };
        let tagged: usize = tags.iter().map(|tag| written_length(tag)).sum();
        self.budget.charge(PASSAGE + written_length(&text) + tagged)?;
        let answer = format!("Stored in the archive: {text}");
        self.effects.passages.push(NewPassage { text, tags, metadata: Map::new(), created_at: None });
        Ok(Ok(answer))
    }

    async fn search_archive(&self, arguments: &Map<String, Value>) -> Result<ToolResult, ApiError> {
        let asked = || -> Result<ArchivalSearch<'_>, String> {
            Ok(ArchivalSearch {
                query: Some(text(arguments, "query")?.ok_or("query is missing")?),
                tags: texts(arguments, "tags")?,
                all_tags: false,
                from: None,
                to: None,
                limit: count(arguments, "top_k", 5)?,
            })
        };
        let search = match asked() {
            Ok(search) => search,
            Err(problem) => return Ok(Err(problem)),
        };
        // What this turn has put there comes first; it is not stored yet.
        let terms = Terms::of(search.query.unwrap_or_default());
        let fits = |new: &&NewPassage| tagged(&new.tags, &search.tags, false) && terms.score(&new.text) > 0.0;
        let fresh = self.effects.passages.iter().rev().filter(fits);
        let mut found: Vec<Passage> = fresh.map(|new| new.clone().into_passage(None)).collect();
        if let Some(archive) = archival::archive_of(self.store, &self.agent.id).await? {
            let stored =
                archival::search(self.store, SearchScope::Archive(&archive.record.id), &search, &self.budget.draft())
                    .await?;
            found.extend(stored.into_iter().map(|found| found.passage));
        }
        found.truncate(search.limit);
        let results: Vec<Value> = found
            .iter()
            .map(|passage| json!({"timestamp": passage.created_at, "content": passage.text, "tags": passage.tags}))
            .collect();
        self.budget.draft().charge(results.iter().map(value_weight).sum())?;
        Ok(Ok(json!({"results": results, "count": results.len()}).to_string()))
    }

    async fn search_conversation(&self, arguments: &Map<String, Value>) -> Result<ToolResult, ApiError> {
        let wanted = match wanted(arguments) {
            Ok(wanted) => wanted,
            Err(problem) => return Ok(Err(problem)),
        };
        let filter = crate::store::MessageFilter::of_conversation(&self.agent.id, self.conversation);
        let found = messages::search(self.store, filter, &wanted, &self.budget.draft()).await?;
        let results: Vec<Value> = found
            .iter()
            .map(|(_, message)| {
                let date = message.created_at.message_date();
                json!({"role": message.role, "date": date, "content": message.said()})
            })
            .collect();
        Ok(Ok(json!({"results": results, "count": results.len()}).to_string()))
    }

    async fn reading(&self) -> Result<FileSearch<'a>, ApiError> {
        FileSearch::of(self.store, self.agent).await
    }

    /// The blocks that the conversation shows: its own, and those of its agent that they do not hide.
    async fn blocks(&mut self) -> Result<&mut Vec<Block>, ApiError> {
        if self.blocks.is_none() {
            let linked = self.store.linked_documents(links::AGENT_BLOCK, &[&self.agent.id], Block::KIND).await?;
            let mut blocks: Vec<Block> = Vec::new();
            let ids: Vec<&str> = self.isolated.iter().map(String::as_str).collect();
            let own = if ids.is_empty() { Vec::new() } else { self.store.documents_by_ids(Block::KIND, &ids).await? };
            for document in own.into_iter().chain(linked.into_iter().map(|(_, document)| document)) {
                let block = parse::<Block>(document)?.record;
                if blocks.iter().all(|present| present.label != block.label) {
                    blocks.push(block);
                }
            }
            self.blocks = Some(blocks);
        }
        self.blocks.as_mut().ok_or_else(|| StoreError::Inconsistent("blocks".into()).into())
    }

    /// The labels of these blocks.
    pub(in crate::mock) async fn shown_blocks(&mut self) -> Result<&[Block], ApiError> {
        Ok(self.blocks().await?)
    }
}

/// What a call returned. `printed`: to stdout and to stderr.
pub(in crate::mock) fn returned(
    call: &ToolCall,
    tool: Option<&Tool>,
    result: ToolResult,
    printed: [Vec<String>; 2],
) -> ToolReturn {
    let (text, status) = match result {
        Ok(text) => (text, ToolStatus::Success),
        Err(problem) => (format!("Error executing function {}: {problem}", call.name), ToolStatus::Error),
    };
    let text = match tool.and_then(|tool| tool.servers.as_ref()) {
        Some(tool) => shortened(text, tool.return_char_limit),
        None => text,
    };
    let [stdout, stderr] = printed.map(Some);
    ToolReturn { tool_return: Content::Text(text), status, tool_call_id: call.id.clone(), stdout, stderr }
}

/// What a tool returned, as far as its limit lets a model see it.
fn shortened(mut text: String, limit: i64) -> String {
    let Some((end, _)) = usize::try_from(limit).ok().and_then(|limit| text.char_indices().nth(limit)) else {
        return text;
    };
    let length = text.chars().count();
    text.truncate(end);
    format!(
        "{text}... [NOTE: function output was truncated since it is longer than the tool's limit: {length} > {limit}]"
    )
}

fn wanted(arguments: &Map<String, Value>) -> Result<MessageQuery, String> {
    let day = |name: &str| match text(arguments, name)? {
        None => Ok(None),
        Some(day) => Timestamp::read_loosely(day).map(Some).ok_or_else(|| format!("{name} is no date")),
    };
    let roles = texts(arguments, "roles")?;
    let role = |name: &String| match name.as_str() {
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        "tool" => Ok(Role::Tool),
        other => Err(format!("there is no role '{other}'")),
    };
    Ok(MessageQuery {
        query: text(arguments, "query")?.map(str::to_owned),
        roles: if roles.is_empty() {
            vec![Role::User, Role::Assistant]
        } else {
            roles.iter().map(role).collect::<Result<_, _>>()?
        },
        from: day("start_date")?,
        to: day("end_date")?.map(Timestamp::end_of_day),
        limit: count(arguments, "limit", 10)?,
    })
}

pub(in crate::mock) fn text<'v>(arguments: &'v Map<String, Value>, name: &str) -> Result<Option<&'v str>, String> {
    match arguments.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{name} must be a text")),
    }
}

pub(in crate::mock) fn texts(arguments: &Map<String, Value>, name: &str) -> Result<Vec<String>, String> {
    let Some(value) = arguments.get(name).filter(|value| !value.is_null()) else { return Ok(Vec::new()) };
    serde_json::from_value(value.clone()).map_err(|_| format!("{name} must be a list of texts"))
}

fn count(arguments: &Map<String, Value>, name: &str, default: usize) -> Result<usize, String> {
    match arguments.get(name).filter(|value| !value.is_null()) {
        None => Ok(default),
        Some(value) => {
            let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
            number.ok_or_else(|| format!("{name} must be a count"))
        }
    }
}
