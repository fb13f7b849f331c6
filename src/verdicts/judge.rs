//! Applies the rules to each request.

use std::mem;

use http::Method;

use super::{
    approvals::Approvals,
    conversations::Conversations,
    coverage::Coverage,
    finding::{Findings, Found},
    plain,
    reading::Reading,
    refusals::Refusals,
    seen::{Kind, Seen},
    sends::Sends,
    tokens::Tokens,
};
use crate::journal::{Entry, Mark};

/// The memory of all rules, and what they found.
#[derive(Debug, Default)]
pub(super) struct Judge {
    sends: Sends,
    conversations: Conversations,
    approvals: Approvals,
    refusals: Refusals,
    tokens: Tokens,
    reading: Reading,
    pub(super) findings: Findings,
    pub(super) coverage: Coverage,
}

impl Judge {
    /// A request of which everything is known but the response.
    pub(super) fn asked(&mut self, entry: &Entry) -> Vec<Mark> {
        let seen = Seen::of(entry);
        let mut found = Vec::new();
        plain::asked(&seen, &mut found);
        self.refusals.asked(&seen, &mut found);
        self.tokens.asked(&seen, &mut found);
        match seen.kind {
            Kind::Send => {
                let send = self.sends.begin(&seen);
                self.conversations.asked(&seen, &send, &self.sends, &mut found);
                self.approvals.asked(&send);
            }
            Kind::Look if seen.is_admitted() => {
                self.conversations.looked(&seen);
                self.reading.looked(&seen);
            }
            Kind::Settle if seen.is_admitted() => {
                self.conversations.looked(&seen);
                self.reading.looked(&seen);
                self.approvals.settled(&seen);
            }
            Kind::Look | Kind::Settle | Kind::Other => {}
        }
        if *entry.method == *Method::GET.as_str() {
            self.reading.read(&seen, &mut found);
        }
        self.coverage.count(entry);
        self.findings.add(found)
    }

    /// A request whose response has ended.
    pub(super) fn ended(&mut self, entry: &Entry) -> Vec<Mark> {
        let seen = Seen::of(entry);
        let mut found = Vec::new();
        plain::ended(&seen, &mut found);
        self.refusals.ended(&seen, &mut found);
        self.tokens.ended(&seen, &mut found);
        if seen.kind == Kind::Send
            && let Some(send) = self.sends.end(&seen)
        {
            self.conversations.ended(&seen, &send, &self.sends, &mut found);
            self.approvals.ended(&seen, &send, &self.sends, &mut found);
            self.reading.ended(&seen, &send);
        }
        self.findings.add(found)
    }

    /// What is true now and may change: runs that nobody has read. `is_over`: whether nothing follows.
    pub(super) fn still(&self, now: i64, is_over: bool) -> Vec<Found> {
        self.reading.unread(now, is_over)
    }

    /// Forgets what is pending; what was found stays.
    pub(super) fn forget_pending(&mut self) {
        let Self { findings, coverage, .. } = mem::take(self);
        *self = Self { findings, coverage, ..Self::default() };
    }
}
