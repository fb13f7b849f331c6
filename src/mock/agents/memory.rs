//! An agent's memory: its blocks, the system message that shows them to the model, and responses that contain them.

use std::{borrow::Cow, collections::HashMap, slice};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{
    directories::{self, Directories},
    prompt,
};
use crate::{
    access::Written,
    error::ApiError,
    mock::{
        budget::Budget,
        records::{
            Agent, Block, Conversation, DEFAULT_CONVERSATION, Folder, Loaded, Message, Part, Record, Role, StoredAgent,
            Timestamp, Tool, include::Include, links,
        },
        storage::{Stored, View, body, inconsistent, parse, parse_message, relations, update, update_message},
        tools::base_tools,
    },
    store::{Link, Locked, Locks, Tx},
};

/// The blocks of an agent, in the order in which they were attached.
pub(in crate::mock) async fn blocks(view: View<'_>, agent_id: &str) -> Result<Vec<Stored<Block>>, ApiError> {
    let linked = view.linked(links::AGENT_BLOCK, &[agent_id]).await?;
    Ok(linked.into_iter().map(|(_, block)| block).collect())
}

/// The blocks of an agent, within a transaction.
pub(in crate::mock) async fn blocks_within(tx: &mut Tx, agent_id: &str) -> Result<Vec<Block>, ApiError> {
    let linked = tx.linked_documents(links::AGENT_BLOCK, agent_id, Block::KIND).await?;
    linked.into_iter().map(|document| parse(document).map(|block| block.record)).collect()
}

/// Locked blocks, with the agents to which they are attached. While they are locked, they cannot be attached to others.
pub(in crate::mock) struct LockedBlocks {
    pub(in crate::mock) blocks: Locked,
    pub(in crate::mock) agents: Vec<String>,
    /// The agents, and everything else that was locked with them.
    pub(in crate::mock) locked: Locked,
}

/// Locks blocks, then the agents to which they are attached, and `more`, which comes no earlier than agents in the lock
/// order.
pub(in crate::mock) async fn lock_with_agents(
    tx: &mut Tx,
    blocks: &[String],
    more: Locks,
) -> Result<LockedBlocks, ApiError> {
    let locked = tx.lock(&Locks::of(Block::KIND, blocks)).await?;
    let agents = tx.linked_from_any(links::AGENT_BLOCK, blocks).await?;
    let more = tx.lock(&more.and(Agent::KIND, &agents)).await?;
    Ok(LockedBlocks { blocks: locked, agents, locked: more })
}

/// Deletes blocks, detaches them from agents, and compiles these agents' system messages again, except those of
/// `deleted_agents`. The caller has removed the blocks from groups.
pub(in crate::mock) async fn delete_blocks(
    tx: &mut Tx,
    locked: &LockedBlocks,
    deleted_agents: &[String],
) -> Result<(), ApiError> {
    for block in locked.blocks.of(Block::KIND) {
        tx.delete_document(Block::KIND, &block.id).await?;
        tx.unlink_all(&block.id).await?;
        tx.unlink_from(links::AGENT_BLOCK, &locked.agents, &block.id).await?;
    }
    for id in locked.agents.iter().filter(|id| !deleted_agents.contains(id)) {
        let Some(document) = locked.locked.get(Agent::KIND, id) else { continue };
        let mut agent = parse::<Agent>(document)?.record;
        recompile(tx, &mut agent).await?;
        update(tx, &agent).await?;
    }
    Ok(())
}

/// What is linked to agents, as far as a response shows it. One query reads the links of many agents; more follow for
/// each agent that has folders.
async fn load(
    view: View<'_>,
    agents: &[StoredAgent<'_>],
    include: Include,
) -> Result<HashMap<String, Loaded>, ApiError> {
    let wanted = [
        (include.blocks, links::AGENT_BLOCK),
        (include.tools, links::AGENT_TOOL),
        (include.sources || include.blocks, links::AGENT_FOLDER),
        (include.identities, links::AGENT_IDENTITY),
        (include.managed_group, links::MANAGED_GROUP),
    ];
    let kinds: Vec<&str> = wanted.iter().filter(|(wanted, _)| *wanted).map(|(_, kind)| *kind).collect();
    let mut loaded: HashMap<String, Loaded> = HashMap::new();
    if kinds.is_empty() {
        return Ok(loaded);
    }
    let ids: Vec<&str> = agents.iter().map(|agent| agent.id).collect();
    let (mut identities, mut groups) = (Vec::new(), Vec::new());
    for link in view.store().links_of_kinds(&kinds, &ids).await? {
        let Link { kind, source, target, document } = link;
        match kind.as_str() {
            links::AGENT_BLOCK => {
                let block = view
                    .shown(document)
                    .map(|block| RawValue::from_string(block.body).map_err(|error| inconsistent(&target, &error)));
                loaded.entry(source).or_default().blocks.extend(block.transpose()?);
            }
            links::AGENT_TOOL => {
                let tool = match base_tools::by_id(&target) {
                    Some(tool) => tool.written().map(Cow::Borrowed),
                    None => match view.behind::<Tool>(document)? {
                        Some(tool) => Some(Cow::Owned(to_raw_value(&tool.record.wire()).map_err(ApiError::internal)?)),
                        None => None,
                    },
                };
                loaded.entry(source).or_default().tools.extend(tool);
            }
            links::AGENT_FOLDER => {
                let folder = view.behind::<Folder>(document)?.map(|folder| folder.record);
                loaded.entry(source).or_default().folders.extend(folder);
            }
            links::AGENT_IDENTITY => identities.extend(view.behind(document)?.map(|identity| (source, identity))),
            _ => groups.extend(view.behind(document)?.map(|group| (source, group))),
        }
    }
    let budget = Budget::of_response(view.store().most_read());
    for agent in agents {
        let Some(loaded) = loaded.get_mut(agent.id) else { continue };
        if include.blocks && !loaded.folders.is_empty() {
            let (window, folders) = (agent.per_file_view_window_char_limit, &loaded.folders);
            loaded.files = directories::files_within_budget(view.store(), agent.id, window, folders, &budget).await?;
        }
        if !include.sources {
            loaded.folders.clear();
        }
    }
    let (owners, identities): (Vec<String>, Vec<_>) = identities.into_iter().unzip();
    for (agent, identity) in owners.into_iter().zip(relations::show_identities(view, &identities).await?) {
        loaded.entry(agent).or_default().identities.push(identity);
    }
    let (managers, groups): (Vec<String>, Vec<_>) = groups.into_iter().unzip();
    for (agent, group) in managers.into_iter().zip(relations::show_groups(view, &groups).await?) {
        loaded.entry(agent).or_default().managed_group = Some(group);
    }
    Ok(loaded)
}

/// One agent as a response shows it.
pub(in crate::mock) async fn show_one(view: View<'_>, agent: &Agent, include: Include) -> Result<Written, ApiError> {
    show_stored(view, &agent.id, &body(agent)?, include).await
}

/// One agent as a response shows it, from its stored JSON.
pub(in crate::mock) async fn show_stored(
    view: View<'_>,
    id: &str,
    body: &str,
    include: Include,
) -> Result<Written, ApiError> {
    let agent = read(id, body)?;
    let loaded = load(view, slice::from_ref(&agent), include).await?.into_values().next().unwrap_or_default();
    write(&agent.wire(include, &loaded))
}

/// Agents as a response shows them.
pub(in crate::mock) async fn show(
    view: View<'_>,
    agents: &[Stored<Agent>],
    include: Include,
) -> Result<Written, ApiError> {
    let bodies: Vec<String> = agents.iter().map(|agent| body(&agent.record)).collect::<Result<_, _>>()?;
    let agents: Vec<StoredAgent<'_>> =
        agents.iter().zip(&bodies).map(|(agent, body)| read(&agent.record.id, body)).collect::<Result<_, _>>()?;
    let loaded = load(view, &agents, include).await?;
    let nothing = Loaded::default();
    let linked = |agent: &StoredAgent<'_>| loaded.get(agent.id).unwrap_or(&nothing);
    write(&agents.iter().map(|agent| agent.wire(include, linked(agent))).collect::<Vec<_>>())
}

fn read<'a>(id: &str, body: &'a str) -> Result<StoredAgent<'a>, ApiError> {
    serde_json::from_str(body).map_err(|error| inconsistent(id, &error))
}

fn write(response: &impl Serialize) -> Result<Written, ApiError> {
    serde_json::to_vec(response).map(Written::from).map_err(ApiError::internal)
}

/// The system message of a new agent. As in Letta, it has the agent's folders without their files, which are attached
/// later.
pub(in crate::mock) fn system_message(agent: &Agent, blocks: &[Block], folders: &[Folder]) -> Message {
    let now = Timestamp::now();
    let directories = Directories { folders: folders.to_vec(), files: Vec::new() };
    let prompt = prompt::compile(agent, DEFAULT_CONVERSATION, blocks, &directories, now);
    Message { created_at: now, ..Message::new(Role::System, vec![Part::text(prompt)]) }
}

/// Compiles an agent's system message again. The caller has locked the agent's document, and stores it afterwards.
pub(in crate::mock) async fn recompile(tx: &mut Tx, agent: &mut Agent) -> Result<(), ApiError> {
    let blocks = blocks_within(tx, &agent.id).await?;
    let Some(id) = agent.system_message_id() else { return Ok(()) };
    let Some(stored) = tx.message(id).await? else { return Ok(()) };
    let mut message = parse_message(&stored)?;
    let directories = directories::within(tx, agent).await?;
    let prompt = prompt::compile(agent, DEFAULT_CONVERSATION, &blocks, &directories, Timestamp::now());
    message.content = vec![Part::text(prompt)];
    update_message(tx, &message).await?;
    if let Some(entry) = agent.context.first_mut() {
        entry.tokens = message.tokens();
    }
    Ok(())
}

/// The text of an agent's system message.
pub(in crate::mock) async fn system_prompt(tx: &mut Tx, agent: &Agent) -> Result<String, ApiError> {
    let Some(id) = agent.system_message_id() else { return Ok(String::new()) };
    let stored = tx.message(id).await?;
    Ok(stored.as_ref().map(parse_message).transpose()?.map(|message| message.text()).unwrap_or_default())
}

/// The blocks of a conversation: its isolated blocks, and those of its agent's blocks that have other labels.
pub(in crate::mock) async fn blocks_of_conversation(
    tx: &mut Tx,
    agent_id: &str,
    isolated: &[String],
) -> Result<Vec<Block>, ApiError> {
    let mut blocks = blocks_within(tx, agent_id).await?;
    for id in isolated {
        let Some(document) = tx.document(Block::KIND, id).await? else { continue };
        let isolated = parse::<Block>(document)?.record;
        match blocks.iter_mut().find(|block| block.label == isolated.label) {
            Some(block) => *block = isolated,
            None => blocks.push(isolated),
        }
    }
    Ok(blocks)
}

/// The system prompt of a conversation.
pub(in crate::mock) fn conversation_prompt(
    agent: &Agent,
    conversation: &Conversation,
    blocks: &[Block],
    directories: &Directories,
) -> String {
    let agent = Agent { recall: conversation.recall, ..agent.clone() };
    prompt::compile(&agent, &conversation.id, blocks, directories, Timestamp::now())
}

/// Compiles a conversation's system message again, and returns its text. The caller has locked the conversation's
/// document, and stores it afterwards.
pub(in crate::mock) async fn recompile_conversation(
    tx: &mut Tx,
    agent: &Agent,
    conversation: &mut Conversation,
) -> Result<String, ApiError> {
    let blocks = blocks_of_conversation(tx, &agent.id, &conversation.isolated_block_ids).await?;
    let directories = directories::within(tx, agent).await?;
    let prompt = conversation_prompt(agent, conversation, &blocks, &directories);
    if let Some(entry) = conversation.context.first_mut()
        && let Some(stored) = tx.message(&entry.id).await?
    {
        let mut message = parse_message(&stored)?;
        message.content = vec![Part::text(prompt.as_str())];
        entry.tokens = message.tokens();
        update_message(tx, &message).await?;
    }
    Ok(prompt)
}
