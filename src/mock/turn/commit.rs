//! Stores turns: the messages, effects, steps, run and new state of the conversation, in one transaction. It happens once, even
//! if several processes work on the same run.

use super::{approval::denial_messages, lease::RunLease, output::TurnOutput, sleeptime::next_runs};
use crate::{
    error::ApiError,
    mock::{
        agents::{
            memory::{LockedBlocks, lock_with_agents, recompile},
            thread::Thread,
        },
        budget::Budget,
        files::attachments,
        records::{Agent, Block, ContextEntry, Record, Run, Step, StopReason, Timestamp, links},
        running::StoredEvents,
        search::archival,
        storage::{Prepared, Stored, insert_all, insert_messages, not_found, parse, update},
        tools::execute::{BlockEdit, Effects},
    },
    store::{Locked, Locks, Store, Tx, transaction},
};

/// The result of storing a turn.
#[derive(Debug)]
pub(super) enum CommitResult {
    /// It is stored.
    Stored(Run),
    /// Another process had ended or cancelled the run. Nothing of this turn is stored.
    EndedElsewhere(Run),
    /// Other tool calls wait for a decision than when the turn began. Nothing of this turn is stored.
    ConversationChanged,
}

/// Stores a turn.
///
/// # Errors
/// 404 if its agent or conversation no longer exists, in which case its run is deleted; if the database fails.
pub(super) async fn commit(
    lease: &RunLease,
    thread: &Thread,
    model: &str,
    output: &TurnOutput,
    stored_events: impl Fn(&Run) -> Option<StoredEvents>,
) -> Result<CommitResult, ApiError> {
    let (agent_id, conversation_id) = (&lease.run.agent_id, thread.conversation_id());
    let result = transaction!(lease.state.store, tx => {
        let locks = Thread::locks(agent_id, conversation_id)
            .and(Run::KIND, lease.is_stored.then_some(&lease.run.id));
        let (mut locked, mut others) = lock_edited(tx, agent_id, &output.effects.edits, locks).await?;
        let Some(mut thread) = Thread::locked(&mut locked, agent_id, conversation_id)? else { return Ok(None) };
        let mut run = lease.run.clone();
        if lease.is_stored {
            let stored = locked.take(Run::KIND, &run.id).ok_or_else(|| not_found::<Run>(&run.id))?;
            run = parse::<Run>(stored)?.record;
            if run.has_ended() {
                return Ok(Some(CommitResult::EndedElsewhere(run)));
            }
        }
        let has_messages = output.failure.is_none() || !output.messages.is_empty();
        if has_messages && thread.pending_id() != output.pending_before.as_deref() {
            return Ok(Some(CommitResult::ConversationChanged));
        }
        apply_end(&mut thread, &mut run, output);
        if has_messages {
            thread.append(output.messages.iter().map(ContextEntry::of).collect(), output.pending.clone());
        }
        let sleeptime_runs = next_runs(tx, &thread, &run, output).await?;
        run.sleeptime_runs = sleeptime_runs.iter().map(|run| run.id.clone()).collect();
        let mut new = Vec::new();
        for run in &sleeptime_runs {
            new.push(Prepared::new(Some(&run.agent_id), run)?);
        }
        if lease.is_stored {
            update(tx, &run).await?;
            tx.unlink(links::ACTIVE_RUN, agent_id, &run.id).await?;
        } else {
            new.push(Prepared::new(Some(agent_id), &run)?);
            if let Some(idempotency_key) = &run.idempotency_key {
                tx.link(idempotency_key, agent_id, &run.id).await?;
            }
        }
        for step in &output.steps {
            new.push(Prepared::new(Some(agent_id), &Step::new(step, &thread.agent.record, &run, model))?);
        }
        if let Some(stored_events) = stored_events(&run) {
            new.push(Prepared::new(Some(&run.id), &stored_events)?);
        }
        insert_all(tx, &thread.agent.project, &new).await?;
        for run in &sleeptime_runs {
            tx.link(links::ACTIVE_RUN, &run.agent_id, &run.id).await?;
        }
        insert_messages(tx, &thread.agent, thread.id(), &output.messages).await?;
        apply_effects(tx, &output.effects, &mut thread.agent, &mut others).await?;
        thread.update(tx).await?;
        Ok(Some(CommitResult::Stored(run)))
    })?;
    match result {
        Some(result) => Ok(result),
        None => {
            delete_run(&lease.state.store, agent_id, &lease.run.id).await?;
            Err(not_found::<Agent>(agent_id))
        }
    }
}

/// Marks a run as failed.
///
/// # Errors
/// If the database fails.
pub(super) async fn mark_failed(store: &Store, run: &Run, why: &str) -> Result<(), ApiError> {
    end_early(store, run, |run| run.fail(why, StopReason::Error)).await
}

/// Cancels a run of another process, which stores nothing of its turn then.
///
/// # Errors
/// If the database fails.
pub(in crate::mock) async fn cancel_elsewhere(store: &Store, run: &Run) -> Result<(), ApiError> {
    end_early(store, run, |run| run.end(StopReason::Cancelled)).await
}

/// Ends a run without storing its turn.
async fn end_early(store: &Store, run: &Run, end: impl Fn(&mut Run)) -> Result<(), ApiError> {
    let agent_is_gone = transaction!(store, tx => {
        let locks = Locks::of(Agent::KIND, [&run.agent_id]).and(Run::KIND, [&run.id]);
        let mut locked = tx.lock(&locks).await?;
        let Some(agent) = locked.take(Agent::KIND, &run.agent_id) else { return Ok(true) };
        let Some(run) = locked.take(Run::KIND, &run.id) else { return Ok(false) };
        let (mut agent, mut run) = (parse::<Agent>(agent)?.record, parse::<Run>(run)?.record);
        if run.has_ended() {
            return Ok(false);
        }
        end(&mut run);
        set_last_run(&mut agent, &run);
        update(tx, &run).await?;
        update(tx, &agent).await?;
        tx.unlink(links::ACTIVE_RUN, &run.agent_id, &run.id).await?;
        Ok(false)
    })?;
    if agent_is_gone { delete_run(store, &run.agent_id, &run.id).await } else { Ok(()) }
}

/// Deletes a run whose agent or conversation no longer exists.
///
/// # Errors
/// If the database fails.
pub(super) async fn delete_run(store: &Store, agent_id: &str, run_id: &str) -> Result<(), ApiError> {
    transaction!(store, tx => {
        tx.document_for_update(Run::KIND, run_id).await?;
        tx.delete_document(Run::KIND, run_id).await?;
        tx.unlink(links::ACTIVE_RUN, agent_id, run_id).await?;
        Ok(())
    })
}

/// Sets the result of a turn in its run, its agent and its conversation.
fn apply_end(thread: &mut Thread, run: &mut Run, output: &TurnOutput) {
    run.usage = output.usage();
    run.steps = output.steps.iter().map(|step| step.id.clone()).collect();
    run.tools_used.clone_from(&output.tools_used);
    match &output.failure {
        Some(failure) => run.fail(failure.text(), failure.stop_reason),
        None => run.end(output.stop_reason.unwrap_or(StopReason::Error)),
    }
    set_last_run(&mut thread.agent.record, run);
    if let Some(conversation) = &mut thread.conversation {
        conversation.record.last_message_at = Some(run.created_at);
    }
}

/// Sets the fields of an agent that describe its last run.
fn set_last_run(agent: &mut Agent, run: &Run) {
    let now = Timestamp::now();
    agent.last_run_completion = Some(now);
    agent.last_run_duration_ms = Some(run.created_at.elapsed_millis().max(1));
    agent.last_stop_reason = run.stop_reason;
    agent.updated_at = now;
}

/// Locks the blocks that a turn has changed, the agents to which they are attached, and `locks`. Returns the locked documents,
/// and separately the agents other than the turn's own.
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

/// Stores the effects of a tool that was called outside of a turn.
///
/// # Errors
/// 404 if the agent no longer exists; if the database fails.
pub(in crate::mock) async fn store_effects(store: &Store, agent_id: &str, effects: &Effects) -> Result<(), ApiError> {
    if effects.is_empty() {
        return Ok(());
    }
    transaction!(store, tx => {
        let locks = Thread::locks(agent_id, None);
        let (mut locked, mut others) = lock_edited(tx, agent_id, &effects.edits, locks).await?;
        let document = locked.take(Agent::KIND, agent_id);
        let mut agent = parse::<Agent>(document.ok_or_else(|| not_found::<Agent>(agent_id))?)?;
        apply_effects(tx, effects, &mut agent, &mut others).await?;
        agent.record.touch();
        update(tx, &agent.record).await
    })
}

/// Applies the effects of tools. The caller stores `agent` afterwards; `others`, which share its blocks, are stored here.
async fn apply_effects(
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

/// Applies edits to the current values of blocks, which may have changed since the tools read them. An edit that no longer
/// applies sets the value that the tool produced.
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

/// Denies the tool calls that wait for a decision, without running the agent, and marks their run as cancelled. Returns the
/// run's id, or `None` if no tool calls wait.
///
/// # Errors
/// If the database fails.
pub(in crate::mock) async fn deny_pending(
    store: &Store,
    agent_id: &str,
    conversation_id: Option<&str>,
) -> Result<Option<String>, ApiError> {
    const REASON: &str = "The user cancelled the request, so the tool call was denied.";
    transaction!(store, tx => {
        let Some(mut thread) = Thread::lock(tx, agent_id, conversation_id).await? else { return Ok(None) };
        let Some(pending) = thread.pending().cloned() else { return Ok(None) };
        let run_id = pending.request.run_id.clone().unwrap_or_default();
        let messages = denial_messages(&pending, &run_id, REASON);
        insert_messages(tx, &thread.agent, thread.id(), &messages).await?;
        thread.append(messages.iter().map(ContextEntry::of).collect(), None);
        if let Some(run) = tx.document_for_update(Run::KIND, &run_id).await? {
            let mut run = parse::<Run>(run)?.record;
            run.end(StopReason::Cancelled);
            set_last_run(&mut thread.agent.record, &run);
            update(tx, &run).await?;
        }
        thread.update(tx).await?;
        Ok(Some(run_id))
    })
}
