//! Which request another one repeats.

use std::{
    hash::{BuildHasher, Hash},
    sync::Arc,
    time::Duration,
};

use foldhash::quality::FixedState;
use serde_json::Value;

use super::{
    entry::{Ended, Entry},
    link::Mark,
    process::lock,
    ring::{Held, Journal},
};

/// How long after a request, by the real clock, another one can repeat it.
const WITHIN: Duration = Duration::from_mins(1);
/// How many messages of a body are looked at.
const MOST_OTIDS: usize = 8;

/// The `otid` of each message in a body.
pub(super) fn otids(body: &Value) -> Vec<String> {
    let messages = body.get("messages").and_then(Value::as_array).into_iter().flatten();
    let otids = messages.filter_map(|message| message.get("otid")?.as_str().map(str::to_owned));
    otids.filter(|otid| !otid.is_empty()).take(MOST_OTIDS).collect()
}

impl Journal {
    /// Notes that the caller is known, or that it is certain that there is none.
    pub(super) fn caller_is_known(&self, held: &Arc<Held>) {
        lock(&held.link).is_caller_known = true;
        self.link(held);
    }

    /// Notes the body once it is read, or once it is certain that it is not.
    pub(super) fn body_is_known(&self, held: &Arc<Held>, body: Mark) {
        lock(&held.link).body = Some(body);
        self.link(held);
    }

    /// Links a request with the one that it repeats, once all is known.
    fn link(&self, held: &Arc<Held>) {
        let (is_retry, keys) = {
            let mut link = lock(&held.link);
            let Some(body) = link.body.as_ref().filter(|_| link.is_caller_known && !link.is_linked) else { return };
            let entry = lock(&held.entry);
            let keys: Vec<u64> = body.otids.iter().map(|otid| key(&entry, Some(otid))).collect();
            let found = (is_retry(&entry), (key(&entry, None), keys));
            drop(entry);
            link.is_linked = true;
            found
        };
        let (of_target, of_otids) = keys;
        let mut repeated = None;
        if let Some(before) = self.before(held, of_target)
            && has_equal_body(&before, held)
            && (is_retry || may_be_repeated(&before))
        {
            repeated = Some(before.id);
        }
        for of_otid in of_otids {
            repeated = repeated.max(self.before(held, of_otid).map(|before| before.id));
        }
        if let Some(repeated) = repeated {
            let first = self.find(repeated).and_then(|before| lock(&before.link).first);
            lock(&held.link).first = Some(first.unwrap_or(repeated));
            self.change(held, |entry| entry.retry_of = Some(repeated));
        }
        self.observe_asked(held);
    }

    /// The last request under this key that is not too old.
    fn before(&self, held: &Held, key: u64) -> Option<Arc<Held>> {
        let before = self.replace_latest(key, held.id).and_then(|id| self.find(id))?;
        (held.arrived.saturating_duration_since(before.arrived) <= WITHIN).then_some(before)
    }
}

/// What two requests of one caller must have in common: the method and target, or the operation and a message's id.
fn key(entry: &Entry, otid: Option<&String>) -> u64 {
    let caller = (&entry.caller.jti, &entry.caller.key);
    let hasher = FixedState::default();
    match otid {
        Some(otid) => hasher.hash_one((caller, entry.operation, otid)),
        None => {
            let mut state = hasher.build_hasher();
            (caller, &entry.method, &entry.target).hash(&mut state);
            std::hash::Hasher::finish(&state)
        }
    }
}

/// Whether the SDK says that it tries again.
fn is_retry(entry: &Entry) -> bool {
    let count = entry.sent.headers.get("x-stainless-retry-count");
    count.and_then(|count| count.parse::<u32>().ok()).is_some_and(|count| count > 0)
}

/// Whether clients try again after such a response, also those that do not say so.
fn may_be_repeated(held: &Held) -> bool {
    let is_final = lock(&held.link).is_final;
    let entry = lock(&held.entry);
    let Some(answer) = &entry.answer else { return false };
    answer.ended == Some(Ended::Cut)
        || entry.fault.as_ref().is_some_and(has_broken)
        || !is_final && answer.status.is_some_and(|status| status >= 500)
}

/// Whether a fault may have broken the response, even if it looks whole: whether it did more than delay it or divide it
/// otherwise.
fn has_broken(fault: &Value) -> bool {
    const HARMLESS: [&str; 8] =
        ["delay", "first_byte", "frame_delay", "slice", "coalesce", "lines", "comments", "pings"];
    let did = fault["did"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_harmless =
        |part: &Value| part.as_str().is_some_and(|part| HARMLESS.iter().any(|harmless| part.starts_with(harmless)));
    did.is_empty() || !did.iter().all(is_harmless)
}

/// Whether two bodies are equal, as far as they were read.
fn has_equal_body(before: &Held, now: &Held) -> bool {
    let whole = |held: &Held| lock(&held.link).body.as_ref().and_then(|body| body.whole);
    match (whole(before), whole(now)) {
        (Some(before), Some(now)) => before == now,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};

    use super::*;
    use crate::{
        access::Outcome,
        journal::{BOUNDS, Decided, Process},
        request::body::Body,
    };

    /// Sends a request whose response has this status; the first attempt that it repeats, by its number.
    fn attempt(journal: &Journal, status: u16, headers: &[(&str, &str)], retry: &str) -> u64 {
        let request = Request::post("/v1/agents/agent-1/messages").header("x-stainless-retry-count", retry);
        let (head, ()) = request.body(()).unwrap().into_parts();
        let recording = journal.begin(&head, "req-1", None);
        recording.attach(Body::Empty);
        recording.admitted(Decided::default());
        let first = recording.attempt().first();
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        recording.respond(response.body(Body::Empty).unwrap(), None, false, Box::new(|| None));
        first
    }

    #[test]
    fn what_fails_is_repeated_also_by_clients_that_do_not_say_so() {
        let journal = Journal::new("n", &Process::new(BOUNDS));
        let said_so: &[(&str, &str)] = &[("x-should-retry", "false")];
        for (status, headers, retry, first) in [
            (503, &[][..], "0", 1),
            (503, &[], "0", 1),
            (200, &[], "0", 1),
            // The last one succeeded.
            (500, said_so, "0", 4),
            // The last one told the client not to try again.
            (200, &[], "0", 5),
            (500, said_so, "1", 5),
            (200, &[], "2", 5),
            (429, &[], "0", 8),
            (200, &[], "0", 9),
        ] {
            assert_eq!(attempt(&journal, status, headers, retry), first, "{status} {retry}");
        }
        journal.change(&journal.find(9).unwrap(), |entry| {
            entry.fault = Some(Value::Null);
            entry.answer.get_or_insert_default().status = Some(429);
            entry.decision.outcome = Some(Outcome::Admitted);
        });
        assert_eq!(attempt(&journal, 200, &[], "0"), 9, "a fault ended the last one");
        journal.change(&journal.find(10).unwrap(), |entry| {
            entry.answer.get_or_insert_default().ended = Some(Ended::Cut);
        });
        assert_eq!(attempt(&journal, 200, &[], "0"), 9, "the last one was cut");
    }
}
