//! The namespaces of a process, and which of them a bearer belongs to.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{
    Builder, Creation, DEFAULT, Definition, IfExists, Namespace, Refs, ResetTo,
    build::{Blueprint, Credentials, Live, StoredKey},
    snapshot::SavedState,
};
use crate::{
    credentials::PlainApiKey,
    entropy,
    error::{ApiError, Code},
    http::App,
    store::RowCounts,
    world::{IdStyle, World},
};

/// How many bearers of deleted namespaces are remembered, so that their refusal says why.
const MOST_GONE: usize = 4_096;

/// All namespaces of a process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Directory(pub(super) Arc<State>);

pub(super) struct State {
    builder: Builder,
    most: usize,
    default: Arc<Namespace>,
    index: RwLock<Index>,
}

#[derive(Default)]
struct Index {
    by_name: HashMap<Box<str>, Slot>,
    by_header: HashMap<String, Arc<Namespace>>,
    by_key: HashMap<[u8; 32], Arc<Namespace>>,
    gone: Tombstones,
}

/// A name in use. The namespace is there once its creation is complete.
struct Slot {
    change: Arc<Mutex<()>>,
    namespace: Option<Arc<Namespace>>,
}

/// The bearers of namespaces that are gone; the oldest are forgotten.
#[derive(Default)]
struct Tombstones {
    bearers: HashMap<Bearer, Gone>,
    order: VecDeque<Bearer>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Bearer {
    TokenHeader(String),
    Key([u8; 32]),
}

/// Why a namespace is gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Gone {
    /// It was deleted.
    Deleted,
    /// It was not used for longer than its `idle_ttl`.
    Idle,
}

/// What a bearer belongs to.
pub(crate) enum Found {
    /// A namespace.
    Namespace(Arc<Namespace>),
    /// A namespace that is gone.
    Gone(Gone),
    /// None.
    Unknown,
}

/// A namespace that was created, or that existed.
pub(crate) struct Created {
    pub(crate) namespace: Arc<Namespace>,
    /// Whether it is new, or begins anew.
    pub(crate) is_new: bool,
}

/// A name that is reserved for a change: no other change of it runs at the same time.
pub(super) struct Reservation {
    state: Arc<State>,
    name: Box<str>,
    _change: OwnedMutexGuard<()>,
}

impl Directory {
    /// The directory of an instance, with its default namespace: the instance's own application if its store is on disk,
    /// else one like all others. `None` for a gateway.
    ///
    /// # Errors
    /// When no in-memory store can be opened.
    pub(crate) async fn new(builder: Builder, most: usize) -> Result<Self, ApiError> {
        let instance = builder.instance().clone();
        let change = Arc::new(Mutex::new(()));
        let world = World::new(DEFAULT, IdStyle::Random);
        let is_persistent = !instance.store.is_ephemeral();
        let definition = Definition::default();
        let live = if is_persistent {
            Live { app: Arc::new(instance), world }
        } else {
            let blueprint = Blueprint {
                name: DEFAULT,
                limits: definition.limits,
                key: None,
                state: None,
                credentials: Credentials::Strip,
            };
            builder.build(world, blueprint).await?.go_live()
        };
        let default = Arc::new(Namespace::new(DEFAULT, is_persistent, None, definition, live, Arc::clone(&change)));
        let mut index = Index::default();
        index.by_name.insert(DEFAULT.into(), Slot { change, namespace: None });
        index.publish(&default);
        let directory = Self(Arc::new(State { builder, most, default, index: RwLock::new(index) }));
        super::idle::start(&directory);
        Ok(directory)
    }

    /// The namespace that always exists.
    #[must_use]
    pub(crate) fn default(&self) -> &Arc<Namespace> {
        &self.0.default
    }

    /// The application of the instance, which knows the instance's API keys.
    #[must_use]
    pub(crate) fn instance(&self) -> &App {
        self.0.builder.instance()
    }

    /// How many namespaces may exist at a time.
    #[must_use]
    pub(crate) fn most(&self) -> usize {
        self.0.most
    }

    /// The namespace of this name. It counts as used.
    #[must_use]
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Namespace>> {
        let found = self.0.read().by_name.get(name).and_then(|slot| slot.namespace.clone())?;
        found.touch();
        Some(found)
    }

    /// The namespace of this name.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn find(&self, name: &str) -> Result<Arc<Namespace>, ApiError> {
        self.get(name).ok_or_else(|| not_found(name))
    }

    /// All namespaces, by name.
    #[must_use]
    pub(crate) fn all(&self) -> Vec<Arc<Namespace>> {
        let mut all: Vec<_> = self.0.read().by_name.values().filter_map(|slot| slot.namespace.clone()).collect();
        all.sort_unstable_by(|one, other| one.name().cmp(other.name()));
        all
    }

    /// What a client token belongs to, by its first segment without the prefix `ck-let-`.
    #[must_use]
    pub(crate) fn by_token_header(&self, header: &str) -> Found {
        let index = self.0.read();
        match index.by_header.get(header) {
            Some(namespace) => found(namespace),
            None if index.gone.bearers.is_empty() => Found::Unknown,
            None => index.gone.find(&Bearer::TokenHeader(header.to_owned())),
        }
    }

    /// What an API key belongs to, by its SHA-256. Keys of the instance belong to no namespace.
    #[must_use]
    pub(crate) fn by_key_hash(&self, hash: &[u8; 32]) -> Found {
        let index = self.0.read();
        match index.by_key.get(hash) {
            Some(namespace) => found(namespace),
            None => index.gone.find(&Bearer::Key(*hash)),
        }
    }

    /// Creates a namespace. `seed` fills it before anybody can reach it; it is given the application and the API key. When
    /// anything fails, nothing stays.
    ///
    /// # Errors
    /// When the name or key is taken, there are too many namespaces, or the seed cannot be applied.
    pub(crate) async fn create<F, Fut>(&self, creation: Creation, seed: Option<F>) -> Result<Created, ApiError>
    where
        F: FnOnce(Arc<App>, Arc<PlainApiKey>) -> Fut,
        Fut: Future<Output = Result<Refs, ApiError>>,
    {
        let Creation { name, definition, if_exists, key } = creation;
        let name = name.unwrap_or_else(|| format!("ns-{}", hex::encode(entropy::bytes::<6>())));
        check_name(&name)?;
        let reservation = self.reserve(&name).await?;
        let present = reservation.namespace();
        if let Some(present) = &present {
            match if_exists {
                IfExists::Keep if key.as_ref().is_none_or(|key| present.has_key(key)) => {
                    present.touch();
                    return Ok(Created { namespace: Arc::clone(present), is_new: false });
                }
                IfExists::Keep => return Err(exists(&name, "with another API key")),
                IfExists::Reset => {}
                IfExists::Fail => return Err(exists(&name, "already")),
            }
        }
        let key = match (key, &present) {
            (Some(key), Some(present)) if present.has_key(&key) => present.key.clone(),
            (Some(key), _) => Some(self.new_key(key).await?),
            (None, Some(present)) => present.key.clone(),
            (None, None) => Some(self.new_key(PlainApiKey::generate_test()).await?),
        };
        let Some((stored, plain)) = key else { return Err(ApiError::internal("a namespace without an API key")) };
        let world = World::new(&name, definition.ids.clone());
        if let Some(clock) = definition.clock {
            world.begin_at(clock);
        }
        let (limits, credentials) = (definition.limits, Credentials::Strip);
        let blueprint = Blueprint { name: &name, limits, key: Some(&stored), state: None, credentials };
        let aside = self.0.builder.build(world, blueprint).await?;
        let (mut refs, mut seeded) = (Refs::new(), None);
        if let Some(seed) = seed {
            let Live { app, world } = aside.live().clone();
            refs = world.enter(seed(app, Arc::clone(&plain))).await?;
            seeded = Some(aside.live().save(refs.clone()).await?);
        }
        let change = reservation.change();
        let namespace = Namespace::new(&name, false, Some((stored, plain)), definition, aside.go_live(), change);
        namespace.contents().refs = refs;
        namespace.contents().seed = seeded;
        let namespace = Arc::new(namespace);
        reservation.publish(&namespace)?;
        Ok(Created { namespace, is_new: true })
    }

    /// Copies a namespace, or one of its snapshots, into a new one, without its tokens and keys. A reset of the copy returns
    /// to the state that was copied.
    ///
    /// # Errors
    /// As [`Directory::create`]; 404 without such a snapshot.
    pub(crate) async fn fork(
        &self,
        source: &Arc<Namespace>,
        snapshot: Option<&str>,
        creation: Creation,
    ) -> Result<Created, ApiError> {
        source.check_in_memory()?;
        let state = match snapshot {
            Some(snapshot) => source.contents().snapshots.find(snapshot)?.state.clone(),
            None => source.live().save(source.refs()).await?,
        };
        let name = creation.name.unwrap_or_else(|| format!("ns-{}", hex::encode(entropy::bytes::<6>())));
        check_name(&name)?;
        let reservation = self.reserve(&name).await?;
        if reservation.namespace().is_some() {
            return Err(exists(&name, "already"));
        }
        let (stored, plain) = self.new_key(creation.key.unwrap_or_else(PlainApiKey::generate_test)).await?;
        let idle_ttl = creation.definition.idle_ttl;
        let definition = Definition { idle_ttl, ids: state.world_ids(), ..source.definition.clone() };
        let world = World::restore(&name, &state.world);
        let (limits, credentials) = (definition.limits, Credentials::Strip);
        let blueprint = Blueprint { name: &name, limits, key: Some(&stored), state: Some(&state), credentials };
        let live = self.0.builder.build(world, blueprint).await?.go_live();
        let change = reservation.change();
        let namespace = Namespace::new(&name, false, Some((stored, plain)), definition, live, change);
        namespace.contents().refs.clone_from(&state.refs);
        namespace.contents().seed = Some(state);
        let namespace = Arc::new(namespace);
        reservation.publish(&namespace)?;
        Ok(Created { namespace, is_new: true })
    }

    /// Replaces a namespace's world by one without its tokens: as the seed left it, or empty. Returns what was dropped.
    ///
    /// # Errors
    /// When the namespace is gone or persistent.
    pub(crate) async fn reset(&self, namespace: &Arc<Namespace>, to: ResetTo) -> Result<RowCounts, ApiError> {
        namespace.check_in_memory()?;
        let reservation = self.change(namespace).await?;
        let namespace = reservation.expect()?;
        let dropped = namespace.app().store.row_counts().await?;
        let state = match to {
            ResetTo::Seed => namespace.contents().seed.clone(),
            ResetTo::Empty => None,
        };
        let world = match &state {
            Some(state) => World::restore(namespace.name(), &state.world),
            None => namespace.new_world(),
        };
        self.swap(&reservation, &namespace, world, state.as_ref(), Credentials::Strip).await?;
        Ok(dropped)
    }

    /// Replaces a namespace's world by that of a state.
    pub(super) async fn swap(
        &self,
        reservation: &Reservation,
        namespace: &Arc<Namespace>,
        world: World,
        state: Option<&SavedState>,
        credentials: Credentials,
    ) -> Result<(), ApiError> {
        let key = namespace.key.as_ref().map(|(stored, _)| stored);
        let limits = namespace.definition.limits;
        let blueprint = Blueprint { name: namespace.name(), limits, key, state, credentials };
        let live = self.0.builder.build(world, blueprint).await?.go_live();
        let headers = live.app.tokens.keyring.token_headers();
        let forgotten = namespace.swap(live, state.map(|state| state.refs.clone()).unwrap_or_default());
        reservation.point(namespace, headers, &forgotten);
        Ok(())
    }

    /// Deletes a namespace. It does not matter whether there is one.
    ///
    /// # Errors
    /// For the default namespace.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), ApiError> {
        if name == DEFAULT {
            let sentence = "The default namespace lasts as long as the server; reset it instead.";
            return Err(ApiError::new(Code::NamespacePersistent, sentence));
        }
        let present = self.0.read().by_name.get(name).map(|slot| Arc::clone(&slot.change));
        let Some(change) = present else { return Ok(()) };
        let change = change.lock_owned().await;
        self.remove(name, &change, Gone::Deleted);
        Ok(())
    }

    /// Removes a namespace whose change is locked by `change`.
    pub(super) fn remove(&self, name: &str, change: &OwnedMutexGuard<()>, why: Gone) {
        let mut index = self.0.write();
        let is_same = |slot: &Slot| Arc::ptr_eq(&slot.change, OwnedMutexGuard::mutex(change));
        if !index.by_name.get(name).is_some_and(is_same) {
            return;
        }
        let Some(namespace) = index.by_name.remove(name).and_then(|slot| slot.namespace) else { return };
        index.bury(&namespace, why);
        drop(index);
        namespace.live().end();
        namespace.contents().snapshots.clear();
    }

    /// Reserves the name of a namespace that exists, for a change.
    ///
    /// # Errors
    /// When the namespace is gone.
    pub(super) async fn change(&self, namespace: &Arc<Namespace>) -> Result<Reservation, ApiError> {
        let change = Arc::clone(&namespace.change).lock_owned().await;
        let reservation =
            Reservation { state: Arc::clone(&self.0), name: namespace.name().into(), _change: change };
        reservation.expect()?;
        Ok(reservation)
    }

    async fn reserve(&self, name: &str) -> Result<Reservation, ApiError> {
        loop {
            let change = {
                let mut index = self.0.write();
                if !index.by_name.contains_key(name) {
                    if index.by_name.len() >= self.0.most {
                        return Err(exhausted(self.0.most));
                    }
                    index.by_name.insert(name.into(), Slot { change: Arc::default(), namespace: None });
                }
                index.by_name.get(name).map(|slot| Arc::clone(&slot.change)).unwrap_or_default()
            };
            let reservation = Reservation {
                state: Arc::clone(&self.0),
                name: name.into(),
                _change: Arc::clone(&change).lock_owned().await,
            };
            // Meanwhile the creation that was in progress may have failed, or the namespace may have been deleted.
            let is_current = self.0.read().by_name.get(name).is_some_and(|slot| Arc::ptr_eq(&slot.change, &change));
            if is_current {
                return Ok(reservation);
            }
        }
    }

    /// A key for a new namespace, which no other has.
    async fn new_key(&self, key: PlainApiKey) -> Result<(StoredKey, Arc<PlainApiKey>), ApiError> {
        let hash = key.hash();
        let is_taken = self.0.read().by_key.contains_key(&hash)
            || self.instance().store.api_key_by_secret(&hash).await?.is_some();
        if is_taken {
            return Err(key_taken());
        }
        Ok((StoredKey { id: entropy::letta_id("key"), hash }, Arc::new(key)))
    }
}

fn found(namespace: &Arc<Namespace>) -> Found {
    namespace.touch();
    Found::Namespace(Arc::clone(namespace))
}

fn not_found(name: &str) -> ApiError {
    // A name that cannot exist may be anything.
    let name = if check_name(name).is_ok() { name } else { "of this name" };
    let sentence = format!("There is no namespace {name}; create it with POST /_gatelet/v1/ns.");
    ApiError::new(Code::NamespaceNotFound, sentence)
}

fn exists(name: &str, how: &str) -> ApiError {
    let sentence = format!(
        "There is a namespace {name} {how}; choose another name, delete it, or say what to do in if_exists (reset or keep)."
    );
    ApiError::new(Code::NamespaceExists, sentence).at("/name")
}

fn key_taken() -> ApiError {
    let sentence = "This API key is in use; give each namespace a key of its own, or leave it out.";
    ApiError::new(Code::NamespaceExists, sentence).at("/api_key")
}

fn exhausted(most: usize) -> ApiError {
    let sentence = format!(
        "There are {most} namespaces, as many as control.namespaces allows; delete those that are not needed, or give \
         them a shorter idle_ttl."
    );
    ApiError::new(Code::NamespacesExhausted, sentence)
}

/// Checks the name of a namespace or of a snapshot that is to be made.
///
/// # Errors
/// When it does not follow the rule.
pub(crate) fn check_name(name: &str) -> Result<(), ApiError> {
    let is_first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_good = (1..=64).contains(&name.len())
        && name.bytes().next().is_some_and(is_first)
        && name.bytes().all(|byte| is_first(byte) || matches!(byte, b'.' | b'_' | b'-'));
    if is_good {
        return Ok(());
    }
    let sentence = "A name has at most 64 characters of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit.";
    Err(ApiError::new(Code::ControlInvalid, sentence).at("/name"))
}

impl State {
    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    fn namespace(&self) -> Option<Arc<Namespace>> {
        self.state.read().by_name.get(&self.name).and_then(|slot| slot.namespace.clone())
    }

    pub(super) fn expect(&self) -> Result<Arc<Namespace>, ApiError> {
        self.namespace().ok_or_else(|| not_found(&self.name))
    }

    fn change(&self) -> Arc<Mutex<()>> {
        Arc::clone(OwnedMutexGuard::mutex(&self._change))
    }

    /// Makes the namespace reachable, in the place of the one that had its name.
    fn publish(&self, namespace: &Arc<Namespace>) -> Result<(), ApiError> {
        let mut index = self.state.write();
        let key = namespace.key.as_ref().map(|(stored, _)| stored.hash);
        let owner = key.and_then(|key| index.by_key.get(&key));
        // Another creation may have been given the same key at the same time.
        if owner.is_some_and(|owner| owner.name() != namespace.name()) {
            drop(index);
            namespace.live().end();
            return Err(key_taken());
        }
        let old = index.by_name.get_mut(&self.name).and_then(|slot| slot.namespace.take());
        if let Some(old) = &old {
            // What it issued still leads here, and is refused here.
            let headers = old.contents().headers.clone();
            namespace.contents().headers.extend_front(headers);
            index.bury(old, Gone::Deleted);
        }
        index.publish(namespace);
        drop(index);
        if let Some(old) = old {
            old.live().end();
        }
        Ok(())
    }

    /// Lets token headers lead to a namespace, and others to none.
    fn point(&self, namespace: &Arc<Namespace>, headers: Vec<String>, forgotten: &[String]) {
        let mut index = self.state.write();
        for header in forgotten {
            index.by_header.remove(header);
        }
        for header in headers {
            index.by_header.insert(header, Arc::clone(namespace));
        }
    }
}

impl Drop for Reservation {
    /// Frees a name whose creation failed. Others may be waiting for it; they look again.
    fn drop(&mut self) {
        let mut index = self.state.write();
        let is_free = |slot: &Slot| {
            slot.namespace.is_none() && Arc::ptr_eq(&slot.change, OwnedMutexGuard::mutex(&self._change))
        };
        if index.by_name.get(&self.name).is_some_and(is_free) {
            index.by_name.remove(&self.name);
        }
    }
}

impl Index {
    fn publish(&mut self, namespace: &Arc<Namespace>) {
        // Tokens of the default namespace lead to it without an entry.
        if !namespace.is_default() {
            for header in &namespace.contents().headers {
                self.by_header.insert(header.clone(), Arc::clone(namespace));
                self.gone.forget(&Bearer::TokenHeader(header.clone()));
            }
        }
        if let Some((stored, _)) = &namespace.key {
            self.by_key.insert(stored.hash, Arc::clone(namespace));
            self.gone.forget(&Bearer::Key(stored.hash));
        }
        if let Some(slot) = self.by_name.get_mut(namespace.name()) {
            slot.namespace = Some(Arc::clone(namespace));
        }
    }

    fn bury(&mut self, namespace: &Namespace, why: Gone) {
        let mut contents = namespace.contents();
        contents.is_gone = true;
        for header in contents.headers.drain(..) {
            self.by_header.remove(&header);
            self.gone.insert(Bearer::TokenHeader(header), why);
        }
        if let Some((stored, _)) = &namespace.key {
            self.by_key.remove(&stored.hash);
            self.gone.insert(Bearer::Key(stored.hash), why);
        }
    }
}

impl Tombstones {
    fn find(&self, bearer: &Bearer) -> Found {
        self.bearers.get(bearer).map_or(Found::Unknown, |why| Found::Gone(*why))
    }

    fn insert(&mut self, bearer: Bearer, why: Gone) {
        if self.bearers.insert(bearer.clone(), why).is_none() {
            self.order.push_back(bearer);
        }
        if self.order.len() > MOST_GONE
            && let Some(oldest) = self.order.pop_front()
        {
            self.bearers.remove(&oldest);
        }
    }

    fn forget(&mut self, bearer: &Bearer) {
        // Its place in the order stays; it does no harm.
        self.bearers.remove(bearer);
    }
}
