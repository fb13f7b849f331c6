//! The replies of a world: which there are, how often each was used, and which is chosen for a model step.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Limits, MOST_REPLIES,
    criteria::{Facts, Situation},
    definition::Reply,
    listing::{Entry, Listing, Source, Unmatched},
    mistake::Mistake,
    near_misses::NearMisses,
    parse::{Definitions, Script, read_list},
    saved::{SavedReplies, SavedReply},
};
use crate::error::ApiError;

/// The state of a namespace in which no reply was chosen.
const FIRST_STATE: &str = "started";

/// For how many turns the choices are remembered, in case a client repeats them.
const MOST_TURNS: usize = 1_000;

/// The replies of a world. Cheap to clone; all clones are the same replies.
#[derive(Clone, Debug)]
pub(crate) struct Replies(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    book: Mutex<Book>,
    /// What the seed calls things: names by id.
    refs: RwLock<Refs>,
}

#[derive(Debug)]
struct Book {
    listing: Arc<Listing>,
    state: Arc<str>,
    unmatched: Unmatched,
    turns: Turns,
    /// The number of the next call that adds replies, and of the next reply without an id.
    next_batch: u64,
    next_id: u64,
}

#[derive(Debug, Default)]
struct Refs {
    names: HashMap<Box<str>, Box<str>>,
    ids: HashMap<Box<str>, Box<str>>,
    /// The ids of those that had turns.
    touched: HashSet<Box<str>>,
}

/// The latest turns of requests that may be repeated.
#[derive(Debug, Default)]
struct Turns {
    by_key: HashMap<Box<str>, Arc<TurnReplies>>,
    order: VecDeque<Box<str>>,
}

/// The replies that are chosen for the model steps of a turn. A turn that repeats another one shares them, so that it gets
/// the same replies again, and they count once.
#[derive(Debug, Default)]
pub(crate) struct TurnReplies {
    steps: Mutex<Vec<Option<Chosen>>>,
    /// The number of the user's turn.
    pub(crate) number: OnceLock<u64>,
}

/// A reply that was chosen for a model step.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    entry: Arc<Entry>,
    /// The first of its steps that is left.
    pub(crate) position: usize,
    /// The groups of its regular expression, by number.
    pub(crate) groups: Arc<[Option<Box<str>>]>,
}

impl Chosen {
    /// The reply.
    pub(crate) fn reply(&self) -> &Reply {
        &self.entry.reply
    }

    /// Whether it is from a script.
    pub(crate) fn is_of_script(&self) -> bool {
        self.entry.source == Source::File
    }

    fn of(entry: &Arc<Entry>, position: usize, text: &str) -> Self {
        let captures = entry.reply.user().and_then(|user| user.captures(text));
        let groups = captures.iter().flat_map(regex::Captures::iter);
        let groups = groups.map(|group| group.map(|group| group.as_str().into())).collect();
        Self { entry: Arc::clone(entry), position, groups }
    }
}

/// The reply of a turn that waits for a decision, as it is stored with the calls that wait.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct PausedReply {
    /// The id of the reply.
    pub(crate) id: String,
    /// The first of its steps that is left.
    pub(crate) position: usize,
}

/// How a model step follows the ones before.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Continues<'a> {
    /// It is the first one after a message of the user.
    Begin,
    /// It follows another one of the turn.
    Step,
    /// It is the first one after the decision about the calls of an earlier turn, which had this reply.
    Decision(Option<&'a PausedReply>),
}

impl Replies {
    /// The replies of a script, as a world begins with them.
    pub(crate) fn new(script: Option<&Script>) -> Self {
        Self::restore(&SavedReplies::default(), script)
    }

    /// The replies that were saved. If they have no script, `script` is theirs.
    pub(crate) fn restore(saved: &SavedReplies, script: Option<&Script>) -> Self {
        let restored = |source: Source| {
            move |SavedReply { reply, batch, hits }: &SavedReply| {
                Arc::new(Entry::new(Arc::clone(reply), source, *batch, *hits))
            }
        };
        let mut entries: Vec<Arc<Entry>> = saved.run_time.iter().map(restored(Source::RunTime)).collect();
        let next_batch = entries.iter().map(|entry| entry.batch + 1).max().unwrap_or(1);
        match (&saved.script, script) {
            (Some(saved), _) => entries.extend(saved.iter().map(restored(Source::File))),
            (None, Some(script)) => {
                let replies = script.replies.iter();
                entries.extend(replies.map(|reply| Arc::new(Entry::new(Arc::clone(reply), Source::File, 0, 0))));
            }
            (None, None) => {}
        }
        let of_script = script.and_then(|script| script.unmatched);
        let book = Book {
            listing: Arc::new(Listing::new(entries)),
            state: saved.state.as_deref().unwrap_or(FIRST_STATE).into(),
            unmatched: saved.unmatched.or(of_script).unwrap_or_default(),
            turns: Turns::default(),
            next_batch,
            next_id: saved.next_id.max(1),
        };
        Self(Arc::new(Shared { book: Mutex::new(book), refs: RwLock::default() }))
    }

    /// The replies as they are now.
    pub(crate) fn save(&self) -> SavedReplies {
        let book = self.book();
        let saved = |source: Source| {
            let entries = book.listing.entries().iter().filter(move |entry| entry.source == source);
            let saved = entries.map(|entry| SavedReply {
                reply: Arc::clone(&entry.reply),
                batch: entry.batch,
                hits: entry.hits(),
            });
            saved.collect()
        };
        SavedReplies {
            run_time: saved(Source::RunTime),
            script: Some(saved(Source::File)),
            unmatched: Some(book.unmatched),
            state: Some(book.state.to_string()),
            next_id: book.next_id,
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.0.book)
    }

    /// Adds replies at run time, before all that there are, unless their priority says otherwise. One of the same id is
    /// replaced. Returns their ids.
    ///
    /// # Errors
    /// If there are too many, or two of the same id.
    pub(crate) fn add(&self, replies: Vec<Reply>) -> Result<Vec<String>, Mistake> {
        let mut book = self.book();
        let entries = book.listing.entries().to_vec();
        book.extend(entries, replies, Source::RunTime)
    }

    /// Replaces all replies by those of a script. Returns their ids.
    ///
    /// # Errors
    /// If there are two of the same id.
    pub(crate) fn set_script(&self, script: Definitions) -> Result<Vec<String>, Mistake> {
        let mut book = self.book();
        let ids = book.extend(Vec::new(), script.replies, Source::File)?;
        book.unmatched = script.unmatched.unwrap_or(book.unmatched);
        Ok(ids)
    }

    /// Removes replies: all, or all of one source.
    pub(crate) fn remove_all(&self, source: Option<Source>) {
        let mut book = self.book();
        book.retain(|entry| source.is_some_and(|source| entry.source != source));
    }

    /// Removes a reply. It does not matter whether there is one.
    pub(crate) fn remove(&self, id: &str) {
        self.book().retain(|entry| entry.reply.id != id);
    }

    /// The replies, in the order in which they are tried.
    pub(crate) fn to_json(&self) -> Value {
        let book = self.book();
        let replies: Vec<Value> = book.listing.entries().iter().map(|entry| entry.to_json()).collect();
        json!({"replies": replies, "unmatched": book.unmatched})
    }

    /// The ids of those that were never chosen.
    pub(crate) fn unused(&self) -> Vec<String> {
        let book = self.book();
        let unused = book.listing.entries().iter().filter(|entry| entry.hits() == 0);
        unused.map(|entry| entry.reply.id.clone()).collect()
    }

    /// Each reply: its id, whether it is of the script, and whether it was ever chosen.
    pub(crate) fn uses(&self) -> Vec<(String, bool, bool)> {
        let book = self.book();
        let all = book.listing.entries().iter();
        all.map(|entry| (entry.reply.id.clone(), entry.source == Source::File, entry.hits() > 0)).collect()
    }

    /// What agents say if no reply fits.
    pub(crate) fn unmatched(&self) -> Unmatched {
        self.book().unmatched
    }

    /// Sets what agents say if no reply fits.
    pub(crate) fn set_unmatched(&self, unmatched: Unmatched) {
        self.book().unmatched = unmatched;
    }

    /// The state of the namespace.
    pub(crate) fn state(&self) -> Arc<str> {
        Arc::clone(&self.book().state)
    }

    /// Sets the state of the namespace.
    pub(crate) fn set_state(&self, state: &str) {
        self.book().state = state.into();
    }

    /// Sets what the seed calls things, as pairs of id and name.
    pub(crate) fn set_refs(&self, refs: impl IntoIterator<Item = (String, String)>) {
        let mut own = self.0.refs.write().unwrap_or_else(PoisonError::into_inner);
        (own.names, own.ids) = Default::default();
        for (id, name) in refs {
            own.ids.insert(name.as_str().into(), id.as_str().into());
            own.names.insert(id.into(), name.into());
        }
    }

    /// The id of what the seed calls so.
    pub(crate) fn id_of(&self, reference: &str) -> Option<Box<str>> {
        self.0.refs.read().unwrap_or_else(PoisonError::into_inner).ids.get(reference).cloned()
    }

    /// Whether something had a turn.
    pub(crate) fn has_touched(&self, id: &str) -> bool {
        self.0.refs.read().unwrap_or_else(PoisonError::into_inner).touched.contains(id)
    }

    /// Begins a turn of an agent. `key` names the request, the same for each attempt of it; `None` for one that cannot be
    /// repeated.
    pub(crate) fn begin_turn(&self, key: Option<Box<str>>, agent_id: &str) -> Arc<TurnReplies> {
        {
            let refs = self.0.refs.read().unwrap_or_else(PoisonError::into_inner);
            let is_new = refs.names.contains_key(agent_id) && !refs.touched.contains(agent_id);
            drop(refs);
            if is_new {
                self.0.refs.write().unwrap_or_else(PoisonError::into_inner).touched.insert(agent_id.into());
            }
        }
        match key {
            Some(key) => self.book().turns.begin(key),
            None => Arc::default(),
        }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.book().listing.entries().is_empty()
    }

    /// Whether replies refer to the number of the user's turn.
    pub(crate) fn need_turn_number(&self) -> bool {
        self.book().listing.needs_turn
    }

    /// Chooses the reply for the `step`th model step of a turn; `None` if none fits.
    pub(crate) fn choose(
        &self,
        turn: &TurnReplies,
        step: usize,
        facts: &Facts<'_>,
        continues: Continues<'_>,
    ) -> Option<Chosen> {
        // Held until the choice is made, so that of two attempts at the same time one makes it.
        let mut steps = lock(&turn.steps);
        if let Some(Some(chosen)) = steps.get(step) {
            return Some(chosen.clone());
        }
        let before = match continues {
            Continues::Step => step.checked_sub(1).and_then(|before| steps.get(before)?.as_ref()).map(|chosen| {
                let position = chosen.reply().end_of_model_step(chosen.position);
                Chosen { position, ..chosen.clone() }
            }),
            Continues::Decision(paused) => paused.and_then(|paused| self.paused(paused, facts.text)),
            Continues::Begin => None,
        };
        let only_late = !matches!(continues, Continues::Begin);
        let current = before.as_ref().map(|chosen| &chosen.entry);
        let found = self.take(facts, only_late, current).map(|entry| Chosen::of(&entry, 0, facts.text));
        let chosen = found.or(before);
        if steps.len() <= step {
            steps.resize(step + 1, None);
        }
        if let Some(place) = steps.get_mut(step) {
            place.clone_from(&chosen);
        }
        chosen
    }

    /// The reply of an earlier turn that waited for a decision.
    fn paused(&self, paused: &PausedReply, text: &str) -> Option<Chosen> {
        let listing = Arc::clone(&self.book().listing);
        let entry = listing.entries().iter().find(|entry| entry.reply.id == paused.id)?;
        Some(Chosen::of(entry, paused.position, text))
    }

    /// Finds the reply that fits, and counts its use. A reply does not take over from itself.
    fn take(&self, facts: &Facts<'_>, only_late: bool, current: Option<&Arc<Entry>>) -> Option<Arc<Entry>> {
        loop {
            let (listing, state) = {
                let book = self.book();
                (Arc::clone(&book.listing), Arc::clone(&book.state))
            };
            let found = self.within(facts, &state, |situation| listing.find(situation, only_late).cloned())?;
            if current.is_some_and(|current| current.reply.id == found.reply.id) {
                return None;
            }
            let mut book = self.book();
            // Meanwhile another turn may have used it up, or have changed the state.
            if found.is_used_up() || found.reply.state().is_some_and(|state| *state != *book.state) {
                continue;
            }
            found.count_hit();
            if let Some(next_state) = &found.reply.next_state {
                book.state = (&**next_state).into();
            }
            return Some(found);
        }
    }

    /// Why no reply fits. `is_thorough`: all replies are looked at, also where there are many.
    pub(crate) fn near_misses(&self, facts: &Facts<'_>, is_thorough: bool) -> NearMisses {
        let (listing, state) = {
            let book = self.book();
            (Arc::clone(&book.listing), Arc::clone(&book.state))
        };
        self.within(facts, &state, |situation| NearMisses::of(&listing, situation, is_thorough))
    }

    fn within<T>(&self, facts: &Facts<'_>, state: &str, judge: impl FnOnce(&Situation<'_>) -> T) -> T {
        let refs = self.0.refs.read().unwrap_or_else(PoisonError::into_inner);
        let name = |id: &str| refs.names.get(id).map(|name| &**name);
        let refs = [name(facts.agent_id), name(facts.conversation)];
        judge(&Situation { facts, state, refs })
    }
}

impl SavedReplies {
    /// Reads replies as a namespace is created with them: `replies`, which are at `pointer` in the body, and `unmatched`.
    ///
    /// # Errors
    /// 422 `script_invalid` with the place.
    pub(crate) fn read(replies: Vec<Value>, unmatched: Option<&str>, pointer: &str) -> Result<Self, ApiError> {
        let unmatched = unmatched.map(|word| Unmatched::read(word, "/unmatched")).transpose()?;
        let added = Replies::new(None);
        let replies = read_list(replies, "", Limits::HTTP).map_err(|mistake| mistake.within(pointer))?;
        if !replies.is_empty() {
            added.add(replies).map_err(|mistake| mistake.within(pointer))?;
        }
        Ok(Self { script: None, unmatched, ..added.save() })
    }
}

impl Book {
    /// Adds replies to entries, and makes the result the listing.
    fn extend(
        &mut self,
        mut entries: Vec<Arc<Entry>>,
        mut replies: Vec<Reply>,
        source: Source,
    ) -> Result<Vec<String>, Mistake> {
        let given: HashSet<&str> = replies.iter().map(|reply| reply.id.as_str()).filter(|id| !id.is_empty()).collect();
        entries.retain(|entry| !given.contains(entry.reply.id.as_str()));
        let taken = |id: &str| given.contains(id) || entries.iter().any(|entry| entry.reply.id == id);
        let word = if source == Source::File { "script" } else { "reply" };
        let mut next_id = if source == Source::File { 1 } else { self.next_id };
        let mut ids = Vec::with_capacity(replies.len());
        for reply in &replies {
            ids.push(if reply.id.is_empty() {
                loop {
                    let id = format!("{word}-{next_id}");
                    next_id += 1;
                    if !taken(&id) {
                        break id;
                    }
                }
            } else {
                reply.id.clone()
            });
        }
        if entries.len() + replies.len() > MOST_REPLIES {
            let problem = format!("a namespace has at most {MOST_REPLIES} replies; it would have more");
            return Err(Mistake::new("", problem));
        }
        if source == Source::RunTime {
            self.next_id = next_id;
        }
        for (reply, id) in replies.iter_mut().zip(&ids) {
            reply.set_id(id);
        }
        let batch = self.next_batch;
        self.next_batch += 1;
        entries.extend(replies.into_iter().map(|reply| Arc::new(Entry::new(Arc::new(reply), source, batch, 0))));
        self.listing = Arc::new(Listing::new(entries));
        Ok(ids)
    }

    fn retain(&mut self, keep: impl Fn(&Entry) -> bool) {
        let kept = self.listing.entries().iter().filter(|entry| keep(entry)).cloned().collect();
        self.listing = Arc::new(Listing::new(kept));
    }
}

impl Turns {
    fn begin(&mut self, key: Box<str>) -> Arc<TurnReplies> {
        if let Some(turn) = self.by_key.get(&key) {
            return Arc::clone(turn);
        }
        while self.order.len() >= MOST_TURNS {
            if let Some(oldest) = self.order.pop_front() {
                self.by_key.remove(&oldest);
            }
        }
        let turn = Arc::<TurnReplies>::default();
        self.by_key.insert(key.clone(), Arc::clone(&turn));
        self.order.push_back(key);
        turn
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
