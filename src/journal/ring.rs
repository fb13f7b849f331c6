//! The entries of a namespace, within bounds: the oldest go first.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{AcqRel, Relaxed},
        },
    },
    time::Instant,
};

use serde::Serialize;
use serde_json::Value;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use super::{
    entry::{Entry, Phase},
    filter::Filter,
    frames::{FrameView, Frames},
    link::Link,
    process::{Bounded, Bounds, Process, lock},
};

/// How many events a listener may lag behind.
const EVENTS: usize = 1_024;

/// What the requests of a namespace were, and what became of them. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Journal(pub(super) Arc<State>);

#[derive(Debug)]
pub(super) struct State {
    pub(super) namespace: Box<str>,
    pub(super) process: Process,
    ring: Mutex<Ring>,
    /// The refs of the seed, by id, and whether a request has named them.
    refs: RwLock<Refs>,
    /// Counts the changes.
    changes: watch::Sender<u64>,
    /// The ids of new and changed entries.
    events: broadcast::Sender<u64>,
    listeners: AtomicUsize,
    closed: CancellationToken,
    observer: OnceLock<Arc<dyn Observer>>,
}

/// A remark on an entry: its id, and the word.
pub(crate) type Mark = (u64, &'static str);

/// Looks at each request twice, and remarks on it or on earlier ones. It must not use the journal meanwhile.
pub(crate) trait Observer: std::fmt::Debug + Send + Sync {
    /// Its caller and its body are known, and it was decided about.
    fn asked(&self, entry: &Entry) -> Vec<Mark>;

    /// Its response has ended.
    fn ended(&self, entry: &Entry) -> Vec<Mark>;
}

/// The names of a seed, by id, and whether a request has named the id.
type Refs = HashMap<Box<str>, (Box<str>, AtomicBool)>;

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Arc<Held>>,
    last_id: u64,
    dropped: u64,
    bytes: usize,
    latest: Latest,
}

/// By what a request repeats: the latest entry for it. Entries that are gone are removed now and then.
#[derive(Debug, Default)]
struct Latest(HashMap<u64, u64>);

/// An entry with what is not shown with it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: u64,
    pub(super) arrived: Instant,
    pub(super) entry: Mutex<Entry>,
    pub(super) frames: Mutex<Frames>,
    pub(super) link: Mutex<Link>,
    entry_bytes: AtomicUsize,
    frame_bytes: AtomicUsize,
    /// How many bytes are counted for it.
    counted: AtomicUsize,
    is_cleared: AtomicBool,
    /// Whether the observer has looked at it a first time.
    was_observed: AtomicBool,
}

/// A part of the journal.
#[derive(Debug, Serialize)]
pub(crate) struct Listing {
    /// The entries, the oldest first.
    pub(crate) entries: Vec<Entry>,
    /// The cursor with which the next call continues.
    #[serde(serialize_with = "as_text")]
    pub(crate) next: u64,
    /// How many entries were dropped to stay within the bounds.
    pub(crate) dropped: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference to the field")]
fn as_text<S: serde::Serializer>(cursor: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(cursor)
}

impl Journal {
    pub(super) fn new(namespace: &str, process: &Process) -> Self {
        let state = Arc::new(State {
            namespace: namespace.into(),
            process: process.clone(),
            ring: Mutex::default(),
            refs: RwLock::default(),
            changes: watch::Sender::new(0),
            events: broadcast::Sender::new(EVENTS),
            listeners: AtomicUsize::new(0),
            closed: CancellationToken::new(),
            observer: OnceLock::new(),
        });
        let bounded: Arc<dyn Bounded> = Arc::clone(&state) as Arc<dyn Bounded>;
        process.add(&bounded);
        Self(state)
    }

    /// Adds an entry, and gives it its id.
    pub(super) fn add(&self, mut entry: Entry) -> Arc<Held> {
        let arrived = Instant::now();
        let held = {
            let mut ring = lock(&self.0.ring);
            ring.last_id += 1;
            entry.id = ring.last_id;
            let held = Arc::new(Held {
                id: entry.id,
                arrived,
                entry_bytes: AtomicUsize::new(size(&entry)),
                entry: Mutex::new(entry),
                frames: Mutex::default(),
                link: Mutex::default(),
                frame_bytes: AtomicUsize::new(0),
                counted: AtomicUsize::new(0),
                is_cleared: AtomicBool::new(false),
                was_observed: AtomicBool::new(false),
            });
            ring.entries.push_back(Arc::clone(&held));
            held
        };
        self.count(&held);
        self.notify(held.id);
        held
    }

    /// Changes an entry.
    pub(super) fn change<T>(&self, held: &Held, change: impl FnOnce(&mut Entry) -> T) -> T {
        let result = {
            let mut entry = lock(&held.entry);
            let result = change(&mut entry);
            held.entry_bytes.store(size(&entry), Relaxed);
            result
        };
        self.count(held);
        self.notify(held.id);
        result
    }

    /// Lets an observer look at every request from now on. A journal has one at most.
    pub(crate) fn observe_with(&self, observer: Arc<dyn Observer>) {
        // It is set where the namespace is made, once.
        let _ = self.0.observer.set(observer);
    }

    /// Lets the observer look at a request, of which everything is known but the response.
    pub(super) fn observe_asked(&self, held: &Held) {
        let Some(observer) = self.0.observer.get() else { return };
        if held.is_cleared.load(Relaxed) || held.was_observed.swap(true, AcqRel) {
            return;
        }
        let marks = observer.asked(&lock(&held.entry));
        self.mark(marks);
    }

    /// Lets the observer look at a request whose response has ended.
    pub(super) fn observe_ended(&self, held: &Held) {
        let Some(observer) = self.0.observer.get() else { return };
        if held.is_cleared.load(Relaxed) {
            return;
        }
        // The body of a request that is refused early is never read.
        self.observe_asked(held);
        let marks = observer.ended(&lock(&held.entry));
        self.mark(marks);
    }

    fn mark(&self, marks: Vec<Mark>) {
        for (id, word) in marks {
            let Some(held) = self.find(id) else { continue };
            if !lock(&held.entry).verdicts.contains(&word) {
                self.change(&held, |entry| entry.verdicts.push(word));
            }
        }
    }

    /// Counts a frame of a stream, and keeps it if there is room.
    pub(super) fn frame(&self, held: &Held, ms: u64, frame: &[u8]) {
        let taken = lock(&held.frames).keep(ms, frame, self.bounds().frames);
        if taken > 0 {
            held.frame_bytes.fetch_add(taken, Relaxed);
            self.count(held);
        }
    }

    /// Counts the bytes of an entry that has grown, and removes the oldest entries if they are too many.
    fn count(&self, held: &Held) {
        let (bounds, process) = (self.0.process.bounds(), &self.0.process);
        {
            let mut ring = lock(&self.0.ring);
            // It may have been dropped in the meantime.
            if held.is_cleared.load(Relaxed) {
                return;
            }
            let new = held.entry_bytes.load(Relaxed) + held.frame_bytes.load(Relaxed);
            let old = held.counted.swap(new, Relaxed);
            ring.bytes = ring.bytes + new - old;
            if new >= old {
                process.grow(new - old);
            } else {
                process.shrink(old - new);
            }
            while ring.entries.len() > bounds.entries || ring.bytes > bounds.namespace && ring.entries.len() > 1 {
                ring.drop_oldest(process);
            }
        }
        process.enforce();
    }

    fn notify(&self, id: u64) {
        self.0.changes.send_modify(|changes| *changes += 1);
        // It fails without listeners.
        let _ = self.0.events.send(id);
    }

    /// Visits the entries with an id above `after`, in order, each under its lock.
    pub(crate) fn visit(&self, after: u64, mut visit: impl FnMut(&Entry)) {
        for held in self.held(after).0 {
            visit(&lock(&held.entry));
        }
    }

    /// The entries with an id above `after`, and the latest id.
    fn held(&self, after: u64) -> (Vec<Arc<Held>>, u64) {
        let ring = lock(&self.0.ring);
        let begin = ring.entries.partition_point(|held| held.id <= after);
        (ring.entries.range(begin..).cloned().collect(), ring.last_id)
    }

    pub(super) fn find(&self, id: u64) -> Option<Arc<Held>> {
        let ring = lock(&self.0.ring);
        let index = ring.entries.binary_search_by_key(&id, |held| held.id).ok()?;
        ring.entries.get(index).cloned()
    }

    /// The latest entry before `id` that was noted under this key; `id` takes its place.
    pub(super) fn replace_latest(&self, key: u64, id: u64) -> Option<u64> {
        let mut ring = lock(&self.0.ring);
        let first = ring.entries.front().map_or(id, |held| held.id);
        ring.latest.replace(key, id, first, self.bounds().entries)
    }

    /// One entry.
    pub(crate) fn get(&self, id: u64) -> Option<Entry> {
        self.find(id).map(|held| lock(&held.entry).clone())
    }

    /// The frames of a response, as far as they are kept.
    pub(crate) fn frames(&self, id: u64) -> Option<Vec<FrameView>> {
        self.find(id).map(|held| lock(&held.frames).view())
    }

    /// The first `limit` entries above `after` that the filter matches.
    ///
    /// The cursor in the result passes by no entry that may match later, unless a later one is in the result.
    pub(crate) fn list(&self, filter: &Filter, after: u64, limit: usize) -> Listing {
        let mut entries = Vec::new();
        let (mut next, mut is_certain) = (after, true);
        let (all, last_id) = self.held(after);
        for held in all {
            if entries.len() >= limit {
                return Listing { entries, next, dropped: self.dropped() };
            }
            let entry = lock(&held.entry);
            if filter.matches(&entry) {
                entries.push(entry.clone());
                next = held.id;
                is_certain = true;
            } else {
                is_certain &= entry.phase == Phase::Finished;
                if is_certain {
                    next = held.id;
                }
            }
        }
        if is_certain {
            // Those that were cleared or dropped.
            next = next.max(last_id);
        }
        Listing { entries, next, dropped: self.dropped() }
    }

    /// How many entries were dropped to stay within the bounds.
    pub(crate) fn dropped(&self) -> u64 {
        lock(&self.0.ring).dropped
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        lock(&self.0.ring).entries.len()
    }

    /// Removes all entries. Ids go on; requests in flight are no longer recorded.
    pub(crate) fn clear(&self) {
        let mut ring = lock(&self.0.ring);
        for held in mem::take(&mut ring.entries) {
            held.is_cleared.store(true, Relaxed);
        }
        ring.latest = Latest::default();
        self.0.process.shrink(mem::take(&mut ring.bytes));
        drop(ring);
        self.0.changes.send_modify(|changes| *changes += 1);
    }

    /// Sets the refs of the seed, by id. Those that it had remain touched.
    pub(crate) fn set_refs(&self, refs: impl IntoIterator<Item = (String, String)>) {
        let mut own = self.0.refs.write().unwrap_or_else(PoisonError::into_inner);
        let is_touched = |id: &str| own.get(id).is_some_and(|(_, touched)| touched.load(Relaxed));
        let refs = refs.into_iter().map(|(id, name)| {
            let is_touched = AtomicBool::new(is_touched(&id));
            (id.into(), (name.into(), is_touched))
        });
        *own = refs.collect();
    }

    /// Forgets which refs requests have named.
    pub(crate) fn untouch_refs(&self) {
        for (_, touched) in self.0.refs.read().unwrap_or_else(PoisonError::into_inner).values() {
            touched.store(false, Relaxed);
        }
    }

    /// Whether a request has named the ref of an id.
    pub(crate) fn has_touched(&self, id: &str) -> bool {
        let refs = self.0.refs.read().unwrap_or_else(PoisonError::into_inner);
        refs.get(id).is_some_and(|(_, touched)| touched.load(Relaxed))
    }

    /// The ref of an id that a request names.
    pub(super) fn ref_of(&self, id: &str) -> Option<Box<str>> {
        let refs = self.0.refs.read().unwrap_or_else(PoisonError::into_inner);
        let (name, touched) = refs.get(id)?;
        touched.store(true, Relaxed);
        Some(name.clone())
    }

    /// Counts the changes: `changed()` returns after each new or changed entry.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Listens to the ids of new and changed entries; `None` if there are too many listeners.
    pub(crate) fn listen(&self) -> Option<Listener> {
        let most = self.bounds().listeners;
        let add = |listeners: usize| (listeners < most).then_some(listeners + 1);
        self.0.listeners.fetch_update(AcqRel, Relaxed, add).ok()?;
        Some(Listener { events: self.0.events.subscribe(), journal: self.clone() })
    }

    /// The bounds.
    pub(crate) fn bounds(&self) -> &Bounds {
        self.0.process.bounds()
    }

    /// What it shares with the other journals of the process.
    pub(crate) fn process(&self) -> &Process {
        &self.0.process
    }

    /// Ends all who wait or listen: the namespace is gone.
    pub(crate) fn close(&self) {
        self.0.closed.cancel();
    }

    /// Waits until the namespace is gone.
    pub(crate) fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        self.0.closed.clone().cancelled_owned()
    }

    /// The namespace.
    pub(crate) fn namespace(&self) -> &str {
        &self.0.namespace
    }
}

/// What one listener gets. Its place is free once it is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    events: broadcast::Receiver<u64>,
    journal: Journal,
}

/// What a listener gets.
#[derive(Debug)]
pub(crate) enum Event {
    /// A new or changed entry, as it is now.
    Entry(Box<Entry>),
    /// So many events were passed over, since the listener read too slowly.
    Lagged(u64),
}

impl Listener {
    /// The next event that the filter matches.
    pub(crate) async fn next(&mut self, filter: &Filter) -> Event {
        loop {
            match self.events.recv().await {
                Ok(id) => {
                    let Some(held) = self.journal.find(id) else { continue };
                    let entry = lock(&held.entry);
                    if filter.matches(&entry) {
                        return Event::Entry(Box::new(entry.clone()));
                    }
                }
                Err(broadcast::error::RecvError::Lagged(missed)) => return Event::Lagged(missed),
                // The listener itself keeps the journal.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.journal.0.listeners.fetch_sub(1, AcqRel);
    }
}

impl Bounded for State {
    fn oldest(&self) -> Option<Instant> {
        let ring = lock(&self.ring);
        if ring.entries.len() < 2 { None } else { ring.entries.front().map(|held| held.arrived) }
    }

    fn drop_oldest(&self) {
        lock(&self.ring).drop_oldest(&self.process);
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.process.shrink(self.ring.get_mut().unwrap_or_else(PoisonError::into_inner).bytes);
    }
}

impl Ring {
    fn drop_oldest(&mut self, process: &Process) {
        let Some(oldest) = self.entries.pop_front() else { return };
        oldest.is_cleared.store(true, Relaxed);
        let bytes = oldest.counted.load(Relaxed);
        self.bytes -= bytes;
        self.dropped += 1;
        process.shrink(bytes);
    }
}

impl Latest {
    fn replace(&mut self, key: u64, id: u64, first: u64, entries: usize) -> Option<u64> {
        // Each entry has at most two keys.
        if self.0.len() > 4 * entries {
            self.0.retain(|_, latest| *latest >= first);
        }
        let latest = self.0.entry(key).or_insert(id);
        let before = (*latest < id).then_some(*latest);
        *latest = id.max(*latest);
        before
    }
}

/// About how many bytes an entry takes.
fn size(entry: &Entry) -> usize {
    const ALLOCATION: usize = 32;
    let texts = entry.target.len() + entry.request_id.len() + entry.namespace.len() + entry.method.len();
    let headers: usize = entry.sent.headers.iter().map(|(name, value)| name.len() + value.len() + 2 * ALLOCATION).sum();
    let body = entry.sent.body.as_ref().map_or(0, |body| body.text().len());
    let steps: usize = entry.decision.steps.iter().map(|step| size_of_val(step) + step.said.len() + ALLOCATION).sum();
    let message = entry.answer.as_ref().and_then(|answer| answer.message.as_ref()).map_or(0, |message| message.len());
    let dropped: usize = entry.sent.dropped_fields.iter().map(|field| field.len() + 2 * ALLOCATION).sum();
    let agents: usize = entry.agents.iter().map(|agent| agent.len() + ALLOCATION).sum();
    let injected: usize = [&entry.reply, &entry.fault].into_iter().flatten().map(weight).sum();
    size_of::<Held>() + 8 * ALLOCATION + texts + headers + body + steps + message + dropped + agents + injected
}

/// About how many bytes a value takes.
fn weight(value: &Value) -> usize {
    const NODE: usize = 72;
    NODE + match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(members) => members.iter().map(|(name, value)| NODE + name.len() + weight(value)).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{BOUNDS, entry::SentBody};

    fn process(bounds: Bounds) -> Process {
        Process::new(bounds)
    }

    fn entry(body: usize) -> Entry {
        let mut entry = Entry::default();
        entry.sent.body = Some(SentBody::Text("x".repeat(body).into()));
        entry
    }

    fn ids(journal: &Journal) -> Vec<u64> {
        let mut ids = Vec::new();
        journal.visit(0, |entry| ids.push(entry.id));
        ids
    }

    #[test]
    fn the_oldest_entries_go_first_and_are_counted() {
        let journal = Journal::new("n", &process(Bounds { entries: 3, ..BOUNDS }));
        for _ in 0..5 {
            journal.add(Entry::default());
        }
        assert_eq!((ids(&journal), journal.dropped(), journal.len()), (vec![3, 4, 5], 2, 3));
        journal.clear();
        journal.add(Entry::default());
        assert_eq!((ids(&journal), journal.dropped(), journal.len()), (vec![6], 2, 1));
    }

    #[test]
    fn the_bytes_of_a_namespace_are_bounded_also_when_entries_grow() {
        let process = process(Bounds { namespace: 100_000, ..BOUNDS });
        let journal = Journal::new("n", &process);
        for _ in 0..20 {
            journal.add(entry(20_000));
            assert!(lock(&journal.0.ring).bytes <= 100_000);
        }
        assert_eq!(ids(&journal), [17, 18, 19, 20]);
        let held = journal.find(20).unwrap();
        journal.change(&held, |grown| *grown = Entry { id: 20, ..entry(70_000) });
        assert_eq!(ids(&journal), [19, 20]);
        journal.change(&held, |grown| *grown = Entry { id: 20, ..entry(200_000) });
        assert_eq!(ids(&journal), [20], "the latest stays");
        let gone = journal.find(20).unwrap();
        journal.clear();
        journal.change(&gone, |grown| *grown = entry(50_000));
        assert_eq!((lock(&journal.0.ring).bytes, process.bytes()), (0, 0));
        journal.add(entry(10));
        assert!(process.bytes() > 0);
        drop((journal, held, gone));
        assert_eq!(process.bytes(), 0);
    }

    #[test]
    fn the_bytes_of_a_process_are_bounded_over_its_namespaces() {
        let process = process(Bounds { process: 100_000, ..BOUNDS });
        let (one, two) = (Journal::new("one", &process), Journal::new("two", &process));
        for journal in [&one, &two, &one, &two] {
            journal.add(entry(20_000));
        }
        assert_eq!((ids(&one), ids(&two)), (vec![1, 2], vec![1, 2]));
        two.add(entry(20_000));
        assert_eq!((ids(&one), ids(&two), one.dropped()), (vec![2], vec![1, 2, 3], 1), "the oldest of all goes");
        two.add(entry(20_000));
        assert_eq!((ids(&one), ids(&two), two.dropped()), (vec![2], vec![2, 3, 4], 1));
    }

    #[test]
    fn the_cursor_passes_by_nothing_that_may_match_later() {
        let journal = Journal::new("n", &process(BOUNDS));
        let finish = |id: u64| {
            journal.change(&journal.find(id).unwrap(), |entry| entry.phase = crate::journal::Phase::Finished);
        };
        let mut filter = Filter::default();
        filter.add("phase", "finished").unwrap();
        let list = |limit| {
            let listing = journal.list(&filter, 0, limit);
            (listing.entries.iter().map(|entry| entry.id).collect::<Vec<_>>(), listing.next)
        };
        assert_eq!(list(10), (vec![], 0));
        (0..4).for_each(|_| drop(journal.add(Entry::default())));
        assert_eq!(list(10), (vec![], 0), "all may match later");
        finish(1);
        assert_eq!(list(10), (vec![1], 1));
        finish(3);
        assert_eq!((list(10), list(1)), ((vec![1, 3], 3), (vec![1], 1)));
        assert_eq!(journal.list(&Filter::default(), 2, 10).next, 4);
        let mut none = Filter::default();
        none.add("code", "internal").unwrap();
        assert_eq!(journal.list(&none, 0, 10).next, 1);
    }

    #[tokio::test]
    async fn listeners_are_bounded_and_told_when_they_lag() {
        let journal = Journal::new("n", &process(Bounds { listeners: 1, ..BOUNDS }));
        let mut listener = journal.listen().unwrap();
        assert!(journal.listen().is_none());
        let held = journal.add(Entry::default());
        journal.change(&held, |entry| entry.phase = crate::journal::Phase::Finished);
        for _ in 0..2 {
            let event = listener.next(&Filter::default()).await;
            assert!(matches!(event, Event::Entry(entry) if entry.id == 1));
        }
        (0..EVENTS + 10).for_each(|_| drop(journal.add(Entry::default())));
        assert!(matches!(listener.next(&Filter::default()).await, Event::Lagged(10)));
        drop(listener);
        assert!(journal.listen().is_some());
    }
}
