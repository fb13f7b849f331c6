//! The tools of agents: looks up base tools and stored tools together.

use std::collections::HashSet;

use super::base_tools::{BASE_TOOLS, BaseTool, by_id, by_name};
use crate::{
    error::{ApiError, Code},
    mock::{
        records::{Agent, Record, Tool, claims, links},
        storage::{Stored, View, holder, not_found, parse},
    },
    store::{Locked, Store},
};

/// The tools that a request names for an agent, and those that it gets by default, without repetitions. Names are
/// looked up in `project`; whether the tools belong to the project is checked by [`check_project`].
pub(in crate::mock) async fn named(
    view: View<'_>,
    project: &str,
    defaults: &[&str],
    called: &[String],
    ids: &[String],
) -> Result<Vec<Stored<Tool>>, ApiError> {
    let mut tools: Vec<Stored<Tool>> =
        defaults.iter().filter_map(|name| by_name(name)).map(|tool| built_in(0, tool)).collect();
    for name in called {
        let tool = match by_name(name) {
            Some(tool) => Some(built_in(0, tool)),
            None => match holder(view.store(), claims::TOOL, project, name).await? {
                Some(id) => view.find::<Tool>(&id).await?,
                None => None,
            },
        };
        tools.push(tool.ok_or_else(|| unknown("name", name))?);
    }
    for id in ids {
        tools.push(find(view, id).await?.ok_or_else(|| unknown("id", id))?);
    }
    let mut seen = HashSet::new();
    tools.retain(|tool| seen.insert(tool.record.id.clone()));
    Ok(tools)
}

/// Refuses tools of other projects. Base tools belong to all projects.
pub(in crate::mock) fn check_project(tools: &[Stored<Tool>], project: &str) -> Result<(), ApiError> {
    let is_foreign = |tool: &&Stored<Tool>| !tool.project.is_empty() && tool.project != project;
    match tools.iter().find(is_foreign) {
        Some(tool) => Err(unknown("id", &tool.record.id)),
        None => Ok(()),
    }
}

/// Checks that tools still exist. Base tools always do.
pub(in crate::mock) fn check_locked(tools: &[Stored<Tool>], locked: &Locked) -> Result<(), ApiError> {
    let is_gone = |tool: &&Stored<Tool>| by_id(&tool.record.id).is_none() && !locked.holds(Tool::KIND, &tool.record.id);
    match tools.iter().find(is_gone) {
        Some(tool) => Err(not_found::<Tool>(&tool.record.id)),
        None => Ok(()),
    }
}

/// The tool with this id.
pub(in crate::mock) async fn find(view: View<'_>, id: &str) -> Result<Option<Stored<Tool>>, ApiError> {
    match by_id(id) {
        Some(tool) => Ok(Some(built_in(0, tool))),
        None => view.find::<Tool>(id).await,
    }
}

fn built_in(seq: i64, tool: &BaseTool) -> Stored<Tool> {
    Stored { seq, project: String::new(), record: tool.tool() }
}

/// The tools of an agent, oldest first. Base tools are older than all stored ones.
pub(in crate::mock) async fn of_agent(store: &Store, agent_id: &str) -> Result<Vec<Stored<Tool>>, ApiError> {
    let mut tools = Vec::new();
    for link in store.links_of_kinds(&[links::AGENT_TOOL], &[agent_id]).await? {
        match BASE_TOOLS.iter().rev().zip(1_i64..).find(|(tool, _)| tool.id == link.target) {
            Some((tool, place)) => tools.push(built_in(-place, tool)),
            None => tools.extend(link.document.map(parse).transpose()?),
        }
    }
    tools.sort_by_key(|tool| tool.seq);
    Ok(tools)
}

/// Sets the approval rule for tools that require approval by default.
pub(in crate::mock) fn ask_by_default(agent: &mut Agent, tools: &[Stored<Tool>]) {
    for tool in tools.iter().filter(|tool| tool.record.default_requires_approval == Some(true)) {
        agent.require_approval(&tool.record.name, true);
    }
}

fn unknown(by: &str, what: &str) -> ApiError {
    let what: String = what.chars().take(100).collect();
    ApiError::letta(Code::InvalidRequest, format!("INVALID_ARGUMENT: Tools not found by {by}: {what}"))
}
