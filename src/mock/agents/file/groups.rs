//! The groups of agent files.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::reading::{invalid_file, items, new_id, new_ids};
use crate::{
    error::ApiError,
    mock::{
        records::{Agent, Group, GroupChange, links, object},
        storage::{Stored, View, insert, project_scope::ProjectScope},
        validation::body::Fields,
    },
    store::Tx,
};

/// The group that an agent manages, with its other agents.
pub(super) async fn managed(
    view: View<'_>,
    agent_id: &str,
) -> Result<Option<(Stored<Group>, Vec<Stored<Agent>>)>, ApiError> {
    let Some((_, group)) = view.linked::<Group>(links::MANAGED_GROUP, &[agent_id]).await?.pop() else {
        return Ok(None);
    };
    let agents = view.linked::<Agent>(links::GROUP_AGENT, &[&group.record.id]).await?;
    let agents = agents.into_iter().map(|(_, agent)| agent).collect();
    Ok(Some((group, agents)))
}

/// A group as it is written to a file, with the local ids of its agents. Shared blocks are left out, since Letta cannot import
/// a file that has them here; they are written with the agents that have them.
pub(super) fn to_file(group: &Group, local_id: &str, agents: &[String], manager: &str) -> Value {
    let mut config = object! {"manager_type": group.manager_type};
    if group.manager_type != "round_robin" {
        config.insert("manager_agent_id".into(), manager.into());
    }
    match group.manager_type.as_str() {
        "round_robin" => config.extend(object! {"max_turns": group.max_turns}),
        "dynamic" => config.extend(object! {
            "termination_token": group.termination_token,
            "max_turns": group.max_turns,
        }),
        "sleeptime" => config.extend(object! {"sleeptime_agent_frequency": group.sleeptime_agent_frequency}),
        "voice_sleeptime" => config.extend(object! {
            "max_message_buffer_length": group.max_message_buffer_length,
            "min_message_buffer_length": group.min_message_buffer_length,
        }),
        _ => {}
    }
    json!({
        "agent_ids": agents,
        "description": group.description,
        "manager_config": config,
        "project_id": null,
        "shared_block_ids": [],
        "hidden": group.hidden,
        "id": local_id,
    })
}

/// Imports the groups of a file, after its agents and blocks, and returns their ids.
pub(super) async fn make(
    tx: &mut Tx,
    scope: &ProjectScope,
    file: &Fields<'_>,
    agents: &HashMap<String, String>,
    blocks: &HashMap<String, String>,
) -> Result<Vec<String>, ApiError> {
    let mut ids = Vec::new();
    for written in items(file, "groups")? {
        let body = body(&written, agents, blocks)?;
        let change = GroupChange::read_new(&Fields::of_body(&body)?).map_err(invalid_file)?;
        let group = Group::create(&change, scope.shown.clone());
        insert(tx, scope.project.as_str(), None, &group).await?;
        for agent in change.agent_ids.iter().flatten() {
            tx.link(links::GROUP_AGENT, &group.id, agent).await?;
        }
        for block in change.block_ids.iter().flatten() {
            tx.link(links::GROUP_BLOCK, &group.id, block).await?;
        }
        if let Some(manager) = change.manager_agent_id() {
            tx.link(links::MANAGED_GROUP, manager, &group.id).await?;
        }
        ids.push(group.id);
    }
    Ok(ids)
}

/// The body of a request for the same group.
fn body(
    written: &Fields<'_>,
    agents: &HashMap<String, String>,
    blocks: &HashMap<String, String>,
) -> Result<Value, ApiError> {
    written.required::<Vec<&str>>("agent_ids").map_err(invalid_file)?;
    let mut body: Map<String, Value> = written.map().clone();
    body.insert("agent_ids".into(), json!(new_ids(agents, written, "agent_ids")?));
    body.insert("shared_block_ids".into(), json!(new_ids(blocks, written, "shared_block_ids")?));
    if let Some(config) = written.optional::<Fields<'_>>("manager_config").map_err(invalid_file)? {
        let mut config_body = config.map().clone();
        if let Some(manager) = config.optional::<&str>("manager_agent_id").map_err(invalid_file)? {
            config_body.insert("manager_agent_id".into(), new_id(agents, manager)?.into());
        }
        body.insert("manager_config".into(), config_body.into());
    }
    Ok(body.into())
}
