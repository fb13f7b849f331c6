//! Sleeptime agents: creating them with the agents whose memory they work on, and finding one from the other.
//!
//! The agent that manages a group of sleeptime agents is their main agent. They share its blocks.

use std::collections::HashSet;

use serde_json::json;

use super::{
    insert::{insert_agent, link_all},
    memory::blocks_within,
};
use crate::{
    error::ApiError,
    mock::{
        records::{
            Agent, Block, Group, GroupChange, LEAST_BUFFERED, MOST_BUFFERED, ModelConfig, Record, is_older, links,
        },
        storage::{Stored, changed_meanwhile, insert, parse, update},
        tools::base_tools,
        validation::body::Fields,
    },
    store::{Locked, Locks, Tx},
};

/// A kind of sleeptime agents.
struct SleeptimeKind {
    agent_type: &'static str,
    /// The manager type of their groups.
    group: &'static str,
    /// The handle of their model, if it is not the main agent's.
    model: Option<&'static str>,
}

/// The sleeptime agents of most agents.
const DEFAULT: SleeptimeKind = SleeptimeKind { agent_type: "sleeptime_agent", group: "sleeptime", model: None };
/// The sleeptime agents of voice agents.
const VOICE: SleeptimeKind =
    SleeptimeKind { agent_type: "voice_sleeptime_agent", group: "voice_sleeptime", model: Some("openai/gpt-4.1") };
/// A sleeptime agent runs after this many turns of its main agent.
const FREQUENCY: i64 = 5;
/// The label of the block with the instructions of a sleeptime agent.
const PERSONA: &str = "memory_persona";

/// Creates the sleeptime agent of a main agent, which shares `blocks` with it, and the group of both. The caller has locked
/// the blocks.
pub(super) async fn create(tx: &mut Tx, main: &Stored<Agent>, mut blocks: Vec<Block>) -> Result<(), ApiError> {
    let project = main.project.as_str();
    let agent = &main.record;
    let kind = if agent.agent_type == "voice_convo_agent" { &VOICE } else { &DEFAULT };
    if blocks.iter().all(|block| block.label != PERSONA) {
        let mut persona = Block::create(&Fields::of_body(&json!({
            "label": PERSONA,
            "value": "I keep the memory of a conversation that others have. I note what is worth knowing about the user, and \
                      put right what has changed.",
        }))?)?;
        persona.project_id.clone_from(&agent.project_id);
        insert(tx, project, None, &persona).await?;
        blocks.push(persona);
    }
    let mut sleeptime_agent = agent.new_sleeptime_agent(kind.agent_type);
    if let Some(model) = kind.model {
        sleeptime_agent.model =
            ModelConfig::create(&Fields::of_body(&json!({"model": model}))?, is_older(kind.agent_type))?;
    }
    let names = base_tools::default_names(kind.agent_type);
    base_tools::add_base_rules(&mut sleeptime_agent, names.iter().copied());
    let sleeptime_agent =
        insert_agent(tx, project, sleeptime_agent, (&blocks, &[]), None, &[], &HashSet::new()).await?.record;
    let built_in = names.iter().filter_map(|name| base_tools::by_name(name));
    link_all(tx, links::AGENT_TOOL, &sleeptime_agent.id, built_in.map(|tool| tool.id)).await?;

    let (description, manager) = if kind.group == VOICE.group {
        let manager = json!({
            "manager_type": kind.group, "manager_agent_id": agent.id,
            "max_message_buffer_length": MOST_BUFFERED, "min_message_buffer_length": LEAST_BUFFERED,
        });
        ("A voice agent, and the one that keeps its memory in the background.", manager)
    } else {
        let manager = json!({
            "manager_type": kind.group, "manager_agent_id": agent.id, "sleeptime_agent_frequency": FREQUENCY,
        });
        ("", manager)
    };
    let body = json!({"agent_ids": [sleeptime_agent.id], "description": description, "manager_config": manager});
    let group = Group::create(&GroupChange::read_new(&Fields::of_body(&body)?)?, agent.project_id.clone());
    insert(tx, project, None, &group).await?;
    tx.link(links::GROUP_AGENT, &group.id, &sleeptime_agent.id).await?;
    tx.link(links::MANAGED_GROUP, &agent.id, &group.id).await?;
    Ok(())
}

/// Creates the sleeptime agent of an existing agent, unless that manages a group already. The caller has locked the agent and
/// `locked`, its blocks as it read them before.
pub(in crate::mock) async fn create_missing(
    tx: &mut Tx,
    main: &Stored<Agent>,
    locked: &[Block],
) -> Result<(), ApiError> {
    let id = &main.record.id;
    if !tx.linked_documents(links::MANAGED_GROUP, id, Group::KIND).await?.is_empty() {
        return Ok(());
    }
    let blocks = blocks_within(tx, id).await?;
    if !blocks.iter().map(|block| &block.id).eq(locked.iter().map(|block| &block.id)) {
        return Err(changed_meanwhile(id));
    }
    create(tx, main, blocks).await
}

/// The main agents of a sleeptime agent, each with the group by which it manages the sleeptime agent.
pub(in crate::mock) async fn main_agents(tx: &mut Tx, agent_id: &str) -> Result<Vec<(String, String)>, ApiError> {
    let mut mains = Vec::new();
    for group_id in tx.linked_from(links::GROUP_AGENT, agent_id).await? {
        let Some(document) = tx.document(Group::KIND, &group_id).await? else { continue };
        let group = parse::<Group>(document)?.record;
        if is_of_sleeptime_agents(&group.manager_type) {
            let managers = tx.linked_from(links::MANAGED_GROUP, &group_id).await?;
            mains.extend(managers.into_iter().map(|main| (main, group_id.clone())));
        }
    }
    Ok(mains)
}

/// Deletes the groups of sleeptime agents that are being deleted, and disables sleeptime agents for their main agents. The
/// caller has locked all of them.
pub(in crate::mock) async fn detach_from_main_agents(tx: &mut Tx, mains: &[(String, String)]) -> Result<(), ApiError> {
    for (main, group) in mains {
        tx.delete_document(Group::KIND, group).await?;
        tx.unlink_all(group).await?;
        tx.unlink(links::MANAGED_GROUP, main, group).await?;
        let Some(document) = tx.document_for_update(Agent::KIND, main).await? else { continue };
        let mut main = parse::<Agent>(document)?.record;
        main.enable_sleeptime = None;
        update(tx, &main).await?;
    }
    Ok(())
}

/// Whether agents of a type are sleeptime agents.
pub(in crate::mock) fn is_sleeptime_agent(agent_type: &str) -> bool {
    [DEFAULT.agent_type, VOICE.agent_type].contains(&agent_type)
}

fn is_of_sleeptime_agents(group: &str) -> bool {
    [DEFAULT.group, VOICE.group].contains(&group)
}

/// The ids of the sleeptime agents of a main agent, which are deleted with it.
pub(in crate::mock) async fn sleeptime_agents(tx: &mut Tx, agent_id: &str) -> Result<Vec<String>, ApiError> {
    members_of_groups(tx, agent_id, is_of_sleeptime_agents).await
}

/// The ids of the sleeptime agents that get blocks which are attached to their main agent later. As in Letta, those of voice
/// agents do not.
async fn sharing_new_blocks(tx: &mut Tx, agent_id: &str) -> Result<Vec<String>, ApiError> {
    members_of_groups(tx, agent_id, |group| group == DEFAULT.group).await
}

async fn members_of_groups(
    tx: &mut Tx,
    agent_id: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<String>, ApiError> {
    let mut agent_ids = Vec::new();
    for document in tx.linked_documents(links::MANAGED_GROUP, agent_id, Group::KIND).await? {
        let group = parse::<Group>(document)?.record;
        if wanted(&group.manager_type) {
            let agents = tx.linked_documents(links::GROUP_AGENT, &group.id, Agent::KIND).await?;
            agent_ids.extend(agents.into_iter().map(|agent| agent.id));
        }
    }
    agent_ids.retain(|id| id != agent_id);
    Ok(agent_ids)
}

/// Locks an agent, the sleeptime agents that get blocks which are attached to it, and `more`. Returns these sleeptime agents.
pub(in crate::mock) async fn lock_with_sleeptime_agents(
    tx: &mut Tx,
    agent_id: &str,
    more: Locks,
) -> Result<(Vec<Stored<Agent>>, Locked), ApiError> {
    let sleeptime_agents = sharing_new_blocks(tx, agent_id).await?;
    let locked = tx.lock(&more.and(Agent::KIND, [agent_id]).and(Agent::KIND, &sleeptime_agents)).await?;
    if sharing_new_blocks(tx, agent_id).await? != sleeptime_agents {
        return Err(changed_meanwhile(agent_id));
    }
    let found = sleeptime_agents.iter().filter_map(|id| locked.get(Agent::KIND, id)).map(parse::<Agent>);
    let found: Vec<Stored<Agent>> = found.collect::<Result<_, _>>()?;
    let found = found.into_iter().filter(|agent| agent.record.agent_type == DEFAULT.agent_type).collect();
    Ok((found, locked))
}
