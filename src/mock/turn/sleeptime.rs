//! Sleeptime agents. When a turn of their main agent ends, the transaction that stores it also stores a run for each of
//! them whose time has come, with all that is needed to take it up. Such a run is a turn like any other, beside everything
//! else, and begins no more of them.

use super::{agent_loop::Produced, request::DEFAULT_MAX_STEPS};
use crate::{
    error::ApiError,
    mock::{
        agents::thread::Thread,
        records::{
            Agent, Group, IncomingMessage, Message, MessageView, Part, Record, Role, Run, RunStatus, RunType,
            Transcript, TurnRequest, links,
        },
        storage::documents::{parse, parse_message, update},
    },
    store::{Locks, MessageFilter, Store, StoredMessage, Tx},
};

/// The most messages of a transcript: the newest count.
const MOST_MESSAGES: i64 = 100;
/// The most bytes of a transcript.
const LONGEST: usize = 100_000;

/// Counts a turn that has ended in the groups of its agent, and makes the runs of the sleeptime agents that go through what
/// was said. The caller has locked the agent, stores the runs and links them.
///
/// # Errors
/// When the database fails.
pub(super) async fn hand_over(
    tx: &mut Tx,
    thread: &Thread,
    run: &Run,
    produced: &Produced,
) -> Result<Vec<Run>, ApiError> {
    let agent = &thread.agent.record;
    if agent.enable_sleeptime != Some(true) || run.is_of_sleeptime_agent() || produced.failure.is_some() {
        return Ok(Vec::new());
    }
    let groups = tx.linked_documents(links::MANAGED_GROUP, &agent.id, Group::KIND).await?;
    let mut runs = Vec::new();
    for document in tx.lock(&Locks::of(Group::KIND, groups.iter().map(|group| &group.id))).await?.of(Group::KIND) {
        let mut group = parse::<Group>(document)?.record;
        let transcript = next_transcript(&mut group, thread, run, produced);
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

/// What the agents of a group go through after a turn; none: it is not their time.
fn next_transcript(group: &mut Group, thread: &Thread, run: &Run, produced: &Produced) -> Option<Transcript> {
    let agent_id = thread.agent.record.id.clone();
    let group_id = group.id.clone();
    let (run_id, after, until) = match group.manager_type.as_str() {
        "sleeptime" => {
            let is_time = group.count_turn();
            let last = produced.said.get(produced.asked..)?.last().filter(|_| is_time)?.id.clone();
            let after = group.last_processed_message_id.replace(last.clone());
            match group.sleeptime_agent_frequency {
                None => (Some(run.id.clone()), None, last),
                Some(_) => (None, after, last),
            }
        }
        // Voice agents have no conversations but the default one.
        "voice_sleeptime" if thread.conversation.is_none() => {
            let seen = thread.context().get(1..)?;
            let place = group.last_processed_message_id.as_ref();
            let place = place.and_then(|last| seen.iter().position(|entry| entry.id == *last));
            let new = &seen[place.map_or(0, |place| place + 1)..];
            let last = new.get(group.overflow(new.len())?)?.id.clone();
            (None, group.last_processed_message_id.replace(last.clone()), last)
        }
        _ => return None,
    };
    Some(Transcript { agent_id, group_id, run_id, after, until, user_texts: Vec::new() })
}

/// Reads the transcript that a request is about, which becomes what is said in it.
///
/// # Errors
/// When the database fails.
pub(super) async fn listen(store: &Store, request: &mut TurnRequest) -> Result<(), ApiError> {
    let Some(transcript) = request.transcript.as_mut().filter(|_| request.input.is_empty()) else { return Ok(()) };
    let (mut lines, mut heard, mut left) = (Vec::new(), Vec::new(), LONGEST);
    for stored in messages(store, transcript).await? {
        let message = parse_message(&stored)?;
        let Some(line) = line(&message) else { continue };
        if message.is_of_user() {
            heard.push(cut(message.text(), left).0);
        }
        let (line, is_whole) = cut(line, left);
        left -= line.len();
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

/// The messages of a transcript that are still there, newest first.
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
    let filter = filter.after(after).before(last.seq.saturating_add(1)).newest_first(true).limit(MOST_MESSAGES);
    Ok(store.messages_chunk(&filter).await?)
}

/// A message as a line of a transcript; none: it is not part of what was said.
fn line(message: &Message) -> Option<String> {
    let mut lines = Vec::new();
    let who = match message.role {
        Role::User => message.name.as_deref().unwrap_or("user"),
        _ => "assistant",
    };
    match message.role {
        Role::System | Role::Summary => return None,
        _ if message.is_event() => return None,
        Role::Tool => {
            let returned = message.tool_returns.iter().map(|returned| returned.tool_return.text());
            lines.extend(returned.map(|text| format!("{who}: Tool call returned {text}")));
        }
        Role::User | Role::Assistant | Role::Approval => {
            lines.extend(message.content.iter().filter_map(|part| match part {
                Part::Text { text, .. } => Some(format!("{who}: {text}")),
                Part::Reasoning { reasoning, .. } => Some(format!("{who}: <thinking>{reasoning}</thinking>")),
                Part::Image { .. } => Some(format!("{who}: [Image Here]")),
                Part::RedactedReasoning { .. } | Part::OmittedReasoning { .. } => None,
            }));
            lines.extend(message.tool_calls.iter().map(|call| match MessageView::USUAL.said_by(call) {
                Some(said) if MessageView::USUAL.speaks(&call.name) => format!("{who}: {said}"),
                _ => format!("{who}: Calling tool {}", call.name),
            }));
        }
    }
    Some(lines.join("\n")).filter(|line| !line.is_empty())
}

/// The beginning of a text that has at most so many bytes, and whether that is all of it.
fn cut(mut text: String, most: usize) -> (String, bool) {
    let end = text.floor_char_boundary(most);
    let is_whole = end == text.len();
    text.truncate(end);
    (text, is_whole)
}
