//! Rules on tool calls that wait for a decision.

use super::{
    conversations::is_pending_approval,
    finding::Found,
    recent::Recent,
    rules::Rule,
    seen::{Key, Seen, Threads},
    sends::{Send, Sends},
};

/// How many conversations and decisions are remembered.
const MOST: usize = 256;

#[derive(Debug)]
pub(super) struct Approvals {
    /// By conversation, the turn that waits for a decision.
    pending: Recent<Key, (u64, Threads)>,
    /// By call, the requests that decided about it.
    decided: Recent<Key, Vec<u64>>,
}

impl Default for Approvals {
    fn default() -> Self {
        Self { pending: Recent::of(MOST), decided: Recent::of(MOST) }
    }
}

impl Approvals {
    /// A request that ends what is pending.
    pub(super) fn settled(&mut self, seen: &Seen<'_>) {
        let threads = seen.threads;
        self.pending.retain(|_, (_, of_pending)| !threads.cover(*of_pending));
    }

    pub(super) fn asked(&mut self, send: &Send) {
        for decision in &send.decisions {
            let by = self.decided.entry(*decision, Vec::new);
            if by.len() < MOST {
                by.push(send.id);
            }
        }
    }

    pub(super) fn ended(&mut self, seen: &Seen<'_>, send: &Send, sends: &Sends, found: &mut Vec<Found>) {
        let (Some(thread), Some(end)) = (send.threads.main(), send.end) else { return };
        for decision in &send.decisions {
            self.check_repeated(seen, *decision, send, sends, found);
        }
        if !send.decisions.is_empty() && end.has_begun {
            self.pending.remove(&thread);
        }
        if seen.entry.answer.as_ref().and_then(|answer| answer.stop_reason.as_deref()) == Some("requires_approval") {
            self.pending.insert(thread, (send.id, send.threads));
        }
        if send.decisions.is_empty() && is_pending_approval(seen) {
            self.check_abandoned(seen, thread, send, sends, found);
        }
    }

    /// The server has refused the message, so the call waits indeed.
    fn check_abandoned(&self, seen: &Seen<'_>, thread: Key, send: &Send, sends: &Sends, found: &mut Vec<Found>) {
        let Some((waits, _)) = self.pending.get(&thread) else { return };
        let end = sends.get(*waits).and_then(|waiting| waiting.end);
        if end.is_none_or(|end| end.at > send.arrived) {
            return;
        }
        found.push(Found::new(
            Rule::ApprovalAbandoned,
            seen,
            [*waits, send.id],
            format!(
                "The turn of entry {waits} waits for the approval of a tool call, and entry {} sends an ordinary message.",
                send.id
            ),
        ));
    }

    fn check_repeated(&self, seen: &Seen<'_>, decision: Key, send: &Send, sends: &Sends, found: &mut Vec<Found>) {
        let begun =
            |id: u64| sends.get(id).and_then(|other| other.end).is_some_and(|end| end.has_begun && !end.has_failed);
        let others = self.decided.get(&decision).into_iter().flatten().copied();
        for other in others.filter(|other| *other != send.id) {
            let (first, second) = (other.min(send.id), other.max(send.id));
            // A retry is another rule's.
            let is_retry = sends.get(second).is_none_or(|second| second.retry_of.is_some());
            let has_ended = sends.get(second).is_some_and(|second| second.end.is_some());
            if is_retry || !has_ended || !begun(first) {
                continue;
            }
            let sentence = format!("Entry {second} decides about the tool call that entry {first} has decided about.");
            found.push(Found::new(Rule::ApprovalRepeated, seen, [first, second], sentence));
            return;
        }
    }
}
