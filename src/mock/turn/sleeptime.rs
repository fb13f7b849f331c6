//! Runs of sleeptime agents. The transaction that stores a turn of a main agent also stores a run for each of its sleeptime
//! agents that is due, with a request that names the transcript to process. It is an ordinary background turn, except that it
//! starts no further sleeptime runs.

use super::{output::TurnOutput, request::DEFAULT_MAX_STEPS};
use crate::{
    error::ApiError,
    mock::{
        agents::thread::Thread,
        records::{
            Agent, Group, IncomingMessage, Message, MessageView, Part, Record, Role, Run, RunStatus, RunType,
            Transcript, TurnRequest, links,
        },
        storage::{parse, parse_message, update},
    },
    store::{Locks, MessageFilter, Store, StoredMessage, Tx},
};

/// A transcript has at most this many messages, the newest.
const MAX_MESSAGES: i64 = 100;
/// The size limit of a transcript, in bytes.
const MAX_BYTES: usize = 100_000;

/// Counts an ended turn in the groups of its agent, and makes the runs of the sleeptime agents that are due. The caller has
/// locked the agent, and stores and links the runs.
///
/// # Errors
/// If the database fails.
pub(super) async fn next_runs(
    tx: &mut Tx,
    thread: &Thread,
    run: &Run,
    output: &TurnOutput,
) -> Result<Vec<Run>, ApiError> {
    let agent = &thread.agent.record;
    if agent.enable_sleeptime != Some(true) || run.is_of_sleeptime_agent() || output.failure.is_some() {
        return Ok(Vec::new());
    }
    // As in Letta, nobody goes through what a batch says.
    if !tx.linked_from(links::BATCH_RUN, &run.id).await?.is_empty() {
        return Ok(Vec::new());
    }
    let groups = tx.linked_documents(links::MANAGED_GROUP, &agent.id, Group::KIND).await?;
    let mut runs = Vec::new();
    for document in tx.lock(&Locks::of(Group::KIND, groups.iter().map(|group| &group.id))).await?.of(Group::KIND) {
        let mut group = parse::<Group>(document)?.record;
        let transcript = next_transcript(&mut group, thread, run, output);
        update(tx, &group).await?;
        let Some(transcript) = transcript else { continue };
        for agent in tx.linked_documents(links::GROUP_AGENT, &group.id, Agent::KIND).await? {
            runs.push(background_run(&agent.id, transcript.clone()));
        }
    }
    Ok(runs)
}

fn background_run(agent_id: &str, transcript: Transcript) -> Run {
    let mut run = Run::begin(agent_id, RunType::Sleeptime, false, MessageView::USUAL);
    run.status = RunStatus::Created;
    run.metadata.insert("agent_id".into(), agent_id.into());
    run.request = Some(TurnRequest {
        input: Vec::new(),
        decision: None,
        max_steps: DEFAULT_MAX_STEPS,
        client_tools: Vec::new(),
        model: None,
        sharers: 1,
        transcript: Some(Box::new(transcript)),
    });
    run
}

/// The transcript that the agents of a group process after a turn; `None` if they are not due.
fn next_transcript(group: &mut Group, thread: &Thread, run: &Run, output: &TurnOutput) -> Option<Transcript> {
    let agent_id = thread.agent.record.id.clone();
    let group_id = group.id.clone();
    let (run_id, after, until) = match group.manager_type.as_str() {
        "sleeptime" => {
            let is_due = group.count_turn();
            let last = output.messages.get(output.input_count..)?.last().filter(|_| is_due)?.id.clone();
            let after = group.last_processed_message_id.replace(last.clone());
            match group.sleeptime_agent_frequency {
                None => (Some(run.id.clone()), None, last),
                Some(_) => (None, after, last),
            }
        }
        // Voice agents have only their default conversation.
        "voice_sleeptime" if thread.conversation.is_none() => {
            let context = thread.context().get(1..)?;
            let index = group.last_processed_message_id.as_ref();
            let index = index.and_then(|last| context.iter().position(|entry| entry.id == *last));
            let new = &context[index.map_or(0, |index| index + 1)..];
            let last = new.get(group.overflow(new.len())?)?.id.clone();
            (None, group.last_processed_message_id.replace(last.clone()), last)
        }
        _ => return None,
    };
    Some(Transcript { agent_id, group_id, run_id, after, until, user_texts: Vec::new() })
}

/// Reads the transcript that a request names, and makes it the request's input.
///
/// # Errors
/// If the database fails.
pub(super) async fn read_transcript(store: &Store, request: &mut TurnRequest) -> Result<(), ApiError> {
    let Some(transcript) = request.transcript.as_mut().filter(|_| request.input.is_empty()) else { return Ok(()) };
    let (mut lines, mut heard, mut room) = (Vec::new(), Vec::new(), MAX_BYTES);
    for stored in messages(store, transcript).await? {
        let message = parse_message(&stored)?;
        let Some(line) = line(&message) else { continue };
        if message.is_of_user() {
            heard.push(cut(message.text(), room).0);
        }
        let (line, is_whole) = cut(line, room);
        room -= line.len();
        lines.push(line);
        if !is_whole {
            break;
        }
    }
    lines.reverse();
    heard.reverse();
    transcript.user_texts = heard;
    let text = format!(
        "<system-reminder>\nYou think in the background: what follows was said between the user and the agent whose memory \
         you share. \"user\" is that user, \"assistant\" is that agent, and neither is you. Nobody waits for an answer. \
         Keep in the shared memory blocks what will be of use, in the way that your memory_persona block \
         asks for.\n</system-reminder>\n\nMessages:\n{}",
        lines.join("\n")
    );
    request.input = vec![IncomingMessage::of_group(&transcript.group_id, vec![Part::text(text)])];
    Ok(())
}

/// The messages of a transcript that still exist, newest first.
async fn messages(store: &Store, transcript: &Transcript) -> Result<Vec<StoredMessage>, ApiError> {
    let Some(last) = store.message(&transcript.until).await? else { return Ok(Vec::new()) };
    let filter = match &transcript.run_id {
        Some(run_id) => MessageFilter::of_run(run_id),
        None => MessageFilter::of_agent(&transcript.agent_id),
    };
    let after = match &transcript.after {
        Some(after) => store.message(after).await?.map_or(0, |message| message.seq),
        None => 0,
    };
    let filter = filter.after(after).before(last.seq.saturating_add(1)).newest_first(true).limit(MAX_MESSAGES);
    Ok(store.messages_chunk(&filter).await?)
}

/// A message as a line of a transcript; `None` if transcripts leave it out.
fn line(message: &Message) -> Option<String> {
    let mut lines = Vec::new();
    let speaker = match message.role {
        Role::User => message.name.as_deref().unwrap_or("user"),
        _ => "assistant",
    };
    match message.role {
        Role::System | Role::Summary => return None,
        _ if message.is_event() => return None,
        Role::Tool => {
            let returned = message.tool_returns.iter().map(|returned| returned.tool_return.text());
            lines.extend(returned.map(|text| format!("{speaker}: Tool call returned {text}")));
        }
        Role::User | Role::Assistant | Role::Approval => {
            lines.extend(message.content.iter().filter_map(|part| match part {
                Part::Text { text, .. } => Some(format!("{speaker}: {text}")),
                Part::Reasoning { reasoning, .. } => Some(format!("{speaker}: <thinking>{reasoning}</thinking>")),
                Part::Image { .. } => Some(format!("{speaker}: [Image Here]")),
                Part::RedactedReasoning { .. } | Part::OmittedReasoning { .. } => None,
            }));
            lines.extend(message.tool_calls.iter().map(|call| match MessageView::USUAL.said_by(call) {
                Some(said) if MessageView::USUAL.speaks(&call.name) => format!("{speaker}: {said}"),
                _ => format!("{speaker}: Calling tool {}", call.name),
            }));
        }
    }
    Some(lines.join("\n")).filter(|line| !line.is_empty())
}

/// The beginning of a text, at most `limit` bytes, and whether that is the whole text.
fn cut(mut text: String, limit: usize) -> (String, bool) {
    let end = text.floor_char_boundary(limit);
    let is_whole = end == text.len();
    text.truncate(end);
    (text, is_whole)
}
