//! One namespace: the application that is in use, what it was defined as, and its snapshots.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use serde::Serialize;

use super::{
    DEFAULT, Definition, Injected, Refs, Seeded,
    build::{Blueprint, Credentials, Live, StoredKey},
    prepared::Used,
    snapshot::{SavedState, Snapshots},
};
use crate::{
    clock,
    credentials::PlainApiKey,
    error::{ApiError, Code},
    http::{Activity, App, Backend},
    journal::{self, Journal},
    replies::Replies,
    store::RowCounts,
    verdicts::{Ledger, Prepared, Verdicts},
    world::{self, IdStyle, Micros, World},
};

/// How many signing keys of earlier worlds still lead to their namespace, whose journal then shows their refusal.
const MOST_HEADERS: usize = 64;

/// A namespace.
pub(crate) struct Namespace {
    name: Box<str>,
    /// Whether its store is on disk: the default namespace of a persistent instance.
    is_persistent: bool,
    /// The API key; the default namespace has none of its own. It is kept to be shown again to those who may create
    /// namespaces.
    pub(super) key: Option<(StoredKey, Arc<PlainApiKey>)>,
    pub(super) definition: Definition,
    live: RwLock<Live>,
    pub(super) contents: Mutex<Contents>,
    /// Held while the namespace is created, reset, restored or deleted.
    pub(super) change: Arc<tokio::sync::Mutex<()>>,
    created_at: Micros,
    pub(super) activity: Activity,
    journal: Journal,
    verdicts: Verdicts,
}

/// What changes while the namespace lives.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) refs: Refs,
    /// What a reset to the seed returns to; `None` for an empty world.
    pub(super) seed: Option<Seeded>,
    pub(super) snapshots: Snapshots,
    /// The first segments of its client tokens, newest last.
    pub(super) headers: VecDeque<String>,
    /// What was used in the worlds before.
    pub(super) used: Used,
}

/// What is told about a namespace.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    name: Box<str>,
    persistent: bool,
    ids: IdStyleName,
    key_id: Option<String>,
    counts: RowCounts,
    /// How many streams are open.
    streams: usize,
    snapshots: usize,
    refs: Refs,
    created_at: String,
    last_used_at: String,
    idle_ttl: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum IdStyleName {
    Word(&'static str),
    Seed(String),
}

impl Namespace {
    pub(super) fn new(
        name: &str,
        is_persistent: bool,
        key: Option<(StoredKey, Arc<PlainApiKey>)>,
        definition: Definition,
        live: Live,
        change: Arc<tokio::sync::Mutex<()>>,
        ledger: &Ledger,
    ) -> Self {
        let activity = live.app.activity.clone().unwrap_or_else(Activity::new);
        let journal = live.app.journal.clone().unwrap_or_else(|| journal::Process::default().journal(name));
        let headers = live.app.tokens.keyring.token_headers().into();
        Self {
            name: name.into(),
            is_persistent,
            key,
            definition,
            live: RwLock::new(live),
            contents: Mutex::new(Contents { headers, ..Contents::default() }),
            change,
            created_at: world::real_now(),
            activity,
            verdicts: Verdicts::on(&journal, ledger.clone()),
            journal,
        }
    }

    /// The verdicts on its clients, which outlast its worlds.
    #[must_use]
    pub(crate) fn verdicts(&self) -> &Verdicts {
        &self.verdicts
    }

    /// Its journal, which outlasts its worlds.
    #[must_use]
    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The replies of its world.
    #[must_use]
    pub(crate) fn replies(&self) -> Replies {
        match &self.app().backend {
            Backend::Mock(mock) => mock.replies().clone(),
            Backend::Gateway(_) => Replies::new(None),
        }
    }

    /// What a test has prepared in it, and whether it was used.
    pub(crate) fn prepared(&self) -> Prepared {
        let app = self.app();
        self.contents().used.with(&app)
    }

    /// Its name.
    #[must_use]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The application that is in use.
    #[must_use]
    pub(crate) fn app(&self) -> Arc<App> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner).app)
    }

    pub(super) fn live(&self) -> Live {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether this is the default namespace.
    #[must_use]
    pub(crate) fn is_default(&self) -> bool {
        *self.name == *DEFAULT
    }

    /// Refuses what a persistent namespace does not allow.
    ///
    /// # Errors
    /// When its store is on disk.
    pub(crate) fn check_in_memory(&self) -> Result<(), ApiError> {
        if self.is_persistent {
            let sentence = "The default namespace of a persistent store is left as it is; create a namespace, or start \
                with --ephemeral.";
            return Err(ApiError::new(Code::NamespacePersistent, sentence));
        }
        Ok(())
    }

    /// The API key as its store has it; the default namespace has none.
    pub(super) fn stored_key(&self) -> Option<&StoredKey> {
        self.key.as_ref().map(|(stored, _)| stored)
    }

    /// What a world of this namespace is built from.
    pub(super) fn blueprint<'a>(
        &'a self,
        state: Option<&'a SavedState>,
        injected: Injected,
        credentials: Credentials,
    ) -> Blueprint<'a> {
        Blueprint {
            name: &self.name,
            activity: self.activity.clone(),
            journal: self.journal.clone(),
            limits: self.definition.limits,
            key: self.stored_key(),
            state,
            credentials,
            injected,
        }
    }

    /// The API key in plain text. Only for those who may create namespaces.
    #[must_use]
    pub(crate) fn api_key(&self) -> Option<&PlainApiKey> {
        self.key.as_ref().map(|(_, plain)| &**plain)
    }

    /// What its seed's names refer to.
    #[must_use]
    pub(crate) fn refs(&self) -> Refs {
        self.contents().refs.clone()
    }

    /// Notes what its first world was seeded with.
    pub(super) fn seed_with(&self, seeded: Option<Seeded>) {
        self.set_refs(seeded.as_ref().map(|seeded| seeded.state.refs.clone()).unwrap_or_default());
        self.contents().seed = seeded;
    }

    fn set_refs(&self, refs: Refs) {
        let by_id = || refs.iter().filter_map(|(name, id)| Some((id.as_str()?.to_owned(), name.clone())));
        self.journal.set_refs(by_id());
        self.replies().set_refs(by_id());
        self.contents().refs = refs;
    }

    /// What is told about it.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn summary(&self) -> Result<Summary, ApiError> {
        let Live { app, world } = self.live();
        let counts = app.store.row_counts().await?;
        let time = |micros: Micros| clock::format_millis(micros.div_euclid(1_000));
        let contents = self.contents();
        Ok(Summary {
            name: self.name.clone(),
            persistent: self.is_persistent,
            ids: match world.id_style() {
                IdStyle::Random => IdStyleName::Word("random"),
                IdStyle::Count => IdStyleName::Word("count"),
                IdStyle::Seed(seed) => IdStyleName::Seed(seed.clone()),
            },
            key_id: self.key.as_ref().map(|(stored, _)| stored.id.clone()),
            counts,
            snapshots: contents.snapshots.summaries().len(),
            refs: contents.refs.clone(),
            created_at: time(self.created_at),
            last_used_at: time(self.activity.last_used()),
            streams: self.activity.streams(),
            idle_ttl: self.definition.idle_ttl.map(|ttl| humantime::format_duration(ttl).to_string()),
        })
    }

    /// How long it has not been used; zero while a stream is open.
    pub(super) fn idle_for(&self) -> Duration {
        if self.activity.streams() > 0 {
            return Duration::ZERO;
        }
        let idle = world::real_now().saturating_sub(self.activity.last_used());
        Duration::from_micros(u64::try_from(idle).unwrap_or(0))
    }

    pub(super) fn has_key(&self, key: &PlainApiKey) -> bool {
        self.key.as_ref().is_some_and(|(stored, _)| stored.hash == key.hash())
    }

    /// The world as it was defined, with nothing in it.
    pub(super) fn new_world(&self) -> World {
        let world = World::new(&self.name, self.definition.ids.clone());
        if let Some(clock) = &self.definition.clock {
            world.begin_at(clock.apply_to(world.clock_settings()));
        }
        world
    }

    /// Puts another application into use and ends the one that was. Returns the token headers that no longer lead here.
    pub(super) fn swap(&self, live: Live, refs: Refs) -> Vec<String> {
        let headers = live.app.tokens.keyring.token_headers();
        let old = {
            let mut current = self.live.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, live)
        };
        old.end();
        self.contents().used.note(&old.app);
        self.verdicts.begin_world();
        self.set_refs(refs);
        let mut contents = self.contents();
        for header in headers {
            contents.headers.retain(|known| *known != header);
            contents.headers.push_back(header);
        }
        contents.spare_headers()
    }

    /// Ends its world, and everything that waits for its journal. What a handle would keep in memory is freed.
    pub(super) fn end(&self) {
        self.live().end();
        self.verdicts.close(Some(self.prepared()));
        self.journal.close();
        *self.contents() = Contents::default();
    }

    pub(super) fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    /// Takes over what the tokens of another namespace of this name begin with.
    pub(super) fn inherit_headers(&mut self, other: &Self) {
        for header in other.headers.iter().rev() {
            self.headers.push_front(header.clone());
        }
        self.spare_headers();
    }

    /// Removes the oldest headers that are too many.
    fn spare_headers(&mut self) -> Vec<String> {
        let spare = self.headers.len().saturating_sub(MOST_HEADERS);
        self.headers.drain(..spare).collect()
    }
}
