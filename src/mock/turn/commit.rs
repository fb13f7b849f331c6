//! How turns are stored: everything that was said and done, the steps, the run and the conversation's new state, in one
//! transaction that happens once, whoever else takes up the same run.

use super::{agent_loop::Produced, lease::RunLease, sleeptime::hand_over};
use crate::{
    error::ApiError,
    mock::{
        agents::{
            memory::{LockedBlocks, lock_with_agents, recompile},
            thread::Thread,
        },
        budget::Budget,
        files::attachments,
        records::{Agent, Block, ContextEntry, Message, Record, Run, Step, StopReason, Timestamp, links},
        running::StoredEvents,
        search::archival,
        storage::documents::{Prepared, Stored, insert_all, insert_messages, not_found, parse, update},
        tools::execute::{BlockEdit, Effects},
    },
    store::{Locked, Locks, Store, Tx, transaction},
};

/// What became of a turn.
#[derive(Debug)]
pub(super) enum CommitResult {
    /// It is stored.
    Stored(Run),
    /// Its run had ended before: another process took it up or cancelled it. Nothing of this turn is stored.
    EndedElsewhere(Run),
    /// Meanwhile the conversation came to wait for something else than it did when the turn began. Nothing of this turn
    /// is stored.
    Overtaken,
}

/// Stores a turn.
///
/// # Errors
/// 404 when its agent or conversation is gone, and then its run as well; when the database fails.
pub(super) async fn commit(
    lease: &RunLease,
    thread: &Thread,
    model: &str,
    produced: &Produced,
    recording: impl Fn(&Run) -> Option<StoredEvents>,
) -> Result<CommitResult, ApiError> {
    let (agent_id, conversation_id) = (&lease.run.agent_id, thread.conversation_id());
    let outcome = transaction!(lease.state.store, tx => {
        let locks = Thread::locks(agent_id, conversation_id)
            .and(Run::KIND, lease.is_announced.then_some(&lease.run.id));
        let (mut locked, mut others) = lock_edited(tx, agent_id, &produced.effects.edits, locks).await?;
        let Some(mut thread) = Thread::locked(&mut locked, agent_id, conversation_id)? else { return Ok(None) };
        let mut run = lease.run.clone();
        if lease.is_announced {
            let stored = locked.take(Run::KIND, &run.id).ok_or_else(|| not_found::<Run>(&run.id))?;
            run = parse::<Run>(stored)?.record;
            if run.has_ended() {
                return Ok(Some(CommitResult::EndedElsewhere(run)));
            }
        }
        let keeps = produced.failure.is_none() || !produced.said.is_empty();
        if keeps && thread.pending_id() != produced.answers.as_deref() {
            return Ok(Some(CommitResult::Overtaken));
        }
        end(&mut thread, &mut run, produced);
        if keeps {
            let said = produced.said.iter().map(|said| ContextEntry { id: said.id.clone(), tokens: said.tokens() });
            thread.append(said.collect(), produced.asks.clone());
        }
        let begun = hand_over(tx, &thread, &run, produced).await?;
        run.sleeptime_runs = begun.iter().map(|run| run.id.clone()).collect();
        let mut new = Vec::new();
        for run in &begun {
            new.push(Prepared::new(Some(&run.agent_id), run)?);
        }
        if lease.is_announced {
            update(tx, &run).await?;
            tx.unlink(links::ACTIVE_RUN, agent_id, &run.id).await?;
        } else {
            new.push(Prepared::new(Some(agent_id), &run)?);
            if let Some(idempotency_key) = &run.idempotency_key {
                tx.link(idempotency_key, agent_id, &run.id).await?;
            }
        }
        for step in &produced.steps {
            new.push(Prepared::new(Some(agent_id), &Step::new(step, &thread.agent.record, &run, model))?);
        }
        if let Some(recording) = recording(&run) {
            new.push(Prepared::new(Some(&run.id), &recording)?);
        }
        insert_all(tx, &thread.agent.project, &new).await?;
        for run in &begun {
            tx.link(links::ACTIVE_RUN, &run.agent_id, &run.id).await?;
        }
        insert_messages(tx, &thread.agent, thread.id(), &produced.said).await?;
        apply(tx, &produced.effects, &mut thread.agent, &mut others).await?;
        thread.update(tx).await?;
        Ok(Some(CommitResult::Stored(run)))
    })?;
    match outcome {
        Some(outcome) => Ok(outcome),
        None => {
            forget(&lease.state.store, agent_id, &lease.run.id).await?;
            Err(not_found::<Agent>(agent_id))
        }
    }
}

/// Marks a run as failed that could not be stored.
///
/// # Errors
/// When the database fails.
pub(super) async fn fail(store: &Store, run: &Run, why: &str) -> Result<(), ApiError> {
    end_early(store, run, |run| run.fail(why, StopReason::Error)).await
}

/// Says of a run that this process still works on it; false when it has ended.
///
/// # Errors
/// When the database fails.
pub(super) async fn keep_alive(store: &Store, run_id: &str) -> Result<bool, ApiError> {
    transaction!(store, tx => {
        let Some(run) = tx.document_for_update(Run::KIND, run_id).await? else { return Ok(false) };
        let mut run = parse::<Run>(run)?.record;
        if run.has_ended() {
            return Ok(false);
        }
        run.alive_at = Some(Timestamp::now());
        update(tx, &run).await?;
        Ok(true)
    })
}

/// Cancels a run that is not one of this process's; whoever works on it finds it ended.
///
/// # Errors
/// When the database fails.
pub(in crate::mock) async fn cancel_elsewhere(store: &Store, run: &Run) -> Result<(), ApiError> {
    end_early(store, run, |run| run.end(StopReason::Cancelled)).await
}

async fn end_early(store: &Store, run: &Run, end: impl Fn(&mut Run)) -> Result<(), ApiError> {
    let is_gone = transaction!(store, tx => {
        let locks = Locks::of(Agent::KIND, [&run.agent_id]).and(Run::KIND, [&run.id]);
        let mut locked = tx.lock(&locks).await?;
        let Some(agent) = locked.take(Agent::KIND, &run.agent_id) else { return Ok(true) };
        let Some(run) = locked.take(Run::KIND, &run.id) else { return Ok(false) };
        let (mut agent, mut run) = (parse::<Agent>(agent)?.record, parse::<Run>(run)?.record);
        if run.has_ended() {
            return Ok(false);
        }
        end(&mut run);
        note_end(&mut agent, &run);
        update(tx, &run).await?;
        update(tx, &agent).await?;
        tx.unlink(links::ACTIVE_RUN, &run.agent_id, &run.id).await?;
        Ok(false)
    })?;
    if is_gone { forget(store, &run.agent_id, &run.id).await } else { Ok(()) }
}

/// Removes what is left of a run whose agent or conversation is gone.
///
/// # Errors
/// When the database fails.
pub(super) async fn forget(store: &Store, agent_id: &str, run_id: &str) -> Result<(), ApiError> {
    transaction!(store, tx => {
        tx.document_for_update(Run::KIND, run_id).await?;
        tx.delete_document(Run::KIND, run_id).await?;
        tx.unlink(links::ACTIVE_RUN, agent_id, run_id).await?;
        Ok(())
    })
}

fn end(thread: &mut Thread, run: &mut Run, produced: &Produced) {
    run.usage = produced.usage();
    run.steps = produced.steps.iter().map(|step| step.id.clone()).collect();
    run.tools_used.clone_from(&produced.tools_used);
    match &produced.failure {
        Some(failure) => run.fail(failure.text(), failure.stop_reason),
        None => run.end(produced.stop_reason.unwrap_or(StopReason::Error)),
    }
    note_end(&mut thread.agent.record, run);
    if let Some(conversation) = &mut thread.conversation {
        conversation.record.last_message_at = Some(run.created_at);
    }
}

fn note_end(agent: &mut Agent, run: &Run) {
    let now = Timestamp::now();
    agent.last_run_completion = Some(now);
    agent.last_run_duration_ms = Some(run.created_at.elapsed_millis().max(1));
    agent.last_stop_reason = run.stop_reason;
    agent.updated_at = now;
}

/// Locks the blocks that a turn has changed, all agents that show one, and with them what else the turn changes. Returns
/// what is locked, and the agents other than the turn's own.
async fn lock_edited(
    tx: &mut Tx,
    agent_id: &str,
    edits: &[BlockEdit],
    locks: Locks,
) -> Result<(Locked, Vec<Stored<Agent>>), ApiError> {
    let blocks: Vec<String> = edits.iter().map(|edit| edit.block_id.clone()).collect();
    let LockedBlocks { agents, mut locked, .. } = lock_with_agents(tx, &blocks, locks).await?;
    let others = agents.iter().filter(|id| *id != agent_id);
    let others = others.filter_map(|id| locked.take(Agent::KIND, id)).map(parse).collect::<Result<_, _>>()?;
    Ok((locked, others))
}

/// Stores what a tool has changed that was called outside of any turn.
///
/// # Errors
/// 404 when the agent is gone; when the database fails.
pub(in crate::mock) async fn store_effects(store: &Store, agent_id: &str, effects: &Effects) -> Result<(), ApiError> {
    if effects.is_empty() {
        return Ok(());
    }
    transaction!(store, tx => {
        let locks = Thread::locks(agent_id, None);
        let (mut locked, mut others) = lock_edited(tx, agent_id, &effects.edits, locks).await?;
        let document = locked.take(Agent::KIND, agent_id);
        let mut agent = parse::<Agent>(document.ok_or_else(|| not_found::<Agent>(agent_id))?)?;
        apply(tx, effects, &mut agent, &mut others).await?;
        agent.record.touch();
        update(tx, &agent.record).await
    })
}

/// Does what the tools of an agent did. The agent is not stored yet, the others are, which share its blocks.
async fn apply(
    tx: &mut Tx,
    effects: &Effects,
    agent: &mut Stored<Agent>,
    others: &mut [Stored<Agent>],
) -> Result<(), ApiError> {
    if !effects.passages.is_empty() {
        archival::remember(tx, agent, effects.passages.clone()).await?;
    }
    if !effects.openings.is_empty() {
        attachments::open_all(tx, agent, &effects.openings).await?;
    }
    if !effects.edits.is_empty() {
        edit_blocks(tx, &effects.edits).await?;
        recompile(tx, &mut agent.record).await?;
        for other in others {
            recompile(tx, &mut other.record).await?;
            update(tx, &other.record).await?;
        }
    }
    Ok(())
}

/// Changes blocks again as they are now: somebody may have changed them since the tools looked. Where a change no longer
/// fits, the tool has the last word.
async fn edit_blocks(tx: &mut Tx, edits: &[BlockEdit]) -> Result<(), ApiError> {
    for edit in edits {
        let Some(document) = tx.document(Block::KIND, &edit.block_id).await? else { continue };
        let mut block = parse::<Block>(document)?.record;
        let room = Budget::new(block.value.len() + edit.value.len() + 1);
        let changed = edit.edit.apply(&block.value, &room).ok().and_then(Result::ok);
        block.value = changed.unwrap_or_else(|| edit.value.clone());
        update(tx, &block).await?;
    }
    Ok(())
}

/// Answers the question that a conversation waits with, so that it waits no longer, without asking the model. Its run
/// becomes one that was cancelled; its id. None: it waits for nothing.
///
/// # Errors
/// When the database fails.
pub(in crate::mock) async fn give_up_question(
    store: &Store,
    agent_id: &str,
    conversation_id: Option<&str>,
) -> Result<Option<String>, ApiError> {
    const WHY: &str = "The user cancelled the request, so the tool call was denied.";
    transaction!(store, tx => {
        let Some(mut thread) = Thread::lock(tx, agent_id, conversation_id).await? else { return Ok(None) };
        let Some(pending) = thread.pending().cloned() else { return Ok(None) };
        let run_id = pending.request.run_id.clone().unwrap_or_default();
        let said: [Message; 2] = super::approval::refusal(&pending, &run_id, WHY);
        insert_messages(tx, &thread.agent, thread.id(), &said).await?;
        let entries = said.iter().map(|said| ContextEntry { id: said.id.clone(), tokens: said.tokens() });
        thread.append(entries.collect(), None);
        if let Some(run) = tx.document_for_update(Run::KIND, &run_id).await? {
            let mut run = parse::<Run>(run)?.record;
            run.end(StopReason::Cancelled);
            note_end(&mut thread.agent.record, &run);
            update(tx, &run).await?;
        }
        thread.update(tx).await?;
        Ok(Some(run_id))
    })
}
