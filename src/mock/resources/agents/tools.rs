//! The tools of an agent: attached and detached, which of them require approval, and calls from outside of a turn.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::changed::{self, show_unless_current};
use crate::{
    access::{Call, Operation},
    error::{ApiError, Code},
    mock::{
        pagination::cursor::{Defaults, Page},
        python::CallResult,
        records::{Agent, DEFAULT_CONVERSATION, Record, Tool, ToolCall, ToolStatus, links},
        resources::routes::{HandlerResult, Routes},
        state::State,
        storage::{Stored, not_found},
        text::excerpt::excerpt,
        tools::{
            agent_tools, base_tools,
            execute::{ToolExecutor, error_text},
            set::ToolSet,
        },
        turn::{message_agents, store_effects},
        validation::body::{Fields, Location},
    },
    reply::Reply,
    store::{Locks, transaction},
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ListToolsForAgent, list)
        .on(Operation::AttachToolToAgent, attach)
        .on(Operation::DetachToolFromAgent, detach)
        .on(Operation::ModifyApprovalForTool, set_approval)
        .on(Operation::RunToolForAgent, run)
}

const LIST: Defaults = Defaults { limit: 10, newest_first: true, order_by: &["created_at"] };

async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let page = Page::read(&call.query, LIST)?;
    let view = state.view(&call.permit);
    let agent = view.get::<Agent>(call.param("agent_id")).await?.record;
    let mut tools = agent_tools::of_agent(view.store(), &agent.id).await?;
    if page.newest_first {
        tools.reverse();
    }
    let tools = page.cut(tools, |tool| &tool.record.id);
    Ok(Reply::ok(tools.iter().map(|tool| tool.record.wire()).collect()))
}

async fn attach(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let id = call.param("tool_id");
    // Looked up before the transaction, which holds a connection.
    let tools: Vec<Stored<Tool>> = agent_tools::find(view, id).await?.into_iter().collect();
    let stored = base_tools::by_id(id).is_none().then_some(id);
    let agent_id = call.param("agent_id");
    let agent = transaction!(state.store, tx => {
        let locked = tx.lock(&Locks::of(Tool::KIND, stored).and(Agent::KIND, [agent_id])).await?;
        let mut agent = view.locked::<Agent>(&locked, agent_id)?;
        let is_gone = tools.is_empty() || stored.is_some_and(|id| !locked.holds(Tool::KIND, id));
        if is_gone || agent_tools::check_project(&tools, &agent.project).is_err() {
            return Err(not_found::<Tool>(id));
        }
        tx.link(links::AGENT_TOOL, &agent.record.id, id).await?;
        agent_tools::ask_by_default(&mut agent.record, &tools);
        changed::store(tx, agent).await
    })?;
    show_unless_current(&call.headers, view, &agent.record).await
}

async fn detach(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let agent_id = call.param("agent_id");
    let tool_id = call.param("tool_id");
    let agent = transaction!(state.store, tx => {
        let agent = view.get_for_update::<Agent>(tx, agent_id).await?;
        tx.unlink(links::AGENT_TOOL, &agent.record.id, tool_id).await?;
        changed::store(tx, agent).await
    })?;
    show_unless_current(&call.headers, view, &agent.record).await
}

/// The tool need not be attached: the rule may be set before.
async fn set_approval(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let in_query = call.query.boolean("requires_approval")?;
    let required = match Fields::of_optional_body(&body)? {
        Some(fields) => {
            fields.only(&["requires_approval"])?;
            Some(fields.required("requires_approval")?)
        }
        None => in_query,
    };
    let Some(required) = required else { return Err(Location::body().at("requires_approval").missing(&body)) };
    let view = state.view(&call.permit);
    let agent_id = call.param("agent_id");
    let tool_name = call.param("tool_name");
    let agent = transaction!(state.store, tx => {
        let mut agent = view.get_for_update::<Agent>(tx, agent_id).await?;
        agent.record.require_approval(tool_name, required);
        changed::store(tx, agent).await
    })?;
    show_unless_current(&call.headers, view, &agent.record).await
}

/// Calls a tool of an agent as a turn does, with the agent's secrets as its environment.
async fn run(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_optional_body(&body)?;
    let arguments = match &fields {
        Some(fields) => {
            fields.only(&["args"])?;
            fields.optional::<&Map<String, Value>>("args")?.cloned().unwrap_or_default()
        }
        None => Map::new(),
    };
    let view = state.view(&call.permit);
    let stored = view.get::<Agent>(call.param("agent_id")).await?;
    let agent = &stored.record;
    let name = call.param("tool_name");
    let tools = agent_tools::of_agent(view.store(), &agent.id).await?;
    let tool = tools.iter().find(|tool| tool.record.name == name).ok_or_else(|| {
        let name = excerpt(name);
        ApiError::letta(Code::NotFound, format!("Tool '{name}' is not attached to agent {}", agent.id))
    })?;
    let result = if base_tools::messages_agents(&tool.record) {
        match message_agents(&state, &stored, name, &arguments).await? {
            Ok(text) => CallResult::of(text.into()),
            Err(problem) => failed(error_text(name, &problem)),
        }
    } else if base_tools::by_name(name).is_some() {
        run_built_in(&state, agent, name, &arguments).await?
    } else {
        tool.record.call(&arguments, &agent.environment())
    };
    Ok(Reply::ok(result.wire()))
}

/// Calls a built-in tool, which works on the agent's memory and archive.
async fn run_built_in(
    state: &State,
    agent: &Agent,
    name: &str,
    arguments: &Map<String, Value>,
) -> Result<CallResult, ApiError> {
    let tool_set = ToolSet::of(&state.store, agent, &[]).await?;
    let call = ToolCall { name: name.to_owned(), arguments: json!(arguments).to_string(), id: String::new() };
    let budget = state.budget(call.arguments.len(), 1);
    let mut executor = ToolExecutor::new(&state.store, agent, DEFAULT_CONVERSATION, &[], &budget);
    let returned = executor.run(&call, &tool_set).await?;
    store_effects(&state.store, &agent.id, &executor.effects).await?;
    let text = returned.tool_return.text();
    Ok(match returned.status {
        ToolStatus::Success => CallResult::of(text.into()),
        ToolStatus::Error => failed(text),
    })
}

fn failed(text: String) -> CallResult {
    CallResult { returned: Err(text.clone()), stdout: Vec::new(), stderr: vec![text] }
}
