//! Rules on messages: what is sent twice, believed too early, or sent where the agent is busy.

use std::collections::VecDeque;

use super::{
    finding::Found,
    recent::Recent,
    rules::Rule,
    seen::{Key, Kind, SECOND, Seen, Threads, key},
    sends::{Send, Sends},
};

/// How many looks, cut streams and conversations are remembered.
const MOST: usize = 256;
/// Within what time two equal texts are one act, and three refusals hammering.
const DOUBLE: i64 = SECOND / 2;
const HAMMERING: i64 = 60 * SECOND;
/// How many refusals are hammering.
const REFUSALS: usize = 3;

#[derive(Debug)]
pub(super) struct Conversations {
    /// The latest requests that read what happened, or end what is pending.
    looks: VecDeque<(u64, Threads)>,
    /// By a send, the one that repeats it.
    repeated_by: Recent<u64, Repetition>,
    /// Streams that were cut, and that nobody has looked at.
    cut: Recent<u64, (Key, Threads)>,
    /// By caller, conversation and text: the latest send.
    texts: Recent<Key, u64>,
    /// By caller and conversation: the refusals in a row.
    busy: Recent<Key, Busy>,
}

#[derive(Clone, Copy, Debug)]
struct Repetition {
    by: u64,
    /// Whether somebody has looked in between.
    was_looked_at: bool,
}

#[derive(Debug, Default)]
struct Busy {
    threads: Threads,
    refusals: Vec<(u64, i64)>,
}

impl Default for Conversations {
    fn default() -> Self {
        Self {
            looks: VecDeque::new(),
            repeated_by: Recent::of(MOST),
            cut: Recent::of(MOST),
            texts: Recent::of(MOST),
            busy: Recent::of(MOST),
        }
    }
}

impl Conversations {
    /// A request that reads, or ends what is pending.
    pub(super) fn looked(&mut self, seen: &Seen<'_>) {
        let threads = seen.threads;
        if self.looks.len() == MOST {
            self.looks.pop_front();
        }
        self.looks.push_back((seen.entry.id, threads));
        if !self.cut.is_empty() {
            self.cut.retain(|_, (_, of_cut)| !threads.cover(*of_cut));
        }
        if !self.busy.is_empty() {
            self.busy.retain(|_, busy| !threads.cover(busy.threads));
        }
    }

    pub(super) fn asked(&mut self, seen: &Seen<'_>, send: &Send, sends: &Sends, found: &mut Vec<Found>) {
        let (Some(caller), Some(thread)) = (seen.caller, send.threads.main()) else { return };
        if let Some(of) = send.retry_of {
            let mut looks = self.looks.iter();
            let was_looked_at = looks.any(|(id, threads)| (of..send.id).contains(id) && threads.cover(send.threads));
            self.repeated_by.insert(of, Repetition { by: send.id, was_looked_at });
        }
        if !seen.is_admitted() {
            return;
        }
        self.check_cut(seen, send, sends, caller, found);
        let Some(text) = send.text.filter(|_| send.decisions.is_empty()) else { return };
        let same = key((caller, thread, text));
        let before = self.texts.insert(same, send.id).and_then(|id| sends.get(id));
        if let Some(before) = before
            && send.retry_of.is_none()
            && send.attempt == 0
            && send.arrived - before.arrived <= DOUBLE
            && before.end.is_none_or(|end| seen.is_from_browser() && end.has_begun && !end.has_failed && !end.is_cut)
        {
            let ms = (send.arrived - before.arrived) / 1_000;
            found.push(Found::new(
                Rule::DoubleSend,
                seen,
                [before.id, send.id],
                format!("Entry {} sends the text of entry {} again, {ms} ms later.", send.id, before.id),
            ));
        }
    }

    /// Whether a stream was taken for whole.
    fn check_cut(&mut self, seen: &Seen<'_>, send: &Send, sends: &Sends, caller: Key, found: &mut Vec<Found>) {
        if self.cut.is_empty() {
            return;
        }
        let main = send.threads.main();
        let is_over = |id: &u64| sends.get(*id).and_then(|cut| cut.end).is_none_or(|end| end.at <= send.arrived);
        let is_here = |of: Key, threads: Threads| of == caller && threads.main() == main;
        let here = self.cut.values().filter(|(id, (of, threads))| is_here(*of, *threads) && is_over(id));
        let Some(id) = here.map(|(id, _)| *id).last() else { return };
        self.cut.retain(|id, (of, threads)| !(is_here(*of, *threads) && is_over(id)));
        let Some(end) = sends.get(id).and_then(|cut| cut.end) else { return };
        // A repetition is another rule's, and a decision knows what was said.
        if send.retry_of == Some(id) || !send.decisions.is_empty() {
            return;
        }
        let seconds = (send.arrived - end.at) / SECOND;
        found.push(Found::new(
            Rule::CutStreamBelieved,
            seen,
            [id, send.id],
            format!(
                "The stream of entry {id} ended without stop_reason, and {seconds} s later entry {} sends the next message; \
                 nobody has read the run or the history in between.",
                send.id
            ),
        ));
    }

    pub(super) fn ended(&mut self, seen: &Seen<'_>, send: &Send, sends: &Sends, found: &mut Vec<Found>) {
        let Some(end) = send.end else { return };
        if let (Some(caller), true) = (seen.caller, end.is_cut) {
            self.cut.insert(send.id, (caller, send.threads));
        }
        // Either may end last: a client that gives up may send again before it closes the connection.
        for id in [send.retry_of, Some(send.id)].into_iter().flatten() {
            self.check_repetition(seen, id, sends, found);
        }
        self.check_busy(seen, send, found);
    }

    fn check_repetition(&mut self, seen: &Seen<'_>, id: u64, sends: &Sends, found: &mut Vec<Found>) {
        let Some(&Repetition { by, was_looked_at }) = self.repeated_by.get(&id) else { return };
        let ended = |id| sends.get(id).and_then(|send| send.end);
        let (Some(first), Some(second)) = (ended(id), ended(by)) else { return };
        self.repeated_by.remove(&id);
        if was_looked_at || !first.has_begun || first.has_failed || !second.has_begun {
            return;
        }
        let by_sdk = sends.get(by).filter(|send| send.attempt > 0).map_or("", |_| ", as a retry of the SDK");
        let how = match first.status {
            Some(status) if status >= 400 => format!("was answered with {status} after its run had begun"),
            _ => "had begun a run".into(),
        };
        found.push(Found::new(
            Rule::SendRetriedAfterStart,
            seen,
            [id, by],
            format!("Entry {id} {how}, and entry {by} sends the same again{by_sdk}, which begins another run."),
        ));
    }

    fn check_busy(&mut self, seen: &Seen<'_>, send: &Send, found: &mut Vec<Found>) {
        let (Some(caller), Some(thread), Some(end)) = (seen.caller, send.threads.main(), send.end) else { return };
        let place = key((caller, thread));
        let is_busy = end.status == Some(409) && !is_pending_approval(seen);
        if !is_busy {
            if end.has_begun {
                self.busy.remove(&place);
            }
            return;
        }
        let busy = self.busy.entry(place, Busy::default);
        busy.threads = send.threads;
        busy.refusals.retain(|(_, at)| send.arrived - at <= HAMMERING);
        busy.refusals.push((send.id, send.arrived));
        if busy.refusals.len() < REFUSALS {
            return;
        }
        let ids: Vec<u64> = busy.refusals.iter().map(|(id, _)| *id).collect();
        self.busy.remove(&place);
        let sentence = format!(
            "{} messages to one conversation were refused with 409, the last as entry {}, and nobody has read or cancelled \
             the run in progress.",
            ids.len(),
            send.id
        );
        found.push(Found::new(Rule::BusyHammered, seen, ids, sentence));
    }
}

/// Whether a message was refused since a call waits for a decision.
pub(super) fn is_pending_approval(seen: &Seen<'_>) -> bool {
    let answer = seen.entry.answer.as_ref();
    let message = answer.and_then(|answer| answer.message.as_deref()).unwrap_or_default();
    seen.kind == Kind::Send && message.contains("waiting for approval")
}
