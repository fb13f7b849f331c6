//! The tool executor of a turn. Memory tools and file tools work on the mock's own state; their changes are held back
//! until the turn is stored, so that a failed turn changes nothing and a resumed one applies them once. No other tool
//! is executed: its return is derived from its source, or repeats the call.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::{
    arguments::{count, text, texts},
    file_search::{FileSearch, Opening},
    memory_edit::{self, Edit},
    set::{CallableTool, ToolSet},
};
use crate::{
    error::ApiError,
    mock::{
        budget::{Budget, Overspent, offload, value_weight, written_length},
        records::{
            Agent, Block, Content, MESSAGE_SENT, NewPassage, Passage, Record, Role, SPEAKING_TOOL, Timestamp, ToolCall,
            ToolReturn, ToolStatus, links,
        },
        search::{
            archival::{self, ArchivalSearch, SearchScope},
            messages::{self, MessageQuery},
        },
        storage::parse,
        text::{
            terms::{Terms, tagged},
            without_repeats,
        },
    },
    store::{MessageFilter, Store, StoreError},
};

/// What the tools of a turn have changed.
#[derive(Clone, Debug, Default)]
pub(in crate::mock) struct Effects {
    /// Changes of blocks, in the order in which they were made.
    pub(in crate::mock) edits: Vec<BlockEdit>,
    /// Passages that were inserted into the archive.
    pub(in crate::mock) passages: Vec<NewPassage>,
    /// Files that were opened, in order.
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
    /// The value after the change, as the tool saw it.
    pub(in crate::mock) value: String,
}

/// Runs the tool calls of a turn.
#[derive(Debug)]
pub(in crate::mock) struct ToolExecutor<'a> {
    store: &'a Store,
    agent: &'a Agent,
    conversation: &'a str,
    /// The ids of the conversation's isolated blocks.
    isolated: &'a [String],
    /// The budget of the turn.
    budget: &'a Budget,
    /// The time that its tools have spent searching.
    searched: Duration,
    /// The blocks as the tools have left them, once one of them has read them.
    blocks: Option<Vec<Block>>,
    pub(in crate::mock) effects: Effects,
}

/// The tools that search, and the most time that those of one turn may spend.
const SEARCHING: [&str; 5] =
    ["archival_memory_search", "conversation_search", "open_files", "grep_files", "semantic_search_files"];
const LONGEST_SEARCHES: Duration = Duration::from_secs(5);

/// The text that a tool returns, or an error message for the model.
pub(in crate::mock) type ToolResult = Result<String, String>;

/// Why a call fails.
#[derive(Debug)]
enum CallError {
    /// The call itself is wrong: an error message for the model.
    Refused(String),
    /// The turn fails.
    Fatal(ApiError),
}

impl From<String> for CallError {
    fn from(problem: String) -> Self {
        Self::Refused(problem)
    }
}

impl From<&str> for CallError {
    fn from(problem: &str) -> Self {
        Self::Refused(problem.to_owned())
    }
}

impl From<ApiError> for CallError {
    fn from(error: ApiError) -> Self {
        Self::Fatal(error)
    }
}

impl From<Overspent> for CallError {
    fn from(error: Overspent) -> Self {
        Self::Fatal(error.into())
    }
}

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
    /// If the turn exceeds its budget; if the database fails. Errors of the call itself are returned to the model.
    pub(in crate::mock) async fn run(&mut self, call: &ToolCall, tool_set: &ToolSet) -> Result<ToolReturn, ApiError> {
        let tool = tool_set.find(&call.name);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let begun = Instant::now();
        let outcome = self.call(call, tool, &mut stdout, &mut stderr).await;
        if is_search(&call.name) {
            self.searched += begun.elapsed();
        }
        let result = match outcome {
            Ok(text) => Ok(text),
            Err(CallError::Refused(problem)) => Err(problem),
            Err(CallError::Fatal(error)) => return Err(error),
        };
        Ok(ToolReturn { stdout: Some(stdout), stderr: Some(stderr), ..tool_return(call, tool, result) })
    }

    async fn call(
        &mut self,
        call: &ToolCall,
        tool: Option<&CallableTool>,
        stdout: &mut Vec<String>,
        stderr: &mut Vec<String>,
    ) -> Result<String, CallError> {
        let tool = tool.ok_or("no tool of this name is attached to the agent")?;
        if is_search(&call.name) && self.searched > LONGEST_SEARCHES {
            return Err("the tools of this turn have searched for too long; search less".into());
        }
        let stored = tool.stored.as_ref().ok_or("this tool runs on the client, which has not sent its return")?;
        let arguments = call.arguments_of_tool();
        match call.name.as_str() {
            name if memory_edit::TOOLS.contains(&name) => self.change_memory(name, &arguments).await,
            "archival_memory_insert" => self.archive(&arguments),
            "archival_memory_search" => self.search_archive(&arguments).await,
            "conversation_search" => self.search_conversation(&arguments).await,
            "open_files" => {
                let (text, openings) = self.files().await?.open(&arguments, self.budget).await??;
                self.effects.openings.extend(openings);
                Ok(text)
            }
            "grep_files" => Ok(self.files().await?.grep(&arguments, self.budget).await??),
            "semantic_search_files" => Ok(self.files().await?.search(&arguments, self.budget).await??),
            SPEAKING_TOOL => Ok(MESSAGE_SENT.to_owned()),
            _ => {
                let environment = self.agent.environment();
                let source = stored.source_code.as_ref().map_or(0, String::len);
                let result = offload(source, || stored.call(&arguments, &environment));
                (*stdout, *stderr) = (result.stdout.clone(), result.stderr.clone());
                Ok(result.text()?)
            }
        }
    }

    /// Makes a change of memory with one of the memory tools, whether the agent has it or not.
    ///
    /// # Errors
    /// If the turn exceeds its budget; if the database fails. What is wrong with the change itself is in the result.
    pub(in crate::mock) async fn change(
        &mut self,
        tool: &str,
        arguments: &Map<String, Value>,
    ) -> Result<ToolResult, ApiError> {
        let outcome = match tool {
            "archival_memory_insert" => self.archive(arguments),
            _ => self.change_memory(tool, arguments).await,
        };
        match outcome {
            Ok(text) => Ok(Ok(text)),
            Err(CallError::Refused(problem)) => Ok(Err(problem)),
            Err(CallError::Fatal(error)) => Err(error),
        }
    }

    async fn change_memory(&mut self, tool: &str, arguments: &Map<String, Value>) -> Result<String, CallError> {
        let (label, edit) = Edit::of_call(tool, arguments)?;
        let budget = self.budget;
        let blocks = self.blocks().await?;
        let Some(block) = blocks.iter_mut().find(|block| block.label == label) else {
            let labels = blocks.iter().map(|block| block.label.as_str()).collect::<Vec<_>>().join(", ");
            return Err(format!("there is no block '{label}'; the blocks are: {labels}").into());
        };
        if block.read_only {
            return Err(format!("the block '{label}' is read-only").into());
        }
        let value = edit.apply(&block.value, &budget.draft())??;
        block.value.clone_from(&value);
        // Both the change and the new value are stored.
        budget.charge(2 * written_length(&value))?;
        let (text, block_id) = (format!("The block '{label}' now contains:\n{value}"), block.id.clone());
        self.effects.edits.push(BlockEdit { block_id, edit, value });
        Ok(text)
    }

    fn archive(&mut self, arguments: &Map<String, Value>) -> Result<String, CallError> {
        /// The overhead of a passage.
        const PASSAGE: usize = 2_000;
        let content = text(arguments, "content")?.ok_or("content is missing")?.to_owned();
        let tags = without_repeats(texts(arguments, "tags")?);
        let tagged: usize = tags.iter().map(|tag| written_length(tag)).sum();
        self.budget.charge(PASSAGE + written_length(&content) + tagged)?;
        let confirmation = format!("Stored in the archive: {content}");
        self.effects.passages.push(NewPassage { text: content, tags, metadata: Map::new(), created_at: None });
        Ok(confirmation)
    }

    async fn search_archive(&self, arguments: &Map<String, Value>) -> Result<String, CallError> {
        let search = ArchivalSearch {
            query: Some(text(arguments, "query")?.ok_or("query is missing")?),
            tags: texts(arguments, "tags")?,
            all_tags: false,
            from: None,
            to: None,
            limit: count(arguments, "top_k", 5)?,
        };
        // Passages of this turn come first; they are not stored yet.
        let terms = Terms::of(search.query.unwrap_or_default());
        let matches = |new: &&NewPassage| tagged(&new.tags, &search.tags, false) && terms.score(&new.text) > 0.0;
        let unstored = self.effects.passages.iter().rev().filter(matches);
        let mut found: Vec<Passage> = unstored.map(|new| new.clone().into_passage(None)).collect();
        if let Some(archive) = archival::archive_of(self.store, &self.agent.id).await? {
            let scope = SearchScope::Archive(&archive.record.id);
            let stored = archival::search(self.store, scope, &search, &self.budget.draft()).await?;
            found.extend(stored.into_iter().map(|found| found.passage));
        }
        found.truncate(search.limit);
        let results: Vec<Value> = found
            .iter()
            .map(|passage| json!({"timestamp": passage.created_at, "content": passage.text, "tags": passage.tags}))
            .collect();
        self.budget.draft().charge(results.iter().map(value_weight).sum())?;
        Ok(json!({"results": results, "count": results.len()}).to_string())
    }

    async fn search_conversation(&self, arguments: &Map<String, Value>) -> Result<String, CallError> {
        let query = message_query(arguments)?;
        let filter = MessageFilter::of_conversation(&self.agent.id, self.conversation);
        let found = messages::search(self.store, filter, &query, &self.budget.draft()).await?;
        let results: Vec<Value> = found
            .iter()
            .map(|(_, message)| {
                let date = message.created_at.message_date();
                json!({"role": message.role, "date": date, "content": message.said()})
            })
            .collect();
        Ok(json!({"results": results, "count": results.len()}).to_string())
    }

    async fn files(&self) -> Result<FileSearch<'a>, ApiError> {
        FileSearch::of(self.store, self.agent).await
    }

    /// The blocks of the conversation: its isolated blocks, and those of its agent that they do not hide.
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

    /// The blocks of the conversation, as the tools have left them.
    pub(in crate::mock) async fn shown_blocks(&mut self) -> Result<&[Block], ApiError> {
        Ok(self.blocks().await?)
    }
}

fn is_search(tool: &str) -> bool {
    SEARCHING.contains(&tool)
}

/// The return of a call that printed nothing, cut to the tool's limit.
pub(in crate::mock) fn tool_return(call: &ToolCall, tool: Option<&CallableTool>, result: ToolResult) -> ToolReturn {
    let (text, status) = match result {
        Ok(text) => (text, ToolStatus::Success),
        Err(problem) => (error_text(&call.name, &problem), ToolStatus::Error),
    };
    let text = match tool.and_then(|tool| tool.stored.as_ref()) {
        Some(tool) => shortened(text, tool.return_char_limit),
        None => text,
    };
    ToolReturn {
        tool_return: Content::Text(text),
        status,
        tool_call_id: call.id.clone(),
        stdout: Some(Vec::new()),
        stderr: Some(Vec::new()),
    }
}

/// What a failed call returns.
pub(in crate::mock) fn error_text(tool: &str, problem: &str) -> String {
    format!("Error executing function {tool}: {problem}")
}

/// Cuts a return to the tool's limit.
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

fn message_query(arguments: &Map<String, Value>) -> Result<MessageQuery, String> {
    let day = |name: &str| match text(arguments, name)? {
        None => Ok(None),
        Some(day) => Timestamp::read_loosely(day).map(Some).ok_or_else(|| format!("{name} is not a date")),
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
