//! How turns are stored: everything that was said, the step, the run and the agent's new state, in one transaction that
//! happens once, whoever else takes up the same run.

use crate::{
    error::ApiError,
    mock::{
        documents::{Stored, insert, insert_message, not_found, parse, update},
        records::{
            Agent, ContextEntry, DEFAULT_CONVERSATION, Message, Record, Run, Step, StopReason, Timestamp, Usage, links,
        },
    },
    store::{Store, Tx},
};

/// What a turn has come to.
#[derive(Debug)]
pub(super) struct Produced {
    /// What was said, oldest first: first what was asked, then the answers.
    pub(super) said: Vec<Message>,
    /// How much of it was asked.
    pub(super) asked: usize,
    pub(super) stop_reason: StopReason,
}

/// What became of a turn.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is stored.
    Stored(Run),
    /// Its run had ended before: another process took it up or cancelled it. Nothing of this turn is stored.
    EndedElsewhere(Run),
}

impl Produced {
    /// What the agent said.
    pub(super) fn into_answers(mut self) -> Vec<Message> {
        self.said.split_off(self.asked.min(self.said.len()))
    }

    fn usage(&self, context_tokens: i64) -> Usage {
        let asked: i64 = self.said.iter().take(self.asked).map(Message::tokens).sum();
        let answers = || self.said.iter().skip(self.asked);
        let prompt_tokens = context_tokens.saturating_add(asked);
        let completion_tokens: i64 = answers().map(Message::content_tokens).sum();
        let total_tokens = prompt_tokens.saturating_add(completion_tokens);
        Usage {
            completion_tokens,
            prompt_tokens,
            total_tokens,
            step_count: 1,
            reasoning_tokens: answers().map(Message::reasoning_tokens).sum(),
            context_tokens: total_tokens,
        }
    }
}

/// Stores a turn.
///
/// # Errors
/// 404 when its agent is gone, and then its run as well; when the database fails.
pub(super) async fn commit(store: &Store, run: &Run, step_id: &str, produced: &Produced) -> Result<Outcome, ApiError> {
    let mut tx = store.begin().await?;
    let Some((mut agent, mut run)) = lock(&mut tx, run).await? else {
        tx.delete_document(Run::KIND, &run.id).await?;
        tx.unlink(links::ACTIVE_RUN, &run.agent_id, &run.id).await?;
        tx.commit().await?;
        return Err(not_found::<Agent>(&run.agent_id));
    };
    if run.has_ended() {
        return Ok(Outcome::EndedElsewhere(run));
    }
    for message in &produced.said {
        insert_message(&mut tx, &agent, DEFAULT_CONVERSATION, message).await?;
    }
    run.usage = produced.usage(agent.record.context_tokens());
    end(&mut agent.record, &mut run, produced.stop_reason);
    let said = produced.said.iter();
    agent.record.remember(said.map(|message| ContextEntry { id: message.id.clone(), tokens: message.tokens() }));
    agent.record.recall += i64::try_from(produced.said.len()).unwrap_or(i64::MAX);
    let step = Step::ended(step_id, &agent.record, &run, run.usage, produced.stop_reason);
    insert(&mut tx, &agent.project, Some(&run.id), &step).await?;
    store_end(&mut tx, &agent.record, &run).await?;
    tx.commit().await?;
    Ok(Outcome::Stored(run))
}

/// Marks a run as failed that could not be stored.
///
/// # Errors
/// When the database fails.
pub(super) async fn fail(store: &Store, run: &Run, why: &str) -> Result<(), ApiError> {
    end_early(store, run, |run| run.fail(why)).await
}

/// Cancels a run that is not one of this process's; whoever works on it finds it ended.
///
/// # Errors
/// When the database fails.
pub(in crate::mock) async fn cancel_elsewhere(store: &Store, run: &Run) -> Result<(), ApiError> {
    end_early(store, run, |run| run.end(StopReason::Cancelled)).await
}

async fn end_early(store: &Store, run: &Run, end: impl FnOnce(&mut Run)) -> Result<(), ApiError> {
    let mut tx = store.begin().await?;
    let Some((mut agent, mut run)) = lock(&mut tx, run).await? else { return Ok(()) };
    if run.has_ended() {
        return Ok(());
    }
    end(&mut run);
    note_end(&mut agent.record, &run);
    store_end(&mut tx, &agent.record, &run).await?;
    Ok(tx.commit().await?)
}

/// The agent and the run as they are now, locked in this order by whoever changes both.
async fn lock(tx: &mut Tx, run: &Run) -> Result<Option<(Stored<Agent>, Run)>, ApiError> {
    let Some(agent) = tx.document_for_update(Agent::KIND, &run.agent_id).await? else { return Ok(None) };
    let Some(run) = tx.document_for_update(Run::KIND, &run.id).await? else { return Ok(None) };
    Ok(Some((parse(agent)?, parse(run)?.record)))
}

fn end(agent: &mut Agent, run: &mut Run, stop_reason: StopReason) {
    run.end(stop_reason);
    note_end(agent, run);
}

fn note_end(agent: &mut Agent, run: &Run) {
    let now = Timestamp::now();
    agent.last_run_completion = Some(now);
    agent.last_run_duration_ms = Some(run.created_at.elapsed_millis().max(1));
    agent.last_stop_reason = run.stop_reason;
    agent.updated_at = now;
}

async fn store_end(tx: &mut Tx, agent: &Agent, run: &Run) -> Result<(), ApiError> {
    update(tx, run).await?;
    update(tx, agent).await?;
    Ok(tx.unlink(links::ACTIVE_RUN, &run.agent_id, &run.id).await?)
}
