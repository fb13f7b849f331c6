//! What an agent carries with it: its blocks, its tools, and the system message that shows the blocks to the model.

use std::collections::HashMap;

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
            Agent, Block, Conversation, DEFAULT_CONVERSATION, Folder, Loaded, Message, Part, Record, Role, Timestamp,
            Tool, WireTool, file_window, include::Include, links, write_agent,
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

/// The blocks of an agent, as a transaction sees them.
pub(in crate::mock) async fn blocks_within(tx: &mut Tx, agent_id: &str) -> Result<Vec<Block>, ApiError> {
    let linked = tx.linked_documents(links::AGENT_BLOCK, agent_id, Block::KIND).await?;
    linked.into_iter().map(|document| parse(document).map(|block| block.record)).collect()
}

/// Blocks that are locked, with the agents that show any of them. Meanwhile they are not attached to others.
pub(in crate::mock) struct LockedBlocks {
    pub(in crate::mock) blocks: Locked,
    pub(in crate::mock) agents: Vec<String>,
    /// The agents, and what was to be locked beside them.
    pub(in crate::mock) locked: Locked,
}

/// Locks blocks, and then the agents that show any of them, with whatever else comes no earlier than agents.
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

/// Deletes blocks, also where they are attached; no group shares them any more. `leaving`: agents that go as well, and are
/// not shown the change.
pub(in crate::mock) async fn delete_blocks(
    tx: &mut Tx,
    shown: &LockedBlocks,
    leaving: &[String],
) -> Result<(), ApiError> {
    for block in shown.blocks.of(Block::KIND) {
        tx.delete_document(Block::KIND, &block.id).await?;
        tx.unlink_all(&block.id).await?;
        tx.unlink_from(links::AGENT_BLOCK, &shown.agents, &block.id).await?;
    }
    for id in shown.agents.iter().filter(|id| !leaving.contains(id)) {
        let Some(document) = shown.locked.get(Agent::KIND, id) else { continue };
        let mut agent = parse::<Agent>(document)?.record;
        recompile(tx, &mut agent).await?;
        update(tx, &agent).await?;
    }
    Ok(())
}

/// What is linked to agents, as far as an answer shows it. The number of statements does not grow with the agents but by
/// their dozen, and with the folders of those that have any. `window`: how many characters of a file an agent sees.
pub(in crate::mock) async fn load(
    view: View<'_>,
    agents: &[&str],
    include: Include,
    window: impl Fn(&str) -> Result<i64, ApiError>,
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
    let (mut identities, mut groups) = (Vec::new(), Vec::new());
    for link in view.store().links_of_kinds(&kinds, agents).await? {
        let Link { kind, source, target, document } = link;
        match kind.as_str() {
            links::AGENT_BLOCK => {
                let block = view.shown(document).map(|block| block.body);
                loaded.entry(source).or_default().blocks.extend(block);
            }
            links::AGENT_TOOL => {
                let tool = match base_tools::by_id(&target) {
                    Some(tool) => tool.written().map(WireTool::BuiltIn),
                    None => match view.behind::<Tool>(document)? {
                        Some(tool) => Some(WireTool::Stored(body(&tool.record.wire())?)),
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
    let budget = Budget::of_answer(view.store().most_read());
    for (agent, loaded) in &mut loaded {
        if include.blocks && !loaded.folders.is_empty() {
            let folders = &loaded.folders;
            loaded.files = directories::files_for_answer(view.store(), agent, window(agent)?, folders, &budget).await?;
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

/// One agent as an answer shows it.
pub(in crate::mock) async fn show_one(view: View<'_>, agent: &Agent, include: Include) -> Result<Written, ApiError> {
    show_stored(view, &agent.id, &body(agent)?, include).await
}

/// The same of an agent as it is stored.
pub(in crate::mock) async fn show_stored(
    view: View<'_>,
    id: &str,
    body: &str,
    include: Include,
) -> Result<Written, ApiError> {
    let window = |_: &str| file_window(body).map_err(|error| inconsistent(id, &error));
    let loaded = load(view, &[id], include, window).await?.into_values().next().unwrap_or_default();
    let mut written = Written::with_capacity(body.len() + loaded.wire_length());
    write(id, body, include, &loaded, &mut written)?;
    Ok(written)
}

/// Agents as an answer shows them.
pub(in crate::mock) async fn show(
    view: View<'_>,
    agents: &[Stored<Agent>],
    include: Include,
) -> Result<Written, ApiError> {
    let ids: Vec<&str> = agents.iter().map(|agent| agent.record.id.as_str()).collect();
    let window = |id: &str| {
        let agent = agents.iter().find(|agent| agent.record.id == id);
        Ok(agent.map_or(0, |agent| agent.record.per_file_view_window_char_limit))
    };
    let mut loaded = load(view, &ids, include, window).await?;
    let mut written = Written::default();
    written.push("[");
    for (number, id) in ids.into_iter().enumerate() {
        if number > 0 {
            written.push(",");
        }
        let loaded = loaded.remove(id).unwrap_or_default();
        write(id, &body(&agents[number].record)?, include, &loaded, &mut written)?;
    }
    written.push("]");
    Ok(written)
}

fn write(id: &str, body: &str, include: Include, loaded: &Loaded, out: &mut Written) -> Result<(), ApiError> {
    write_agent(body, include, loaded, out).map_err(|error| inconsistent(id, &error))
}

/// The system message of a new agent. As in Letta it names the agent's folders; their files come after it.
pub(in crate::mock) fn system_message(agent: &Agent, blocks: &[Block], folders: &[Folder]) -> Message {
    let now = Timestamp::now();
    let shown = Directories { folders: folders.to_vec(), files: Vec::new() };
    let prompt = prompt::compile(agent, DEFAULT_CONVERSATION, blocks, &shown, now);
    Message { created_at: now, ..Message::new(Role::System, vec![Part::text(prompt)]) }
}

/// Compiles an agent's system message again. The caller holds the lock on the agent's document and stores it afterwards.
pub(in crate::mock) async fn recompile(tx: &mut Tx, agent: &mut Agent) -> Result<(), ApiError> {
    let blocks = blocks_within(tx, &agent.id).await?;
    let Some(id) = agent.system_message_id() else { return Ok(()) };
    let Some(stored) = tx.message(id).await? else { return Ok(()) };
    let mut message = parse_message(&stored)?;
    let shown = directories::within(tx, agent).await?;
    let prompt = prompt::compile(agent, DEFAULT_CONVERSATION, &blocks, &shown, Timestamp::now());
    message.content = vec![Part::text(prompt)];
    update_message(tx, &message).await?;
    if let Some(entry) = agent.context.first_mut() {
        entry.tokens = message.tokens();
    }
    Ok(())
}

/// The agent's system message as it stands.
pub(in crate::mock) async fn system_prompt(tx: &mut Tx, agent: &Agent) -> Result<String, ApiError> {
    let Some(id) = agent.system_message_id() else { return Ok(String::new()) };
    let stored = tx.message(id).await?;
    Ok(stored.as_ref().map(parse_message).transpose()?.map(|message| message.text()).unwrap_or_default())
}

/// The blocks that a conversation shows: those that it has for itself, and those of its agent that they do not hide.
pub(in crate::mock) async fn blocks_of_conversation(
    tx: &mut Tx,
    agent_id: &str,
    isolated: &[String],
) -> Result<Vec<Block>, ApiError> {
    let mut blocks = blocks_within(tx, agent_id).await?;
    for id in isolated {
        let Some(document) = tx.document(Block::KIND, id).await? else { continue };
        let own = parse::<Block>(document)?.record;
        match blocks.iter_mut().find(|block| block.label == own.label) {
            Some(hidden) => *hidden = own,
            None => blocks.push(own),
        }
    }
    Ok(blocks)
}

/// The system prompt of a conversation.
pub(in crate::mock) fn conversation_prompt(
    agent: &Agent,
    conversation: &Conversation,
    blocks: &[Block],
    shown: &Directories,
) -> String {
    let seen = Agent { recall: conversation.recall, ..agent.clone() };
    prompt::compile(&seen, &conversation.id, blocks, shown, Timestamp::now())
}

/// Compiles a conversation's system message again, and returns it. The caller holds the lock on the conversation's document
/// and stores it afterwards.
pub(in crate::mock) async fn recompile_conversation(
    tx: &mut Tx,
    agent: &Agent,
    conversation: &mut Conversation,
) -> Result<String, ApiError> {
    let blocks = blocks_of_conversation(tx, &agent.id, &conversation.isolated_block_ids).await?;
    let shown = directories::within(tx, agent).await?;
    let prompt = conversation_prompt(agent, conversation, &blocks, &shown);
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
