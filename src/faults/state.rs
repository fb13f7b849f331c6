//! The faults of a world, and which of them hits a request.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Value, json};

use super::{
    chosen::Chosen,
    condition::{Concern, Seen},
    definition::Definition,
    dice::Dice,
    reading::{invalid, read_list},
    report::Report,
};
use crate::{
    entropy,
    error::ApiError,
    journal::{CallerKind, Entry, FaultNote},
    world::{IdStyle, World},
};

/// The most faults of a namespace.
pub(crate) const MOST_FAULTS: usize = 100;

/// How many decisions are remembered for the attempts that repeat a request.
const MOST_DECISIONS: usize = 1_000;

/// The faults of a world. Cheap to clone; all clones are the same faults.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// How many there are.
    count: AtomicUsize,
    /// How many act before the guard decides.
    before_guard: AtomicUsize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Those with a smaller priority first, then the newest.
    faults: Vec<Held>,
    /// The number of the next one.
    next: u64,
    /// Makes the chances of a namespace without a seed.
    salt: Option<String>,
    decisions: VecDeque<Decision>,
}

/// What was decided about a request.
#[derive(Clone, Debug)]
struct Decision {
    entry: u64,
    fault: Option<Arc<str>>,
}

#[derive(Debug)]
struct Held {
    id: Arc<str>,
    number: u64,
    definition: Arc<Definition>,
    /// How many requests it concerned.
    matched: u64,
    fired: u64,
}

/// Faults, and how often each has fired.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SavedFaults {
    faults: Vec<SavedFault>,
    next: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SavedFault {
    id: String,
    number: u64,
    #[serde(deserialize_with = "checked")]
    definition: Definition,
    matched: u64,
    fired: u64,
}

/// A snapshot may come from elsewhere.
fn checked<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Definition, D::Error> {
    let definition = Definition::deserialize(deserializer)?;
    match definition.check() {
        Ok(()) => Ok(definition),
        Err(mistake) => Err(de::Error::custom(format!("{}: {}", mistake.at, mistake.problem))),
    }
}

/// A request that a fault may hit.
pub(crate) struct Attempt<'a> {
    /// Its entry in the journal.
    pub(crate) entry: &'a Entry,
    /// Whose request it is, and the client token's id. Before the guard has decided, the entry does not say.
    pub(crate) caller: CallerKind,
    pub(crate) jti: Option<&'a str>,
    /// The conversation that its path names.
    pub(crate) conversation: Option<&'a str>,
    /// Whether its path names a thing of an agent that was not looked up.
    pub(crate) has_unknown_agent: bool,
    /// The name of its agent, if that was looked up.
    pub(crate) agent_name: Option<&'a str>,
}

impl Attempt<'_> {
    fn seen(&self) -> Seen<'_> {
        let Self { entry, caller, jti, conversation, has_unknown_agent, agent_name } = *self;
        Seen { entry, caller, jti, conversation, has_unknown_agent, agent_name }
    }

    /// Whether the SDK says that it tries again.
    fn says_retry(&self) -> bool {
        let count = self.entry.sent.headers.get("x-stainless-retry-count");
        count.and_then(|count| count.parse::<u32>().ok()).is_some_and(|count| count > 0)
    }

    fn is_retry(&self) -> bool {
        self.entry.retry_of.is_some() || self.says_retry()
    }
}

/// What the faults say about a request before its details are known.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Interest {
    /// None concerns it.
    None,
    /// At least one does.
    Some,
    /// One may, by the agent or its name.
    Agent,
}

/// When a fault is decided about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stage {
    /// Before the guard decides: those of a client token.
    BeforeGuard,
    /// Once the request is admitted.
    Admitted,
}

impl Faults {
    /// The faults that were saved.
    pub(crate) fn restore(saved: &SavedFaults) -> Self {
        let SavedFaults { faults, next, salt } = saved;
        let held = faults.iter().map(|saved| Held {
            id: saved.id.as_str().into(),
            number: saved.number,
            definition: Arc::new(saved.definition.clone()),
            matched: saved.matched,
            fired: saved.fired,
        });
        let inner = Inner { faults: held.collect(), next: *next, salt: salt.clone(), decisions: VecDeque::new() };
        let state = State { inner: Mutex::new(inner), ..State::default() };
        let faults = Self(Arc::new(state));
        faults.changed(&mut faults.lock());
        faults
    }

    /// The faults as they are now.
    pub(crate) fn save(&self) -> SavedFaults {
        let inner = self.lock();
        let faults = inner.faults.iter().map(|held| SavedFault {
            id: held.id.to_string(),
            number: held.number,
            definition: (*held.definition).clone(),
            matched: held.matched,
            fired: held.fired,
        });
        SavedFaults { faults: faults.collect(), next: inner.next, salt: inner.salt.clone() }
    }

    /// Adds faults, all or none, and returns their ids.
    ///
    /// # Errors
    /// 422 when an id is taken or there are too many.
    pub(crate) fn add(&self, definitions: Vec<Definition>) -> Result<Vec<String>, ApiError> {
        let mut inner = self.lock();
        let ids = inner.add(definitions, "")?;
        self.changed(&mut inner);
        Ok(ids)
    }

    /// Each fault, the first that would fire first.
    pub(crate) fn list(&self) -> Value {
        let inner = self.lock();
        let shown = inner.faults.iter().map(|held| {
            let left = held.definition.occasion.left(held.matched);
            json!({"id": &*held.id, "fired": held.fired, "left": left, "definition": &*held.definition})
        });
        shown.collect()
    }

    /// The ids of those that have never fired, but for those that leave it to chance.
    pub(crate) fn unused(&self) -> Vec<String> {
        self.uses().into_iter().filter(|(_, has_fired)| !has_fired).map(|(id, _)| id).collect()
    }

    /// Each fault that does not leave it to chance: its id, and whether it has ever fired.
    pub(crate) fn uses(&self) -> Vec<(String, bool)> {
        let inner = self.lock();
        let certain = inner.faults.iter().filter(|held| held.definition.occasion.is_certain());
        certain.map(|held| (held.id.to_string(), held.fired > 0)).collect()
    }

    /// Removes one, if there is one of this id.
    pub(crate) fn remove(&self, id: &str) {
        let mut inner = self.lock();
        inner.faults.retain(|held| *held.id != *id);
        self.changed(&mut inner);
    }

    /// Removes all.
    pub(crate) fn clear(&self) {
        let mut inner = self.lock();
        inner.faults.clear();
        inner.decisions.clear();
        self.changed(&mut inner);
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.count.load(Relaxed) == 0
    }

    /// Whether any acts before the guard decides.
    pub(crate) fn act_before_guard(&self) -> bool {
        self.0.before_guard.load(Relaxed) > 0
    }

    /// Whether any concerns a request.
    pub(crate) fn interest(&self, attempt: &Attempt<'_>, stage: Stage) -> Interest {
        let seen = attempt.seen();
        let inner = self.lock();
        let concerns = inner.faults.iter().filter(|held| held.stage() == stage);
        concerns.fold(Interest::None, |interest, held| match held.definition.place.concerns(&seen) {
            Concern::No => interest,
            Concern::Yes => interest.max(Interest::Some),
            Concern::ByName => Interest::Agent,
        })
    }

    /// The fault that hits a request.
    pub(crate) fn choose(&self, attempt: &Attempt<'_>, world: &World, note: FaultNote, stage: Stage) -> Option<Chosen> {
        let mut inner = self.lock();
        let seed = inner.seed(world);
        let shared = attempt.entry.retry_of.and_then(|first| inner.decision(first));
        let chosen = match shared {
            // The first attempt was not hit.
            Some(Decision { fault: None, .. }) if stage == Stage::Admitted => {
                inner.first_hit(attempt, &seed, stage, Sharing::OwnOnly)
            }
            Some(Decision { fault: Some(id), .. }) => inner.again(&id, attempt, &seed, stage),
            _ => inner.first_hit(attempt, &seed, stage, Sharing::All),
        };
        let fault = chosen.as_ref().map(|(id, ..)| Arc::clone(id));
        // A request whose token has no fault is decided about once more.
        if stage == Stage::Admitted || fault.is_some() {
            inner.remember(attempt.entry.id, fault);
        }
        drop(inner);
        let (id, definition, fired, dice) = chosen?;
        let report = Report::new(note, &id, fired);
        Some(Chosen::new(definition, id, dice, report))
    }

    fn changed(&self, inner: &mut Inner) {
        inner.faults.sort_by_key(|held| (held.definition.priority, u64::MAX - held.number));
        self.0.count.store(inner.faults.len(), Relaxed);
        let before_guard = inner.faults.iter().filter(|held| held.stage() == Stage::BeforeGuard).count();
        self.0.before_guard.store(before_guard, Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which faults may hit a request that repeats another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sharing {
    /// All of those that are not for first attempts alone.
    All,
    /// Those for which each attempt counts.
    OwnOnly,
}

type Hit = (Arc<str>, Arc<Definition>, u64, Dice);

impl Inner {
    fn add(&mut self, definitions: Vec<Definition>, pointer: &str) -> Result<Vec<String>, ApiError> {
        if self.faults.len() + definitions.len() > MOST_FAULTS {
            let problem = format!("a namespace has at most {MOST_FAULTS} faults; delete some");
            return Err(invalid(pointer, &problem));
        }
        let (mut added, mut next): (Vec<Held>, u64) = (Vec::new(), self.next);
        for mut definition in definitions {
            let is_taken = |id: &str| self.faults.iter().chain(&added).any(|held| *held.id == *id);
            next += 1;
            let id = match &definition.id {
                Some(id) if is_taken(id) => {
                    return Err(invalid(&format!("{pointer}/id"), &format!("there is a fault {id}; delete it first")));
                }
                Some(id) => id.clone(),
                None => {
                    let mut id = format!("fault-{next}");
                    while is_taken(&id) {
                        next += 1;
                        id = format!("fault-{next}");
                    }
                    id
                }
            };
            definition.id = Some(id.clone());
            let (id, definition) = (id.into(), Arc::new(definition));
            added.push(Held { id, number: next, definition, matched: 0, fired: 0 });
        }
        let ids = added.iter().map(|held| held.id.to_string()).collect();
        self.next = next;
        self.faults.append(&mut added);
        Ok(ids)
    }

    /// What chances are made from.
    fn seed(&mut self, world: &World) -> String {
        match world.id_style() {
            IdStyle::Seed(text) => text.clone(),
            IdStyle::Count => "count".into(),
            IdStyle::Random => self.salt.get_or_insert_with(|| hex::encode(entropy::bytes::<8>())).clone(),
        }
    }

    fn decision(&self, entry: u64) -> Option<Decision> {
        self.decisions.iter().rev().find(|decision| decision.entry == entry).cloned()
    }

    fn remember(&mut self, entry: u64, fault: Option<Arc<str>>) {
        if self.decisions.len() >= MOST_DECISIONS {
            self.decisions.pop_front();
        }
        self.decisions.push_back(Decision { entry, fault });
    }

    /// The first fault that hits a request. All that concern it count it.
    fn first_hit(&mut self, attempt: &Attempt<'_>, seed: &str, stage: Stage, sharing: Sharing) -> Option<Hit> {
        let (request, is_retry) = (attempt.seen(), attempt.is_retry());
        let mut hit: Option<Hit> = None;
        for held in self.faults.iter_mut().filter(|held| held.stage() == stage) {
            let occasion = &held.definition.occasion;
            let counts = match occasion.retry {
                Some(true) => true,
                Some(false) => !is_retry,
                None => sharing == Sharing::All,
            };
            if !counts || held.definition.place.concerns(&request) != Concern::Yes {
                continue;
            }
            held.matched += 1;
            let mut dice = Dice::of(seed, &held.id, held.matched);
            if hit.is_none() && held.definition.occasion.hits(held.matched, dice.fraction()) {
                held.fired += 1;
                hit = Some((Arc::clone(&held.id), Arc::clone(&held.definition), held.fired, dice));
            }
        }
        hit
    }

    /// The fault that has hit the first attempt, for one that repeats it.
    fn again(&mut self, id: &str, attempt: &Attempt<'_>, seed: &str, stage: Stage) -> Option<Hit> {
        let found = self.faults.iter_mut().find(|held| *held.id == *id);
        match found {
            Some(held) if held.definition.occasion.retry.is_none() => {
                if held.stage() != stage {
                    return None;
                }
                held.fired += 1;
                let dice = Dice::of(seed, &held.id, held.matched);
                Some((Arc::clone(&held.id), Arc::clone(&held.definition), held.fired, dice))
            }
            // It hits no repeats, or counts them; others that count them may hit this one.
            Some(_) => self.first_hit(attempt, seed, stage, Sharing::OwnOnly),
            // It was deleted since.
            None => self.first_hit(attempt, seed, stage, Sharing::All),
        }
    }
}

impl Held {
    fn stage(&self) -> Stage {
        match &self.definition.effect.token {
            Some(token) if token.is_before_guard() => Stage::BeforeGuard,
            _ => Stage::Admitted,
        }
    }
}

impl SavedFaults {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.faults.len()
    }

    /// Reads faults as a namespace is created with them, which are at `pointer` in the body.
    ///
    /// # Errors
    /// 422 `fault_invalid` with the place.
    pub(crate) fn read(faults: Vec<Value>, pointer: &str) -> Result<Self, ApiError> {
        let (read, all) = (read_list(faults, pointer)?, Faults::default());
        all.lock().add(read, pointer)?;
        Ok(all.save())
    }
}
