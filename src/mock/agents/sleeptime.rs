//! The sleeptime agents of agents: partners that think for them in the background, and share their blocks.

use std::collections::HashSet;

use serde_json::json;

use super::{
    create::{finish, link},
    memory::blocks_within,
};
use crate::{
    error::ApiError,
    mock::{
        records::{
            Agent, Block, Group, GroupChange, LEAST_BUFFERED, MOST_BUFFERED, ModelConfig, Record, is_older, links,
        },
        storage::documents::{Stored, changed_meanwhile, insert, parse, update},
        tools::builtin,
        validation::body::Fields,
    },
    store::{Locked, Locks, Tx},
};

/// The kind of partner that agents of a type have.
struct PartnerKind {
    agent_type: &'static str,
    group: &'static str,
    /// None: that of the agent.
    model: Option<&'static str>,
}

const USUAL: PartnerKind = PartnerKind { agent_type: "sleeptime_agent", group: "sleeptime", model: None };
const VOICE: PartnerKind =
    PartnerKind { agent_type: "voice_sleeptime_agent", group: "voice_sleeptime", model: Some("openai/gpt-4.1") };
/// After how many turns a partner runs again.
const FREQUENCY: i64 = 5;
/// The block by which a partner knows what it is for.
const PERSONA: &str = "memory_persona";

/// Makes the partner of an agent that shares these blocks with it, and the group of both. The caller has locked the blocks.
pub(in crate::mock) async fn make(tx: &mut Tx, main: &Stored<Agent>, mut blocks: Vec<Block>) -> Result<(), ApiError> {
    let project = main.project.as_str();
    let agent = &main.record;
    let kind = if agent.agent_type == "voice_convo_agent" { &VOICE } else { &USUAL };
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
    let mut partner = agent.partner(kind.agent_type);
    if let Some(model) = kind.model {
        partner.model = ModelConfig::create(&Fields::of_body(&json!({"model": model}))?, is_older(kind.agent_type))?;
    }
    let names = builtin::default_names(kind.agent_type);
    builtin::add_base_rules(&mut partner, names.iter().copied());
    let partner = finish(tx, project, partner, (&blocks, &[]), None, &[], &HashSet::new()).await?.record;
    let built_in = names.iter().filter_map(|name| builtin::by_name(name));
    link(tx, links::AGENT_TOOL, &partner.id, built_in.map(|tool| tool.id)).await?;

    let (description, manager) = if kind.group == VOICE.group {
        let (most, least) = (MOST_BUFFERED, LEAST_BUFFERED);
        let manager = json!({
            "manager_type": kind.group, "manager_agent_id": agent.id,
            "max_message_buffer_length": most, "min_message_buffer_length": least,
        });
        ("A voice agent, and the one that keeps its memory in the background.", manager)
    } else {
        let manager = json!({
            "manager_type": kind.group, "manager_agent_id": agent.id, "sleeptime_agent_frequency": FREQUENCY,
        });
        ("", manager)
    };
    let body = json!({"agent_ids": [partner.id], "description": description, "manager_config": manager});
    let group = Group::create(&GroupChange::read_new(&Fields::of_body(&body)?)?, agent.project_id.clone());
    insert(tx, project, None, &group).await?;
    tx.link(links::GROUP_AGENT, &group.id, &partner.id).await?;
    tx.link(links::MANAGED_GROUP, &agent.id, &group.id).await?;
    Ok(())
}

/// Makes the partner of an agent that is to have one from now on, unless it manages a group already. The caller has locked
/// the agent, and its blocks as they were then.
pub(in crate::mock) async fn make_missing(tx: &mut Tx, main: &Stored<Agent>, locked: &[Block]) -> Result<(), ApiError> {
    let id = &main.record.id;
    if !tx.linked_documents(links::MANAGED_GROUP, id, Group::KIND).await?.is_empty() {
        return Ok(());
    }
    let blocks = blocks_within(tx, id).await?;
    if !blocks.iter().map(|block| &block.id).eq(locked.iter().map(|block| &block.id)) {
        return Err(changed_meanwhile(id));
    }
    make(tx, main, blocks).await
}

/// Of an agent that thinks in the background: the groups by which it does, each with the agent that has it do so.
pub(in crate::mock) async fn mains(tx: &mut Tx, agent_id: &str) -> Result<Vec<(String, String)>, ApiError> {
    let mut mains = Vec::new();
    for group_id in tx.linked_from(links::GROUP_AGENT, agent_id).await? {
        let Some(document) = tx.document(Group::KIND, &group_id).await? else { continue };
        let group = parse::<Group>(document)?.record;
        if is_of_partners(&group.manager_type) {
            let managers = tx.linked_from(links::MANAGED_GROUP, &group_id).await?;
            mains.extend(managers.into_iter().map(|main| (main, group_id.clone())));
        }
    }
    Ok(mains)
}

/// Leaves agents without the partners that go. The caller has locked both and the groups, which go as well.
pub(in crate::mock) async fn leave_mains(tx: &mut Tx, mains: &[(String, String)]) -> Result<(), ApiError> {
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

/// Whether an agent of this type thinks in the background.
pub(in crate::mock) fn is_partner(agent_type: &str) -> bool {
    [USUAL.agent_type, VOICE.agent_type].contains(&agent_type)
}

fn is_of_partners(group: &str) -> bool {
    [USUAL.group, VOICE.group].contains(&group)
}

/// The partners that think for an agent in the background, and go with it.
pub(in crate::mock) async fn partners(tx: &mut Tx, agent_id: &str) -> Result<Vec<String>, ApiError> {
    of_groups(tx, agent_id, is_of_partners).await
}

/// Those of them that are shown the blocks that are attached to their agent: in Letta not those of voice agents.
async fn sharing(tx: &mut Tx, agent_id: &str) -> Result<Vec<String>, ApiError> {
    of_groups(tx, agent_id, |group| group == USUAL.group).await
}

async fn of_groups(tx: &mut Tx, agent_id: &str, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, ApiError> {
    let mut partners = Vec::new();
    for document in tx.linked_documents(links::MANAGED_GROUP, agent_id, Group::KIND).await? {
        let group = parse::<Group>(document)?.record;
        if wanted(&group.manager_type) {
            let agents = tx.linked_documents(links::GROUP_AGENT, &group.id, Agent::KIND).await?;
            partners.extend(agents.into_iter().map(|agent| agent.id));
        }
    }
    partners.retain(|partner| partner != agent_id);
    Ok(partners)
}

/// Locks an agent, the partners that share what is attached to it, and whatever else. Returns the partners.
pub(in crate::mock) async fn lock_with_partners(
    tx: &mut Tx,
    agent_id: &str,
    more: Locks,
) -> Result<(Vec<Stored<Agent>>, Locked), ApiError> {
    let partners = sharing(tx, agent_id).await?;
    let locked = tx.lock(&more.and(Agent::KIND, [agent_id]).and(Agent::KIND, &partners)).await?;
    if sharing(tx, agent_id).await? != partners {
        return Err(changed_meanwhile(agent_id));
    }
    let found = partners.iter().filter_map(|id| locked.get(Agent::KIND, id)).map(parse::<Agent>);
    let found: Vec<Stored<Agent>> = found.collect::<Result<_, _>>()?;
    let found = found.into_iter().filter(|partner| partner.record.agent_type == USUAL.agent_type).collect();
    Ok((found, locked))
}
