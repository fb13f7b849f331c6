//! Messages from one agent to others, by the tools that Letta has for that. The other agent gets each in a turn of its own,
//! which ends before the tool returns, whichever of the tools it is.
//!
//! Nothing of the sender is locked meanwhile but its place among plain requests, and the turn of the other agent does not
//! wait for such a place (`Turn::place`), so agents that message each other cannot block each other.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout_at};

use super::{
    input::Incoming,
    request::{DEFAULT_MAX_STEPS, TurnRequest},
};
use crate::{
    error::{ApiError, python_repr},
    mock::{
        budget::{Budget, written_length},
        records::{Agent, Message, MessageType, MessageView, Part, Record},
        state::State,
        storage::documents::{Stored, is_plain, not_found, parse},
        text::search::tagged,
        tools::execute::{ToolResult, text, texts},
    },
    store::DocumentFilter,
};

/// How many turns may wait for one another.
const MAX_DEPTH: usize = 5;
/// How many messages may follow from one request, directly or through other agents.
const MAX_MESSAGES: usize = 100;
/// How long a call may take: Letta's limit for tools.
pub(super) const TIMEOUT: Duration = Duration::from_mins(3);
/// How many agents a search by tags finds at most: a page of Letta's list of agents.
const TAGGED: usize = 50;
/// The same, where every agent will do.
const UNTAGGED: usize = 100;

/// Takes a turn of an agent to its end and returns what the agent said. A future that is dropped cancels the turn.
pub(super) type Deliver =
    fn(Arc<State>, Stored<Agent>, TurnRequest, Messenger) -> BoxFuture<'static, Result<Vec<Message>, ApiError>>;

/// What a turn needs to send messages to other agents, and how many more it may send.
#[derive(Clone, Debug)]
pub(super) struct Messenger {
    deliver: Deliver,
    /// How many turns wait for this one.
    depth: usize,
    messages_left: Arc<AtomicUsize>,
    /// When those that wait for this turn stop waiting.
    deadline: Option<Instant>,
}

/// An agent that sends messages.
pub(super) struct Sender<'a> {
    pub(super) state: Arc<State>,
    pub(super) agent: &'a Stored<Agent>,
    /// How many turns share what one may produce.
    pub(super) sharers: usize,
    pub(super) budget: &'a Budget,
}

impl Messenger {
    /// That of a turn that a client asked for.
    pub(super) fn new(deliver: Deliver) -> Self {
        Self { deliver, depth: 0, messages_left: Arc::new(AtomicUsize::new(MAX_MESSAGES)), deadline: None }
    }

    /// Whether the turn of another agent waits for this one.
    pub(super) fn is_of_agent(&self) -> bool {
        self.depth > 0
    }

    /// Runs a call of one of the tools. What goes wrong is said in its result.
    ///
    /// # Errors
    /// When the replies are more than the sender's turn may produce; when the database fails.
    pub(super) async fn run(
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
        let given = || -> Result<Arguments<'_>, String> {
            let required = |name| text(arguments, name)?.ok_or_else(|| format!("{name} is missing"));
            let by_tags = tool == "send_message_to_agents_matching_tags";
            Ok(Arguments {
                message: required("message")?,
                other_agent_id: if by_tags { "" } else { required("other_agent_id")? },
                match_all: texts(arguments, "match_all")?,
                match_some: texts(arguments, "match_some")?,
            })
        };
        let Arguments { message, other_agent_id, match_all, match_some } = match given() {
            Ok(given) => given,
            Err(problem) => return Ok(Err(format!("TypeError: {problem}"))),
        };
        let sender_id = &sender.agent.record.id;
        // Twice the message, and what stands around it.
        sender.budget.draft().charge(2 * written_length(message) + 400)?;
        if tool == "send_message_to_agent_async" {
            let text = format!(
                "[Incoming message from agent with ID '{sender_id}' - this is a one-way notification; if you need to \
                 respond, use an agent-to-agent messaging tool if available] {message}"
            );
            let sent = self.send(sender, other_agent_id, text, 1).await;
            return Ok(sent.map(|_| "Successfully sent message".to_owned()).map_err(|problem| problem.to_string()));
        }
        let lower = message.to_lowercase();
        let message = if lower == message { lower } else { format!("{message}\n{lower}") };
        let text = format!(
            "[Incoming message from agent with ID '{sender_id}' - your response will be delivered to the sender] {message}"
        );
        if tool == "send_message_to_agent_and_wait_for_reply" {
            return Ok(match self.send(sender, other_agent_id, text, 1).await {
                Ok(replies) => {
                    charge(sender.budget, &replies)?;
                    Ok(python_repr(&json!({"agent_id": other_agent_id, "response": replies})))
                }
                Err(problem) => Err(problem.to_string()),
            });
        }
        let others = matching(sender, &match_all, &match_some).await?;
        // What one turn may produce is kept for all of them together.
        let kept = sender.budget.draft();
        let mut responses = Vec::new();
        for agent_id in &others {
            let replies = match self.send(sender, agent_id, text.clone(), others.len()).await {
                Ok(replies) => replies,
                Err(Problem { message, .. }) => vec![format!("<error: {message}>")],
            };
            charge(&kept, &replies)?;
            responses.push(json!({"agent_id": agent_id, "response": replies}));
        }
        Ok(Ok(python_repr(&json!(responses))))
    }

    /// Sends a message that is one of `count` of a call, and waits for the replies.
    async fn send(
        &self,
        sender: &Sender<'_>,
        agent_id: &str,
        text: String,
        count: usize,
    ) -> Result<Vec<String>, Problem> {
        if self.depth > MAX_DEPTH {
            return Err(Problem::limit(format!("at most {MAX_DEPTH} agents wait for one another's replies")));
        }
        let agent = find(sender, agent_id).await?;
        let take = |left: usize| left.checked_sub(1);
        if self.messages_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            return Err(Problem::limit(format!(
                "at most {MAX_MESSAGES} messages between agents follow from one request"
            )));
        }
        let request = TurnRequest {
            input: vec![Incoming::of_system(vec![Part::text(text)])],
            decision: None,
            max_steps: DEFAULT_MAX_STEPS,
            client_tools: Vec::new(),
            model: None,
            sharers: sender.sharers.max(1).saturating_mul(count),
            transcript: None,
        };
        let said = (self.deliver)(Arc::clone(&sender.state), agent, request, self.clone()).await?;
        Ok(replies(&said))
    }
}

/// The arguments of a call, of whichever tool.
struct Arguments<'a> {
    message: &'a str,
    other_agent_id: &'a str,
    match_all: Vec<String>,
    match_some: Vec<String>,
}

/// Charges replies, with the escapes of Python's form.
fn charge(budget: &Budget, replies: &[String]) -> Result<(), ApiError> {
    const AROUND: usize = 200;
    Ok(budget.charge(AROUND + replies.iter().map(|reply| AROUND + 2 * written_length(reply)).sum::<usize>())?)
}

/// What an agent said that is for others.
fn replies(said: &[Message]) -> Vec<String> {
    let shown = said.iter().flat_map(|message| message.shown(&MessageView::USUAL));
    let spoken = shown.filter(|wire| wire.message_type == MessageType::AssistantMessage);
    let replies: Vec<String> = spoken.filter_map(|wire| wire.text().map(str::to_owned)).collect();
    if replies.is_empty() { vec!["<no response>".to_owned()] } else { replies }
}

/// An agent of the sender's project.
async fn find(sender: &Sender<'_>, agent_id: &str) -> Result<Stored<Agent>, ApiError> {
    let found = if is_plain(agent_id) { sender.state.store.document(Agent::KIND, agent_id).await? } else { None };
    let found = found.filter(|document| document.project == sender.agent.project);
    parse(found.ok_or_else(|| not_found::<Agent>(agent_id))?)
}

/// The ids of the other agents of the project that have all of some tags and at least one of others, newest first. As in
/// Letta, they are among the newest that have the former and among the newest that have one of the latter.
async fn matching(sender: &Sender<'_>, all: &[String], some: &[String]) -> Result<Vec<String>, ApiError> {
    const CHUNK: i64 = 200;
    let most = if all.is_empty() { UNTAGGED } else { TAGGED };
    let (mut with_all, mut with_some, mut found) = (0, 0, Vec::new());
    let mut agents = DocumentFilter::of_project(Agent::KIND, &sender.agent.project).newest_first(true).limit(CHUNK);
    loop {
        let chunk = sender.state.store.documents_chunk(&agents).await?;
        let Some(last) = chunk.last() else { return Ok(found) };
        agents = agents.before(last.seq);
        for document in chunk {
            let agent = parse::<Agent>(document)?.record;
            if agent.hidden == Some(true) {
                continue;
            }
            let (has_all, has_some) = (tagged(&agent.tags, all, true), tagged(&agent.tags, some, false));
            with_all += usize::from(has_all);
            with_some += usize::from(has_some);
            if with_all > most || !some.is_empty() && with_some > TAGGED {
                return Ok(found);
            }
            if has_all && has_some && agent.id != sender.agent.record.id {
                found.push(agent.id);
            }
        }
    }
}

/// Why a message was not sent or not replied to: the exception that Letta's client raises.
struct Problem {
    exception: &'static str,
    message: String,
}

impl Problem {
    fn limit(sentence: String) -> Self {
        Self { exception: "RuntimeError", message: sentence }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.exception, self.message)
    }
}

impl From<ApiError> for Problem {
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
            // The request is one that nobody made over HTTP.
            body.shift_remove("request_id");
        }
        let message = format!("Error code: {} - {}", error.status().as_u16(), python_repr(&body));
        Self { exception, message }
    }
}
