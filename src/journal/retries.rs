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
            && (is_retry || has_failed(&lock(&before.entry)))
        {
            repeated = Some(before.id);
        }
        for of_otid in of_otids {
            repeated = repeated.max(self.before(held, of_otid).map(|before| before.id));
        }
        if repeated.is_some() {
            self.change(held, |entry| entry.retry_of = repeated);
        }
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

/// Whether clients try again after such a response. A fault may have broken one that looks whole.
fn has_failed(entry: &Entry) -> bool {
    let has_failed = entry
        .answer
        .as_ref()
        .is_some_and(|answer| answer.ended == Some(Ended::Cut) || answer.status.is_some_and(|status| status >= 500));
    has_failed || entry.fault.is_some()
}

/// Whether two bodies are equal, as far as they were read.
fn has_equal_body(before: &Held, now: &Held) -> bool {
    let whole = |held: &Held| lock(&held.link).body.as_ref().and_then(|body| body.whole);
    match (whole(before), whole(now)) {
        (Some(before), Some(now)) => before == now,
        _ => true,
    }
}
