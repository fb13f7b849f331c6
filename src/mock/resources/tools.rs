//! Tools: those that clients add, and the built-in ones.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{
    lists::in_project,
    routes::{HandlerResult, Routes},
};
use crate::{
    access::{Call, Operation},
    error::{ApiError, Code},
    mock::{
        budget::offload,
        pagination::{
            cursor::{Defaults, Page},
            list::Listing,
        },
        python::{self, CallResult},
        records::{Agent, Record, TOOL_TYPES, Timestamp, Tool, ToolChange, claims, echo, links, underivable},
        state::State,
        storage::{Stored, claim, insert, lock_holder, project_scope::ProjectScope, release, update},
        text::{
            excerpt::excerpt,
            terms::{Terms, tagged},
        },
        tools::base_tools,
        validation::{
            body::{Expect, Fields, TextMap},
            query,
        },
    },
    reply::Reply,
    request::input::Query,
    store::{Locks, Tx, transaction},
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ListTools, list)
        .on(Operation::CountTools, count)
        .on(Operation::CreateTool, create)
        .on(Operation::UpsertTool, create)
        .on(Operation::AddBaseTools, add_base_tools)
        .on(Operation::RetrieveTool, retrieve)
        .on(Operation::ModifyTool, modify)
        .on(Operation::DeleteTool, delete)
        .on(Operation::SearchTools, search)
        .on(Operation::RunToolFromSource, run)
}

const LIST: Defaults = Defaults { limit: 50, newest_first: true, order_by: &["created_at"] };

async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let page = Page::read(&call.query, LIST)?;
    let filter = ToolFilter::read(&call.query)?;
    let view = state.view(&call.permit);
    let tools = all_tools(&call).page(view, &page, |tool| filter.accepts(tool)).await?;
    Ok(Reply::ok(tools.iter().map(|tool| tool.record.wire()).collect()))
}

async fn count(state: Arc<State>, call: Call) -> HandlerResult {
    let filter = ToolFilter::read(&call.query)?;
    let count = all_tools(&call).count(state.view(&call.permit), |tool| filter.accepts(tool)).await?;
    Ok(Reply::ok(count.into()))
}

/// All tools of the project of a request, the built-in ones included.
fn all_tools(call: &Call) -> Listing<'_, Tool> {
    in_project(call).with_built_in(base_tools::all())
}

/// Which tools a request asks for.
struct ToolFilter<'a> {
    name: Option<&'a str>,
    names: Vec<&'a str>,
    ids: Vec<&'a str>,
    search: Option<String>,
    types: Vec<&'a str>,
    excluded_types: Vec<&'a str>,
    only_letta_tools: bool,
    without_letta_tools: bool,
}

impl<'a> ToolFilter<'a> {
    fn read(query: &'a Query) -> Result<Self, ApiError> {
        Ok(Self {
            name: query.first("name"),
            names: query::items(query, "names"),
            ids: query::items(query, "tool_ids"),
            search: query.first("search").map(str::to_lowercase),
            types: types(query::items(query, "tool_types"))?,
            excluded_types: types(query::items(query, "exclude_tool_types"))?,
            only_letta_tools: query.boolean("return_only_letta_tools")?.unwrap_or(false),
            without_letta_tools: query.boolean("exclude_letta_tools")?.unwrap_or(false),
        })
    }

    fn accepts(&self, tool: &Tool) -> bool {
        let among = |wanted: &[&str], text: &str| wanted.is_empty() || wanted.contains(&text);
        let is_letta_tool = tool.tool_type.starts_with("letta_");
        self.name.is_none_or(|name| tool.name == name)
            && among(&self.names, &tool.name)
            && among(&self.ids, &tool.id)
            && among(&self.types, &tool.tool_type)
            && !self.excluded_types.contains(&tool.tool_type.as_str())
            && self.search.as_ref().is_none_or(|text| tool.name.to_lowercase().contains(text))
            && (is_letta_tool || !self.only_letta_tools)
            && !(is_letta_tool && self.without_letta_tools)
    }
}

fn types(named: Vec<&str>) -> Result<Vec<&str>, ApiError> {
    match named.iter().find(|word| !TOOL_TYPES.contains(word)) {
        None => Ok(named),
        Some(word) => {
            let word = excerpt(word);
            let problem =
                format!("INVALID_ARGUMENT: '{word}' is not a tool type; use one of {}", TOOL_TYPES.join(", "));
            Err(ApiError::letta(Code::InvalidRequest, problem))
        }
    }
}

/// Creates a tool, or changes the one with its name.
async fn create(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    let change = ToolChange::read_new(&fields)?;
    let scope = ProjectScope::of(&call.permit, &fields)?;
    let project = scope.project.as_str();
    let tool = Tool::create(change.clone(), scope.shown.clone());
    refuse_built_in(&tool.name)?;
    let view = state.view(&call.permit);
    let tool = transaction!(state.store, tx => {
        let tool = match claim(tx, claims::TOOL, project, &tool.name, &tool.id).await? {
            None => {
                insert(tx, project, None, &tool).await?;
                tool.clone()
            }
            Some(id) => {
                let has_name = |present: &Tool| present.name == tool.name;
                let mut present = lock_holder(view, tx, &id, has_name).await?.record;
                present.replace(change.clone());
                update(tx, &present).await?;
                present
            }
        };
        Ok(tool)
    })?;
    Ok(Reply::ok(tool.wire()))
}

/// The base tools always exist.
async fn add_base_tools(_: Arc<State>, _: Call) -> HandlerResult {
    Ok(Reply::ok(base_tools::all().map(|tool| tool.wire()).collect()))
}

async fn retrieve(state: Arc<State>, call: Call) -> HandlerResult {
    let id = call.param("tool_id");
    if let Some(tool) = base_tools::by_id(id) {
        return Ok(Reply::ok(tool.tool().wire()));
    }
    Ok(Reply::ok(state.view(&call.permit).get::<Tool>(id).await?.record.wire()))
}

async fn modify(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let change = ToolChange::read_change(&Fields::of_body(&body)?)?;
    let id = call.param("tool_id");
    if base_tools::by_id(id).is_some() {
        let problem = "INVALID_ARGUMENT: A built-in tool cannot be changed";
        return Err(ApiError::letta(Code::InvalidRequest, problem));
    }
    let view = state.view(&call.permit);
    let tool = transaction!(state.store, tx => {
        let mut tool = view.get_for_update::<Tool>(tx, id).await?;
        let former_name = tool.record.name.clone();
        let mut change = change.clone();
        change.complete_schema(&tool.record)?;
        tool.record.change(change.clone());
        change.check_source(&tool.record)?;
        if tool.record.name != former_name {
            rename(tx, &tool, &former_name).await?;
        }
        update(tx, &tool.record).await?;
        Ok(tool)
    })?;
    Ok(Reply::ok(tool.record.wire()))
}

async fn rename(tx: &mut Tx, tool: &Stored<Tool>, former_name: &str) -> Result<(), ApiError> {
    let Stored { project, record: Tool { id, name, .. }, .. } = tool;
    refuse_built_in(name)?;
    if claim(tx, claims::TOOL, project, name, id).await?.is_some() {
        return Err(name_taken(name));
    }
    release(tx, claims::TOOL, project, former_name).await
}

fn refuse_built_in(name: &str) -> Result<(), ApiError> {
    if base_tools::by_name(name).is_some() { Err(name_taken(name)) } else { Ok(()) }
}

fn name_taken(name: &str) -> ApiError {
    ApiError::letta(Code::InvalidRequest, format!("INVALID_ARGUMENT: Tool with name {} already exists", excerpt(name)))
}

/// Detaches it from all agents. Deleting a built-in tool has no effect.
async fn delete(state: Arc<State>, call: Call) -> HandlerResult {
    let id = call.param("tool_id");
    if base_tools::by_id(id).is_none() {
        let view = state.view(&call.permit);
        transaction!(state.store, tx => {
            // Letta responds with 400 here, not with 404.
            view.get_for_update::<Tool>(tx, id).await.map_err(|error| match error.code() {
                Code::NotFound => ApiError::letta(Code::InvalidRequest, format!("Tool with id {id} not found.")),
                _ => error,
            })?;
            let agents = tx.linked_from(links::AGENT_TOOL, id).await?;
            tx.lock(&Locks::of(Agent::KIND, &agents)).await?;
            tx.delete_document(Tool::KIND, id).await?;
            tx.unlink_from(links::AGENT_TOOL, &agents, id).await?;
            Ok(())
        })?;
    }
    Ok(Reply::ok(Value::Null))
}

async fn search(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    let terms = fields.optional::<&str>("query")?.map(Terms::of);
    let mode = fields.one_of("search_mode", &["vector", "fts", "hybrid"])?.unwrap_or("hybrid");
    let named: Vec<&str> = fields.optional("tool_types")?.unwrap_or_default();
    let named = types(named)?;
    let tags: Vec<&str> = fields.optional("tags")?.unwrap_or_default();
    let limit = usize::try_from(fields.between("limit", 1, 100)?.unwrap_or(50)).unwrap_or_default();
    let accepts = |tool: &Tool| {
        (named.is_empty() || named.contains(&tool.tool_type.as_str())) && tagged(&tool.tags, &tags, false)
    };
    let tools = all_tools(&call).all(state.view(&call.permit), accepts).await?;
    let mut found: Vec<(f64, &Tool)> = Vec::new();
    for tool in tools.iter().rev() {
        let score = terms.as_ref().map_or(1.0, |terms| terms.score(&searched_text(&tool.record)));
        if score > 0.0 {
            found.push((score, &tool.record));
        }
    }
    found.sort_by(|(left, _), (right, _)| right.total_cmp(left));
    let shown = found.iter().take(limit).zip(1..).map(|((score, tool), rank)| {
        json!({
            "tool": tool.wire(),
            "embedded_text": searched_text(tool),
            "fts_rank": (mode != "vector").then_some(rank),
            "vector_rank": (mode != "fts").then_some(rank),
            "combined_score": score,
        })
    });
    Ok(Reply::ok(shown.collect()))
}

/// The text that a search looks through.
fn searched_text(tool: &Tool) -> String {
    format!("{}: {} {}", tool.name, tool.description.as_deref().unwrap_or_default(), tool.tags.join(" "))
}

/// Responds with what a call of a source returns, as far as the mock can tell without executing it. Nothing is stored.
async fn run(_: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    let source: &str = fields.required("source_code")?;
    let arguments: &Map<String, Value> = fields.required("args")?;
    let TextMap(environment) = fields.optional("env_vars")?.unwrap_or_default();
    let name: Option<&str> = fields.optional("name")?;
    let source_type: Option<&str> = fields.optional("source_type")?;
    fields.check(&[("args_json_schema", Expect::Object), ("json_schema", Expect::Object)])?;
    let environment = environment.into_iter().map(|(name, value)| (name, value.into())).collect();
    let schema: Option<&Map<String, Value>> = fields.optional("json_schema")?;
    let result = if source_type == Some("typescript") {
        echo(name.unwrap_or("the tool"), arguments)
    } else {
        let given = name.or_else(|| schema?.get("name")?.as_str()).map(str::to_owned);
        let name = match given {
            Some(name) => name,
            None if fields.value("args_json_schema").is_some() => {
                python::name_and_docstring(source).map_err(underivable)?.0
            }
            None => python::signature(source).map_err(underivable)?.name,
        };
        let result = offload(source.len(), || python::run(source, &name, arguments, &environment));
        result.unwrap_or_else(|| echo(&name, arguments))
    };
    Ok(Reply::ok(tool_return_message(name, &result)))
}

/// The result as a message outside of any conversation.
fn tool_return_message(name: Option<&str>, result: &CallResult) -> Value {
    let status = result.status();
    let text = result.text().unwrap_or_else(|problem| match name {
        Some(name) => format!("Error executing function {name}: {problem}"),
        None => format!("Error executing function: {problem}"),
    });
    let part = json!({
        "type": "tool",
        "tool_return": text,
        "status": status,
        "tool_call_id": "null",
        "stdout": result.stdout,
        "stderr": result.stderr,
    });
    json!({
        "id": "null",
        "date": Timestamp::now().message_date(),
        "name": name,
        "message_type": "tool_return_message",
        "otid": null,
        "sender_id": null,
        "step_id": null,
        "is_err": null,
        "seq_id": null,
        "run_id": null,
        "tool_return": text,
        "status": status,
        "tool_call_id": "null",
        "stdout": result.stdout,
        "stderr": result.stderr,
        "tool_returns": [part],
    })
}
