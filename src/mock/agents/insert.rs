//! Stores new agents.

use std::collections::HashSet;

use super::memory;
use crate::{
    error::ApiError,
    mock::{
        records::{Agent, Block, ContextEntry, DEFAULT_CONVERSATION, Folder, Message, links},
        storage::{Stored, insert, insert_messages},
    },
    store::Tx,
};

/// Stores a new agent with its messages, and attaches its blocks. `system` is the system message if it is not to be compiled;
/// then the model's context is the whole history without `out_of_context`.
pub(super) async fn insert_agent(
    tx: &mut Tx,
    project: &str,
    mut agent: Agent,
    (blocks, folders): (&[Block], &[Folder]),
    system: Option<&Message>,
    history: &[Message],
    out_of_context: &HashSet<String>,
) -> Result<Stored<Agent>, ApiError> {
    agent.recall = i64::try_from(history.len()).unwrap_or(i64::MAX);
    let mut messages = vec![system.cloned().unwrap_or_else(|| memory::system_message(&agent, blocks, folders))];
    messages.extend_from_slice(history);
    let in_context = messages.iter().filter(|message| !out_of_context.contains(&message.id));
    match system {
        Some(_) => agent.context = in_context.map(ContextEntry::of).collect(),
        None => agent.begin_with(in_context),
    }
    let agent = Stored { seq: 0, project: project.to_owned(), record: agent };
    insert_messages(tx, &agent, DEFAULT_CONVERSATION, &messages).await?;
    insert(tx, project, None, &agent.record).await?;
    link_all(tx, links::AGENT_BLOCK, &agent.record.id, blocks.iter().map(|block| block.id.as_str())).await?;
    Ok(agent)
}

/// Links an agent to several things.
pub(in crate::mock) async fn link_all(
    tx: &mut Tx,
    kind: &str,
    agent_id: &str,
    targets: impl IntoIterator<Item = &str> + Send,
) -> Result<(), ApiError> {
    for target in targets.into_iter().collect::<Vec<_>>() {
        tx.link(kind, agent_id, target).await?;
    }
    Ok(())
}
