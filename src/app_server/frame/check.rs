//! The order of the checks on a frame of a page.
//!
//! known type -> open to client tokens -> request id -> agent in the policy, with the access -> fields -> runtime started on
//! this socket -> conversation of the agent -> reflection off -> limits. What needs a lookup comes last.

use serde_json::{Map, Value};

use super::{
    Checked, Frame, Lookup, SocketState, Stamp, denial,
    denial::{invalid, not_found},
    rebuild::Context,
    sent::Naming,
    state::{Expected, Runtime},
    text,
};
use crate::{
    access::{DEFAULT_CONVERSATION, denial::Denial},
    app_server::{
        Command,
        commands::{AgentSource, ClientGrant, Grant, Handler},
        fields::{Field, Rule},
    },
    error::ApiError,
    model::{Access, AccessSet, AgentId},
};

/// The longest id of a request, in characters.
const LONGEST_REQUEST_ID: usize = 128;

/// What a frame is about.
#[derive(Default)]
struct Subject {
    agent: Option<AgentId>,
    conversation: Option<String>,
    /// Whether the frame creates a conversation.
    creates: bool,
}

enum Found {
    Subject(Subject),
    Needs(Lookup),
}

pub(super) fn check(frame: &Frame, state: &mut SocketState, stamp: Stamp) -> Result<Checked, ApiError> {
    let command = frame.command.ok_or_else(denial::unknown_command)?;
    let grant = match command.grant() {
        Grant::Client(grant) => grant,
        Grant::Never => return Err(denial::not_available(command)),
    };
    if grant.handler == Handler::Nobody {
        return Ok(Checked::Ignore(None));
    }
    let request_id = request_id(&frame.object, grant)?;
    if let (Handler::Gate, Some(request_id)) = (grant.handler, request_id) {
        return Ok(match &state.info {
            Some(info) => Checked::Respond(info.response(request_id, |words| state.grants_somewhere(words)), None),
            None => Checked::Needs(Lookup::Info),
        });
    }
    let subject = match subject(frame, command, grant, state)? {
        Found::Subject(subject) => subject,
        Found::Needs(lookup) => {
            // What is wrong with the frame itself is said before anything is looked up.
            rebuild(frame, grant, &Subject::default(), state, stamp)?;
            return Ok(Checked::Needs(lookup));
        }
    };
    let (mut rebuilt, sent) = rebuild(frame, grant, &subject, state, stamp)?;
    if grant.agent == AgentSource::Runtime && !is_started(&subject, state)? {
        return Ok(Checked::Hold);
    }
    match proven(grant, &subject, state) {
        Ok(proven) => proven?,
        Err(lookup) => return Ok(Checked::Needs(lookup)),
    }
    if let Some(request_id) = request_id {
        if state.expects(command, request_id) {
            return Err(denial::repeated_request_id());
        }
        rebuilt.shift_insert(1, "request_id".into(), request_id.into());
    }
    if command == Command::RuntimeStart {
        start(&subject, state)?;
    }
    let begins_turn = command == Command::Input && begin_turn(&subject, sent, state);
    if let Some(request_id) = request_id {
        let Subject { agent, conversation, .. } = subject;
        state.expect(Expected { command, request_id: request_id.into(), agent, conversation, begins_turn });
    }
    Ok(Checked::Forward(Value::Object(rebuilt).to_string()))
}

/// The id of the request, which the response repeats.
fn request_id<'a>(frame: &'a Map<String, Value>, grant: &ClientGrant) -> Result<Option<&'a str>, ApiError> {
    match frame.get("request_id") {
        None | Some(Value::Null) if grant.needs_id => Err(invalid("request_id", "is missing")),
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) if !id.is_empty() && id.chars().count() <= LONGEST_REQUEST_ID => Ok(Some(id)),
        Some(_) => Err(invalid("request_id", &format!("must be a string of 1 to {LONGEST_REQUEST_ID} characters"))),
    }
}

/// Which agent and conversation a frame is about, of those that the policy covers with the access that is needed.
fn subject(frame: &Frame, command: Command, grant: &ClientGrant, state: &mut SocketState) -> Result<Found, ApiError> {
    let object = &frame.object;
    let mut subject = Subject::default();
    let agent = match grant.agent {
        AgentSource::Nothing => return Ok(Found::Subject(subject)),
        AgentSource::AgentId => {
            subject.conversation = conversation(object, "conversation_id")?;
            subject.creates = creates(command, object, subject.conversation.as_deref())?;
            text_at(object, "agent_id", "agent_id")?
        }
        AgentSource::Runtime => {
            let runtime = object_at(object, "runtime")?;
            let place = "runtime.conversation_id";
            subject.conversation = Some(conversation(runtime, place)?.ok_or_else(|| invalid(place, "is missing"))?);
            text_at(runtime, "agent_id", "runtime.agent_id")?
        }
        AgentSource::Query => match object.get("query").and_then(|query| query.get("agent_id")) {
            None | Some(Value::Null) => only_agent(grant.access, state)?,
            Some(_) => text_at(object_at(object, "query")?, "agent_id", "query.agent_id")?,
        },
        AgentSource::Body => text_at(object_at(object, "body")?, "agent_id", "body.agent_id")?,
        AgentSource::Conversation => {
            let id = conversation(object, "conversation_id")?;
            let id = id.ok_or_else(|| invalid("conversation_id", "is missing"))?;
            if !state.grants_somewhere(grant.access) {
                return Err(Denial::AccessNowhereGranted { needed: grant.access }.into());
            }
            let agent = if id == DEFAULT_CONVERSATION {
                owner_of_default(object, grant)?
            } else {
                match state.owner(&id) {
                    Ok(owner) => owner.ok_or_else(not_found)?.as_str().to_owned(),
                    Err(lookup) => return Ok(Found::Needs(lookup)),
                }
            };
            subject.conversation = Some(id);
            agent
        }
    };
    let created = if subject.creates { AccessSet::of(&[Access::WriteMessages]) } else { AccessSet::default() };
    subject.agent = Some(covered(&agent, grant.access.union(created), state)?);
    Ok(Found::Subject(subject))
}

/// An agent of the policy, with the access that is needed on it.
fn covered(agent: &str, needed: AccessSet, state: &SocketState) -> Result<AgentId, ApiError> {
    let entry = state.token().policy().iter().find(|(id, _)| id.as_str() == agent);
    let (agent, held) = entry.ok_or_else(not_found)?;
    if held.contains(needed) {
        Ok(agent.clone())
    } else {
        Err(Denial::AccessNotGranted { needed, held: *held, agent: agent.to_string() }.into())
    }
}

/// The only agent on which the policy grants this access.
fn only_agent(needed: AccessSet, state: &SocketState) -> Result<String, ApiError> {
    let mut agents = state.token().policy().iter().filter(|(_, held)| held.contains(needed));
    match (agents.next(), agents.next()) {
        (Some((agent, _)), None) => Ok(agent.to_string()),
        (None, _) => Err(Denial::AccessNowhereGranted { needed }.into()),
        (Some(_), Some(_)) => Err(invalid("query.agent_id", "is missing, and the policy covers several agents")),
    }
}

/// The agent whose default conversation a frame is about, where such a frame names it.
fn owner_of_default(object: &Map<String, Value>, grant: &ClientGrant) -> Result<String, ApiError> {
    let names_agent = |field: &Field| match field.rule {
        Rule::Object(fields) => fields.iter().any(|field| matches!(field.rule, Rule::AgentOfDefault)),
        _ => false,
    };
    let place = grant.fields.iter().find(|field| names_agent(field)).ok_or_else(|| {
        invalid("conversation_id", "must be the id of a conversation; the default conversation has none")
    })?;
    let path = format!("{}.agent_id", place.name);
    let object = object.get(place.name).and_then(Value::as_object).ok_or_else(|| invalid(&path, "is missing"))?;
    text_at(object, "agent_id", &path)
}

/// Whether a frame creates a conversation: it says so, or starts a runtime without naming one.
fn creates(command: Command, object: &Map<String, Value>, conversation: Option<&str>) -> Result<bool, ApiError> {
    let asks = object.get("create_conversation").is_some_and(|value| !value.is_null());
    match (command, conversation) {
        (Command::RuntimeStart, Some(_)) if asks => {
            Err(invalid("create_conversation", "cannot be combined with conversation_id"))
        }
        (Command::RuntimeStart, None) => Ok(true),
        _ => Ok(false),
    }
}

/// What is forwarded of a frame, and the ids of the messages in it.
fn rebuild(
    frame: &Frame,
    grant: &ClientGrant,
    subject: &Subject,
    state: &SocketState,
    stamp: Stamp,
) -> Result<(Map<String, Value>, Vec<String>), ApiError> {
    let (agent, conversation) = (subject.agent.as_ref(), subject.conversation.as_deref());
    let runtime = state.runtimes.iter().find(|runtime| match (agent, conversation) {
        (Some(agent), Some(conversation)) => runtime.is(agent.as_str(), conversation),
        _ => false,
    });
    let mut context = Context {
        agent,
        conversation,
        creates: subject.creates,
        own_items: runtime.map_or(&[], |runtime| &runtime.own_items),
        naming: Naming::new(&state.message_ids, stamp.id),
    };
    let mut rebuilt = Map::new();
    rebuilt.insert("type".into(), frame.object.get("type").cloned().unwrap_or_default());
    rebuilt.extend(context.object(grant.fields, "", &frame.object)?);
    Ok((rebuilt, context.naming.sent))
}

/// Whether the runtime is open on this socket; if not, the server is about to say.
fn is_started(subject: &Subject, state: &mut SocketState) -> Result<bool, ApiError> {
    let runtime = match (&subject.agent, &subject.conversation) {
        (Some(agent), Some(conversation)) => state.runtime(agent.as_str(), conversation),
        _ => None,
    };
    runtime.map(|runtime| runtime.is_open).ok_or_else(denial::not_started)
}

/// Whether the conversation is the agent's, and the agent one that may be used; or what to look up first.
fn proven(grant: &ClientGrant, subject: &Subject, state: &mut SocketState) -> Result<Result<(), ApiError>, Lookup> {
    let Some(agent) = &subject.agent else { return Ok(Ok(())) };
    // Of an open runtime this was proven when it was started; elsewhere the agent is the owner that was found.
    if grant.agent == AgentSource::AgentId
        && let Some(conversation) = subject.conversation.as_deref().filter(|id| *id != DEFAULT_CONVERSATION)
        && state.owner(conversation)?.as_ref() != Some(agent)
    {
        return Ok(Err(not_found()));
    }
    Ok(if state.may_be_used(agent)? { Ok(()) } else { Err(denial::reflects(agent)) })
}

/// Notes that a runtime is about to be started. From now on its events may arrive.
fn start(subject: &Subject, state: &mut SocketState) -> Result<(), ApiError> {
    let Some(agent) = &subject.agent else { return Ok(()) };
    let known = subject.conversation.as_deref().and_then(|id| state.runtime(agent.as_str(), id));
    if let Some(runtime) = known {
        runtime.starts += 1;
        return Ok(());
    }
    let most = state.limits.runtimes;
    if state.runtimes.len() >= most {
        return Err(denial::too_many_runtimes(most));
    }
    state.runtimes.push(Runtime::starting(agent.clone(), subject.conversation.clone()));
    Ok(())
}

/// Notes that messages are sent; whether they begin a turn.
fn begin_turn(subject: &Subject, sent: Vec<String>, state: &mut SocketState) -> bool {
    let mut begins = false;
    for id in sent {
        begins |= state.send(id);
    }
    if let (true, Some(agent), Some(conversation)) = (begins, &subject.agent, &subject.conversation)
        && let Some(runtime) = state.runtime(agent.as_str(), conversation)
    {
        runtime.has_turn = true;
    }
    begins
}

fn object_at<'a>(object: &'a Map<String, Value>, name: &str) -> Result<&'a Map<String, Value>, ApiError> {
    object.get(name).and_then(Value::as_object).ok_or_else(|| invalid(name, "must be an object"))
}

fn text_at(object: &Map<String, Value>, name: &str, place: &str) -> Result<String, ApiError> {
    match object.get(name) {
        None => Err(invalid(place, "is missing")),
        // A conversation without an agent is nobody's.
        Some(Value::Null) => Err(not_found()),
        Some(value) => value.as_str().map(str::to_owned).ok_or_else(|| invalid(place, "must be a string")),
    }
}

/// The conversation that an object names, if any.
fn conversation(object: &Map<String, Value>, place: &str) -> Result<Option<String>, ApiError> {
    match object.get("conversation_id") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) if text::is_conversation_id(id) => Ok(Some(id.clone())),
        Some(_) => Err(invalid(place, "must be the id of a conversation")),
    }
}
