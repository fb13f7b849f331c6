//! The messages of all agents: listed, retrieved and searched.

use std::sync::Arc;

use serde_json::json;

use super::list::{self, NEWEST, message_types, unknown, written};
use crate::{
    access::{Operation, is_letta_id},
    call::{Call, Reply},
    error::ApiError,
    mock::{
        pagination::cursor::Page,
        records::{Message, MessageType, MessageView, Role, Timestamp},
        resources::{HandlerResult, Routes},
        search::messages::{self, MessageQuery},
        state::State,
        storage::{is_plain, parse_message},
        validation::body::{Expect, Fields},
    },
    store::{MessageFilter, StoredMessage},
};

pub(in crate::mock) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ListAllMessages, list)
        .on(Operation::RetrieveMessage, retrieve)
        .on(Operation::SearchMessages, search)
        .on(Operation::SearchAgentMessages, search_stored)
}

/// As the list of one agent: oldest first, and `order` says which end of the history `limit` keeps.
async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let query = &call.query;
    let page = Page::read(query, NEWEST)?;
    let message_view = MessageView::only(message_types(query)?);
    let (view, project) = (state.view(&call.permit), call.permit.project().as_str());
    let conversation = query.first("conversation_id");
    let page = if conversation.is_some_and(|id| !is_plain(id)) { Page { limit: 0, ..page } } else { page };
    let filter = MessageFilter::of_project(project).in_conversation(conversation.filter(|id| is_plain(id)));
    let messages = list::page(view, filter, &page, |message| message.project == project).await?;
    if page.newest_first { written(messages.iter().rev(), &message_view) } else { written(&messages, &message_view) }
}

/// All that a stored message is on the wire, also where a list would leave it out.
async fn retrieve(state: Arc<State>, call: Call) -> HandlerResult {
    let id = call.param("message_id");
    let stored = state.store.message(id).await?.filter(|message| call.permit.reaches(&message.project));
    let message = parse_message(&stored.ok_or_else(|| unknown(id))?)?;
    Ok(Reply::ok(json!(message.expand(&MessageView::USUAL))))
}

const MODES: &[&str] = &["vector", "fts", "hybrid"];
const ROLES: &[&str] = &["assistant", "user", "tool", "function", "system", "approval", "summary"];
const MOST: i64 = 100;
const USUAL: i64 = 50;

/// What both ways to search have in common. Words are looked for, by whatever name the search goes.
struct MessageSearch {
    agent_id: Option<String>,
    conversation_id: Option<String>,
    wanted: MessageQuery,
}

impl MessageSearch {
    fn read(fields: &Fields<'_>) -> Result<Self, ApiError> {
        fields.one_of("search_mode", MODES)?;
        let limit = fields.between("limit", 1, MOST)?.unwrap_or(USUAL);
        Ok(Self {
            agent_id: fields.optional("agent_id")?,
            conversation_id: fields.optional("conversation_id")?,
            wanted: MessageQuery {
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
        let mut found = messages::search(&state.store, filter, &self.wanted, &state.response_budget()).await?;
        found.retain(|(stored, _)| stored.project == project);
        Ok(found)
    }
}

/// What people and agents said and thought.
async fn search(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    fields.required::<&str>("query")?;
    let mut search = MessageSearch::read(&fields)?;
    search.wanted.roles = vec![Role::User, Role::Assistant, Role::System];
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
                "conversation_id": Some(&stored.conversation_id).filter(|id| *id != "default"),
                "created_at": message.created_at,
            });
            let own = json!(wire.own);
            let (name, text) =
                if own["reasoning"].is_string() { ("reasoning", "reasoning") } else { ("content", "content") };
            result[name] = own[text].clone();
            results.push(result);
        }
    }
    results.truncate(search.wanted.limit);
    Ok(Reply::ok(results.into()))
}

/// The same over everything that is stored, as it is stored.
async fn search_stored(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    fields.check(&[("project_id", Expect::Text), ("template_id", Expect::Text)])?;
    let mut search = MessageSearch::read(&fields)?;
    for (index, role) in fields.optional::<Vec<&str>>("roles")?.unwrap_or_default().iter().enumerate() {
        crate::mock::validation::body::one_of(&json!(role), &fields.at("roles").item(index), ROLES)?;
        search.wanted.roles.extend(serde_json::from_value::<Role>(json!(role)).ok());
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
