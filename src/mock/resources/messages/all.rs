//! The messages of all agents: listed, retrieved and searched.

use std::sync::Arc;

use serde_json::json;

use super::list::{self, NEWEST, message_not_found, message_types, respond};
use crate::{
    access::{Call, Operation, is_letta_id},
    error::ApiError,
    mock::{
        pagination::cursor::Page,
        records::{DEFAULT_CONVERSATION, Message, MessageType, MessageView, Role, Timestamp},
        resources::routes::{HandlerResult, Routes},
        search::messages::{self, MessageQuery},
        state::State,
        storage::{is_plain, parse_message},
        validation::body::{Expect, Fields},
    },
    reply::Reply,
    store::{MessageFilter, StoredMessage},
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ListAllMessages, list)
        .on(Operation::RetrieveMessage, retrieve)
        .on(Operation::SearchMessages, search)
        .on(Operation::SearchAgentMessages, search_stored)
}

/// Always oldest first, as the list of an agent's messages. `order` only says which end of the history `limit` keeps.
async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let query = &call.query;
    let page = Page::read(query, NEWEST)?;
    let message_view = MessageView::only(message_types(query)?);
    let (view, project) = (state.view(&call.permit), call.permit.project().as_str());
    let conversation = query.first("conversation_id");
    let page = if conversation.is_some_and(|id| !is_plain(id)) { Page { limit: 0, ..page } } else { page };
    let filter = MessageFilter::of_project(project).in_conversation(conversation.filter(|id| is_plain(id)));
    let messages = list::page(view, filter, &page, |message| message.project == project).await?;
    if page.newest_first { respond(messages.iter().rev(), &message_view) } else { respond(&messages, &message_view) }
}

/// All messages that clients see of a stored one, those that lists leave out included.
async fn retrieve(state: Arc<State>, call: Call) -> HandlerResult {
    let id = call.param("message_id");
    let stored = state.store.message(id).await?.filter(|message| call.permit.reaches(&message.project));
    let message = parse_message(&stored.ok_or_else(|| message_not_found(id))?)?;
    Ok(Reply::ok(json!(message.expand(&MessageView::USUAL))))
}

const MODES: &[&str] = &["vector", "fts", "hybrid"];
const ROLES: &[&str] = &["assistant", "user", "tool", "function", "system", "approval", "summary"];
const MAX_RESULTS: i64 = 100;
const DEFAULT_RESULTS: i64 = 50;

/// What both searches have in common. All search modes look for words.
struct MessageSearch {
    agent_id: Option<String>,
    conversation_id: Option<String>,
    criteria: MessageQuery,
}

impl MessageSearch {
    fn read(fields: &Fields<'_>) -> Result<Self, ApiError> {
        fields.one_of("search_mode", MODES)?;
        let limit = fields.between("limit", 1, MAX_RESULTS)?.unwrap_or(DEFAULT_RESULTS);
        Ok(Self {
            agent_id: fields.optional("agent_id")?,
            conversation_id: fields.optional("conversation_id")?,
            criteria: MessageQuery {
                query: fields.optional("query")?,
                roles: Vec::new(),
                from: fields.optional::<Timestamp>("start_date")?,
                to: fields.optional::<Timestamp>("end_date")?,
                limit: usize::try_from(limit).unwrap_or(usize::MAX),
            },
        })
    }

    async fn run(&self, state: &State, project: &str) -> Result<Vec<(StoredMessage, Message)>, ApiError> {
        let (agent, conversation) = (self.agent_id.as_deref(), self.conversation_id.as_deref());
        if agent.is_some_and(|id| !is_letta_id(id, "agent")) || conversation.is_some_and(|id| !is_plain(id)) {
            return Ok(Vec::new());
        }
        let filter = match agent {
            Some(agent) => MessageFilter::of_agent(agent),
            None => MessageFilter::of_project(project),
        };
        let filter = filter.in_conversation(conversation);
        let mut found = messages::search(&state.store, filter, &self.criteria, &state.response_budget()).await?;
        found.retain(|(stored, _)| stored.project == project);
        Ok(found)
    }
}

/// Searches what users, agents and systems said, and the reasoning of agents.
async fn search(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    fields.required::<&str>("query")?;
    let mut search = MessageSearch::read(&fields)?;
    search.criteria.roles = vec![Role::User, Role::Assistant, Role::System];
    let found = search.run(&state, call.permit.project().as_str()).await?;
    let mut results = Vec::new();
    for (stored, message) in &found {
        let wire = message.shown(&MessageView::USUAL).into_iter().filter(|wire| {
            matches!(
                wire.message_type,
                MessageType::UserMessage
                    | MessageType::AssistantMessage
                    | MessageType::ReasoningMessage
                    | MessageType::SystemMessage
            )
        });
        for wire in wire {
            let mut result = json!({
                "message_type": wire.message_type,
                "message_id": wire.id,
                "agent_id": stored.agent_id,
                "conversation_id": Some(&stored.conversation_id).filter(|id| *id != DEFAULT_CONVERSATION),
                "created_at": message.created_at,
            });
            let own = json!(wire.own);
            let field = if own["reasoning"].is_string() { "reasoning" } else { "content" };
            result[field] = own[field].clone();
            results.push(result);
        }
    }
    results.truncate(search.criteria.limit);
    Ok(Reply::ok(results.into()))
}

/// Searches all messages, and shows them in the form in which they are stored.
async fn search_stored(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    fields.check(&[("project_id", Expect::Text), ("template_id", Expect::Text)])?;
    let mut search = MessageSearch::read(&fields)?;
    for (index, role) in fields.optional::<Vec<&str>>("roles")?.unwrap_or_default().iter().enumerate() {
        crate::mock::validation::body::one_of(&json!(role), &fields.at("roles").item(index), ROLES)?;
        search.criteria.roles.extend(serde_json::from_value::<Role>(json!(role)).ok());
    }
    let other_project = fields.optional::<&str>("project_id")?.is_some_and(|id| id != call.permit.project().as_str());
    let found = if other_project { Vec::new() } else { search.run(&state, call.permit.project().as_str()).await? };
    let results = (1..).zip(&found).map(|(rank, (stored, message))| {
        let rank: u32 = rank;
        json!({
            "embedded_text": message.searchable(),
            "message": message.stored(&stored.agent_id, &stored.conversation_id),
            "fts_rank": rank,
            "vector_rank": null,
            "rrf_score": 1.0 / f64::from(60 + rank),
        })
    });
    Ok(Reply::ok(results.collect()))
}
