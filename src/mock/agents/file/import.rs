//! Imports agent files. Everything that a file describes gets a new id.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    groups,
    import_options::Import,
    import_parts::ImportContext,
    local_ids,
    reading::{invalid_argument, invalid_file},
};
use crate::{
    error::ApiError,
    mock::{
        budget::Budget,
        storage::{View, project_scope::ProjectScope},
        validation::body::Fields,
    },
    store::Tx,
};

/// The ids of the imported agents and groups.
#[derive(Clone, Debug)]
pub(in crate::mock) struct Imported {
    pub(in crate::mock) agent_ids: Vec<String>,
    pub(in crate::mock) group_ids: Vec<String>,
}

/// Imports the agents and groups of a file, with everything that belongs to them.
pub(in crate::mock) async fn import(
    tx: &mut Tx,
    view: View<'_>,
    scope: &ProjectScope,
    file: &Value,
    import: &Import,
    budget: &Budget,
) -> Result<Imported, ApiError> {
    let fields = Fields::of_body(file).map_err(invalid_file)?;
    let agents: Vec<Fields<'_>> = fields.required("agents").map_err(invalid_file)?;
    if agents.is_empty() {
        return Err(invalid_argument("The agent file has no agents"));
    }
    local_ids::check(&fields)?;
    let mut context = ImportContext::new(scope, import);
    context.import_tools(tx, view, &fields).await?;
    context.import_blocks(tx, &fields).await?;
    context.import_folders(tx, &fields).await?;
    let (mut agent_ids, mut by_local_id) = (Vec::new(), HashMap::new());
    for agent in &agents {
        let id = context.import_agent(tx, view, agent, budget).await?.record.id;
        let local_id = agent.optional::<String>("id").map_err(invalid_file)?;
        by_local_id.extend(local_id.map(|local_id| (local_id, id.clone())));
        agent_ids.push(id);
    }
    let group_ids = groups::make(tx, scope, &fields, &by_local_id, &context.blocks).await?;
    Ok(Imported { agent_ids, group_ids })
}
