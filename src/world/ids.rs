//! Ids that are derived, not drawn, so that the same requests get the same ids.
//!
//! An id is made of the world's seed, what it belongs to, its kind, and its number among those. What it belongs to is its
//! scope: an operation on a parent (the agent, conversation or other thing in the path, or for a thing without a parent
//! its own name) and how often that operation was asked for there, or a run. So an id depends neither on the order in
//! which independent requests arrive nor on ids that others draw.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

/// How ids are made.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IdStyle {
    /// At random.
    #[default]
    Random,
    /// Derived from this text.
    Seed(String),
    /// Counted for each kind, for people who read them.
    Count,
}

#[derive(Debug)]
pub(super) struct Ids {
    style: IdStyle,
    /// How often each scope was opened, by the name of the scope, and how many ids of each kind there are if they are
    /// counted. Names are hashed, so that an entry has a fixed size.
    counters: Mutex<HashMap<Key, u64>>,
}

type Key = [u8; 16];

/// The counters of a world.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedIds {
    style: IdStyle,
    counters: BTreeMap<String, u64>,
}

/// What an id is made of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Drawn {
    /// Bits that differ for each id.
    pub(crate) bytes: [u8; 16],
    /// Its number, if ids are counted.
    pub(crate) number: Option<u64>,
}

/// What the ids of a request or of a run belong to.
#[derive(Debug, Default)]
pub(super) struct IdScope {
    name: Mutex<Option<String>>,
    /// The name and its number among scopes of that name, once an id was drawn.
    key: OnceLock<Key>,
    counts: Mutex<ScopeCounts>,
}

pub(super) type ScopeCounts = HashMap<Box<str>, u64>;

impl Ids {
    pub(super) fn new(style: IdStyle) -> Self {
        Self { style, counters: Mutex::default() }
    }

    pub(super) fn restore(saved: &SavedIds) -> Self {
        let key = |text: &str| {
            let mut key = Key::default();
            hex::decode_to_slice(text, &mut key).ok().map(|()| key)
        };
        let counters = saved.counters.iter().filter_map(|(text, count)| Some((key(text)?, *count))).collect();
        Self { style: saved.style.clone(), counters: Mutex::new(counters) }
    }

    pub(super) fn save(&self) -> SavedIds {
        let counters = lock(&self.counters).iter().map(|(key, count)| (hex::encode(key), *count)).collect();
        SavedIds { style: self.style.clone(), counters }
    }

    pub(super) fn style(&self) -> &IdStyle {
        &self.style
    }

    pub(super) fn are_derived(&self) -> bool {
        self.style != IdStyle::Random
    }

    pub(super) fn draw(&self, kind: &str, scope: &IdScope) -> Option<Drawn> {
        let bytes = self.draw_bytes(kind, scope)?;
        let number = (self.style == IdStyle::Count).then(|| self.next(digest(&[b"kind", kind.as_bytes()])) + 1);
        Some(Drawn { bytes, number })
    }

    pub(super) fn draw_bytes(&self, kind: &str, scope: &IdScope) -> Option<[u8; 16]> {
        let seed = match &self.style {
            IdStyle::Random => return None,
            IdStyle::Seed(seed) => seed.as_str(),
            IdStyle::Count => "",
        };
        let key = scope.key.get_or_init(|| {
            let name = digest(&[b"scope", lock(&scope.name).as_deref().unwrap_or_default().as_bytes()]);
            digest(&[&name, &self.next(name).to_be_bytes()])
        });
        let number = {
            let mut counts = lock(&scope.counts);
            let count = counts.entry(kind.into()).or_default();
            *count += 1;
            *count
        };
        Some(digest(&[seed.as_bytes(), key, kind.as_bytes(), &number.to_be_bytes()]))
    }

    /// How often this was called before.
    fn next(&self, key: Key) -> u64 {
        let mut counters = lock(&self.counters);
        let count = counters.entry(key).or_default();
        *count += 1;
        *count - 1
    }
}

impl IdScope {
    pub(super) fn of(parent: &str) -> Self {
        Self { name: Mutex::new(Some(parent.to_owned())), ..Self::default() }
    }

    pub(super) fn name(&self, name: impl FnOnce() -> String) {
        lock(&self.name).get_or_insert_with(name);
    }

    pub(super) fn qualify(&self, word: &str) {
        if let Some(name) = &mut *lock(&self.name) {
            let _ = write!(name, " {word}");
        }
    }

    pub(super) fn counts(&self) -> ScopeCounts {
        lock(&self.counts).clone()
    }

    pub(super) fn rewind(&self, counts: &ScopeCounts) {
        lock(&self.counts).clone_from(counts);
    }
}

/// The first half of the SHA-256 of some parts, each with its length before it.
fn digest(parts: &[&[u8]]) -> Key {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&part.len().to_be_bytes());
        context.update(part);
    }
    let mut key = Key::default();
    key.copy_from_slice(&context.finish().as_ref()[..16]);
    key
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
