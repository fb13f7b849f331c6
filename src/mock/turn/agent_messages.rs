//! Messages from one agent to others, sent by Letta's multi-agent tools. The recipient processes each message in a turn of its
//! own, and every one of the tools returns after that turn has ended.
//!
//! Meanwhile the sender's turn holds no lock except its agent's, and the recipient's turn never waits for an agent's lock
//! (`Turn::acquire_lock`), so agents that message each other cannot block each other.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout_at};

use super::request::DEFAULT_MAX_STEPS;
use crate::{
    error::{ApiError, python_repr},
    mock::{
        budget::{Budget, written_length},
        records::{Agent, IncomingMessage, Message, MessageType, MessageView, Part, Record, TurnRequest},
        state::State,
        storage::{Stored, is_plain, not_found, parse},
        text::terms::tagged,
        tools::{
            arguments::{text, texts},
            execute::ToolResult,
        },
    },
    store::DocumentFilter,
};

/// How many turns may wait for one another.
const MAX_DEPTH: usize = 5;
/// How many messages between agents may follow from one request, directly or through other agents.
const MAX_MESSAGES: usize = 100;
/// The time limit of a call, which is Letta's limit for tools.
pub(super) const TIMEOUT: Duration = Duration::from_mins(3);
/// The limit of a search by tags, which is a page of Letta's list of agents.
const MAX_TAGGED: usize = 50;
/// The limit of a search that requires no tags.
const MAX_UNTAGGED: usize = 100;

/// Runs a turn of an agent to its end, and returns the agent's messages. Dropping the future cancels the turn.
///
/// It is passed as a function because turns are nested: a turn sends a message, which runs another turn.
pub(super) type RunTurn =
    fn(Arc<State>, Stored<Agent>, TurnRequest, Messenger) -> BoxFuture<'static, Result<Vec<Message>, ApiError>>;

/// Sends a turn's messages to other agents. All turns that follow from one request share its limits.
#[derive(Clone, Debug)]
pub(super) struct Messenger {
    run_turn: RunTurn,
    /// How many turns wait for this one.
    depth: usize,
    messages_left: Arc<AtomicUsize>,
    /// When the turns that wait for this one stop waiting.
    deadline: Option<Instant>,
    /// What names its turn whenever the client sends the request again; `None` if the request cannot be recognized.
    key: Option<Box<str>>,
}

/// An agent that sends messages.
pub(super) struct Sender<'a> {
    pub(super) state: Arc<State>,
    pub(super) agent: &'a Stored<Agent>,
    /// The number of turns that share one budget.
    pub(super) sharers: usize,
    pub(super) budget: &'a Budget,
}

impl Messenger {
    /// The messenger of a turn that a client requested.
    pub(super) fn new(run_turn: RunTurn) -> Self {
        Self { run_turn, depth: 0, messages_left: Arc::new(AtomicUsize::new(MAX_MESSAGES)), deadline: None, key: None }
    }

    /// What names its turn.
    pub(super) fn key(&self) -> Option<Box<str>> {
        self.key.clone()
    }

    pub(super) fn set_key(&mut self, key: Option<Box<str>>) {
        self.key = key;
    }

    /// Whether its turn responds to another agent, which waits for it.
    pub(super) fn is_for_agent(&self) -> bool {
        self.depth > 0
    }

    /// Calls one of the tools. Errors of the call itself are in the result.
    ///
    /// # Errors
    /// If the replies exceed the budget of the sender's turn; if the database fails.
    pub(super) async fn call_tool(
        &self,
        sender: &Sender<'_>,
        tool: &str,
        arguments: &Map<String, Value>,
    ) -> Result<ToolResult, ApiError> {
        let limit = Instant::now() + TIMEOUT;
        let deadline = self.deadline.map_or(limit, |deadline| deadline.min(limit));
        let nested = Self { depth: self.depth + 1, deadline: Some(deadline), ..self.clone() };
        match timeout_at(deadline, nested.call(sender, tool, arguments)).await {
            Ok(result) => result,
            Err(_) => Ok(Err("TimeoutError: the other agent took too long".to_owned())),
        }
    }

    async fn call(
        &self,
        sender: &Sender<'_>,
        tool: &str,
        arguments: &Map<String, Value>,
    ) -> Result<ToolResult, ApiError> {
        let arguments = match Arguments::read(tool, arguments) {
            Ok(arguments) => arguments,
            Err(problem) => return Ok(Err(format!("TypeError: {problem}"))),
        };
        let Arguments { message, other_agent_id, match_all, match_some } = arguments;
        let sender_id = &sender.agent.record.id;
        // The text has a preamble, and may repeat the message in lower case.
        sender.budget.draft().charge(2 * written_length(message) + 400)?;
        if tool == "send_message_to_agent_async" {
            let text = format!(
                "[Incoming message from agent with ID '{sender_id}'. It does not wait for a reply; a tool that messages \
                 agents can send one.] {message}"
            );
            let sent = self.send(sender, other_agent_id, text, 1).await;
            return Ok(sent.map(|_| "Successfully sent message".to_owned()).map_err(|error| error.to_string()));
        }
        // As in Letta, a message that is not in lower case is repeated in lower case.
        let lower = message.to_lowercase();
        let message = if lower == message { lower } else { format!("{message}\n{lower}") };
        let text = format!("[Incoming message from agent with ID '{sender_id}'. What you say is its reply.] {message}");
        if tool == "send_message_to_agent_and_wait_for_reply" {
            return Ok(match self.send(sender, other_agent_id, text, 1).await {
                Ok(replies) => {
                    charge(sender.budget, &replies)?;
                    Ok(python_repr(&json!({"agent_id": other_agent_id, "response": replies})))
                }
                Err(error) => Err(error.to_string()),
            });
        }
        let recipients = find_tagged(sender, &match_all, &match_some).await?;
        // All replies are in memory at the same time.
        let budget = sender.budget.draft();
        let mut responses = Vec::new();
        for agent_id in &recipients {
            let replies = match self.send(sender, agent_id, text.clone(), recipients.len()).await {
                Ok(replies) => replies,
                Err(SendError { message, .. }) => vec![format!("<error: {message}>")],
            };
            charge(&budget, &replies)?;
            responses.push(json!({"agent_id": agent_id, "response": replies}));
        }
        Ok(Ok(python_repr(&json!(responses))))
    }

    /// Sends one of the `count` messages of a call, and waits for the replies.
    async fn send(
        &self,
        sender: &Sender<'_>,
        agent_id: &str,
        text: String,
        count: usize,
    ) -> Result<Vec<String>, SendError> {
        if self.depth > MAX_DEPTH {
            return Err(SendError::limit(format!("at most {MAX_DEPTH} agents wait for one another's replies")));
        }
        let agent = find(sender, agent_id).await?;
        let take = |left: usize| left.checked_sub(1);
        let Ok(left) = self.messages_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) else {
            return Err(SendError::limit(format!(
                "at most {MAX_MESSAGES} messages between agents follow from one request"
            )));
        };
        let key = self.key.as_ref().map(|key| format!("{key}/{}", MAX_MESSAGES - left).into());
        let request = TurnRequest {
            input: vec![IncomingMessage::of_system(vec![Part::text(text)])],
            decision: None,
            max_steps: DEFAULT_MAX_STEPS,
            client_tools: Vec::new(),
            model: None,
            sharers: sender.sharers.max(1).saturating_mul(count),
            transcript: None,
        };
        let messenger = Self { key, ..self.clone() };
        let messages = (self.run_turn)(Arc::clone(&sender.state), agent, request, messenger).await?;
        Ok(replies(&messages))
    }
}

/// The arguments of a call to any of the tools.
struct Arguments<'a> {
    message: &'a str,
    /// Empty for the tool that finds agents by tags.
    other_agent_id: &'a str,
    match_all: Vec<String>,
    match_some: Vec<String>,
}

impl<'a> Arguments<'a> {
    fn read(tool: &str, arguments: &'a Map<String, Value>) -> Result<Self, String> {
        let required = |name| text(arguments, name)?.ok_or_else(|| format!("{name} is missing"));
        let by_tags = tool == "send_message_to_agents_matching_tags";
        Ok(Self {
            message: required("message")?,
            other_agent_id: if by_tags { "" } else { required("other_agent_id")? },
            match_all: texts(arguments, "match_all")?,
            match_some: texts(arguments, "match_some")?,
        })
    }
}

/// Charges replies, including the escapes of their Python notation.
fn charge(budget: &Budget, replies: &[String]) -> Result<(), ApiError> {
    const OVERHEAD: usize = 200;
    Ok(budget.charge(OVERHEAD + replies.iter().map(|reply| OVERHEAD + 2 * written_length(reply)).sum::<usize>())?)
}

/// The texts among an agent's messages.
fn replies(messages: &[Message]) -> Vec<String> {
    let shown = messages.iter().flat_map(|message| message.shown(&MessageView::USUAL));
    let texts = shown.filter(|wire| wire.message_type == MessageType::AssistantMessage);
    let replies: Vec<String> = texts.filter_map(|wire| wire.text().map(str::to_owned)).collect();
    if replies.is_empty() { vec!["<no response>".to_owned()] } else { replies }
}

/// An agent of the sender's project.
async fn find(sender: &Sender<'_>, agent_id: &str) -> Result<Stored<Agent>, ApiError> {
    let found = if is_plain(agent_id) { sender.state.store.document(Agent::KIND, agent_id).await? } else { None };
    let found = found.filter(|document| document.project == sender.agent.project);
    parse(found.ok_or_else(|| not_found::<Agent>(agent_id))?)
}

/// The ids of the other agents of the project that have all tags of `all` and at least one of `some`, newest first. As in
/// Letta, this is the intersection of two searches with limits of their own.
async fn find_tagged(sender: &Sender<'_>, all: &[String], some: &[String]) -> Result<Vec<String>, ApiError> {
    const CHUNK: i64 = 200;
    let max_with_all = if all.is_empty() { MAX_UNTAGGED } else { MAX_TAGGED };
    let (mut with_all, mut with_some, mut found) = (0, 0, Vec::new());
    let mut filter = DocumentFilter::of_project(Agent::KIND, &sender.agent.project).newest_first(true).limit(CHUNK);
    loop {
        let chunk = sender.state.store.documents_chunk(&filter).await?;
        let Some(last) = chunk.last() else { return Ok(found) };
        filter = filter.before(last.seq);
        for document in chunk {
            let agent = parse::<Agent>(document)?.record;
            if agent.hidden == Some(true) {
                continue;
            }
            let (has_all, has_some) = (tagged(&agent.tags, all, true), tagged(&agent.tags, some, false));
            with_all += usize::from(has_all);
            with_some += usize::from(has_some);
            if with_all > max_with_all || !some.is_empty() && with_some > MAX_TAGGED {
                return Ok(found);
            }
            if has_all && has_some && agent.id != sender.agent.record.id {
                found.push(agent.id);
            }
        }
    }
}

/// Why a message was not sent or got no reply, as the exception that Letta's client raises.
struct SendError {
    exception: &'static str,
    message: String,
}

impl SendError {
    /// A limit of the mock is reached.
    fn limit(message: String) -> Self {
        Self { exception: "RuntimeError", message }
    }
}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.exception, self.message)
    }
}

impl From<ApiError> for SendError {
    fn from(error: ApiError) -> Self {
        let exception = match error.status().as_u16() {
            400 => "BadRequestError",
            401 => "AuthenticationError",
            403 => "PermissionDeniedError",
            404 => "NotFoundError",
            409 => "ConflictError",
            422 => "UnprocessableEntityError",
            429 => "RateLimitError",
            500.. => "InternalServerError",
            _ => "APIStatusError",
        };
        let mut body = error.to_body("");
        if let Some(body) = body.as_object_mut() {
            // This is not the response to an HTTP request.
            body.shift_remove("request_id");
        }
        let message = format!("Error code: {} - {}", error.status().as_u16(), python_repr(&body));
        Self { exception, message }
    }
}
