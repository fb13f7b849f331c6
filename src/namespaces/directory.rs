//! The namespaces of a process: looking them up, and reserving a name for a change.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{
    Builder, DEFAULT, Definition, Namespace,
    build::{Blueprint, Credentials, Live},
    index::{Found, Gone, Index, Slot},
};
use crate::{
    credentials::keyring::KeyringError,
    error::{ApiError, Code},
    http::{Activity, App},
    verdicts::{Closed, Ledger},
    world::{IdStyle, World},
};

/// All namespaces of a process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Directory(pub(super) Arc<State>);

pub(super) struct State {
    pub(super) builder: Builder,
    most: usize,
    default: Arc<Namespace>,
    index: RwLock<Index>,
}

/// A name that is reserved for a change: no other change of it runs at the same time.
pub(super) struct Reservation {
    state: Arc<State>,
    name: Box<str>,
    change: OwnedMutexGuard<()>,
}

impl Directory {
    /// The directory of an instance, of at most so many namespaces. The default namespace is the instance's own
    /// application if that has a world, else one in memory like all others.
    ///
    /// # Errors
    /// When no in-memory store can be opened.
    pub(crate) async fn new(builder: Builder, most: usize) -> Result<Self, KeyringError> {
        let instance = Arc::clone(builder.instance());
        let definition = Definition::default();
        let is_persistent = instance.world.is_some();
        let live = if let Some(world) = instance.world.clone() {
            Live { app: instance, world }
        } else {
            let blueprint = Blueprint {
                name: DEFAULT,
                activity: Activity::new(),
                journal: builder.journal(DEFAULT),
                limits: definition.limits,
                key: None,
                state: None,
                credentials: Credentials::Strip,
                injected: definition.injected.clone(),
            };
            builder.build(World::new(DEFAULT, IdStyle::Random), blueprint).await?.go_live()
        };
        let change = Arc::new(Mutex::new(()));
        let default = Arc::new(Namespace::new(
            DEFAULT,
            is_persistent,
            None,
            definition,
            live,
            Arc::clone(&change),
            builder.ledger(),
        ));
        let mut index = Index::default();
        index.by_name.insert(DEFAULT.into(), Slot { change, namespace: None });
        index.publish(&default);
        Ok(Self(Arc::new(State { builder, most, default, index: RwLock::new(index) })))
    }

    /// The namespace that always exists.
    #[must_use]
    pub(crate) fn default(&self) -> &Arc<Namespace> {
        &self.0.default
    }

    /// What was found in the namespaces that are gone.
    #[must_use]
    pub(crate) fn ledger(&self) -> &Ledger {
        self.0.builder.ledger()
    }

    /// What was found in all namespaces, those that are gone included.
    #[must_use]
    pub(crate) fn verdicts(&self) -> Vec<Closed> {
        let mut all = self.ledger().closed();
        all.extend(self.all().iter().map(|namespace| namespace.verdicts().so_far(namespace.prepared())));
        all
    }

    /// The application of the instance, which knows the instance's API keys.
    #[must_use]
    pub(crate) fn instance(&self) -> &App {
        self.0.builder.instance()
    }

    /// The namespace of this name. It counts as used.
    #[must_use]
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Namespace>> {
        let found = self.0.read().get(name).cloned()?;
        found.activity.touch();
        Some(found)
    }

    /// All namespaces, by name.
    #[must_use]
    pub(crate) fn all(&self) -> Vec<Arc<Namespace>> {
        self.0.all()
    }

    /// What a client token belongs to, by its first segment without the prefix `ck-let-`. It counts as used. Tokens of
    /// the default namespace are unknown here.
    #[must_use]
    pub(crate) fn by_token_header(&self, header: &str) -> Found {
        touched(self.0.read().by_token_header(header))
    }

    /// What an API key belongs to, by its SHA-256. It counts as used. Keys of the instance are unknown here.
    #[must_use]
    pub(crate) fn by_key_hash(&self, hash: &[u8; 32]) -> Found {
        touched(self.0.read().by_key_hash(hash))
    }

    /// Deletes a namespace. It does not matter whether there is one.
    ///
    /// # Errors
    /// For the default namespace.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), ApiError> {
        if name == DEFAULT {
            let sentence = "The namespace default lasts as long as the server; reset it instead.";
            return Err(ApiError::new(Code::NamespacePersistent, sentence));
        }
        let change = self.0.read().by_name.get(name).map(|slot| Arc::clone(&slot.change));
        if let Some(change) = change {
            self.0.remove(name, &change.lock_owned().await, Gone::Deleted);
        }
        Ok(())
    }

    /// Reserves the name of a namespace that exists, for a change.
    ///
    /// # Errors
    /// When the namespace is gone.
    pub(super) async fn change(&self, namespace: &Namespace) -> Result<(Reservation, Arc<Namespace>), ApiError> {
        let change = Arc::clone(&namespace.change).lock_owned().await;
        let reservation = Reservation { state: Arc::clone(&self.0), name: namespace.name().into(), change };
        let namespace = reservation.namespace().ok_or_else(|| not_found(&reservation.name))?;
        Ok((reservation, namespace))
    }

    /// Reserves a name, whether it is in use or not.
    ///
    /// # Errors
    /// When there are too many namespaces.
    pub(super) async fn reserve(&self, name: &str) -> Result<Reservation, ApiError> {
        loop {
            let change = self.0.slot(name)?;
            let reservation = Reservation {
                state: Arc::clone(&self.0),
                name: name.into(),
                change: Arc::clone(&change).lock_owned().await,
            };
            // Meanwhile the creation that was in progress may have failed, or the namespace may have been deleted.
            if reservation.is_current() {
                return Ok(reservation);
            }
        }
    }
}

fn touched(found: Found) -> Found {
    if let Found::Namespace(namespace) = &found {
        namespace.activity.touch();
    }
    found
}

/// The 404 for a namespace that does not exist.
pub(crate) fn not_found(name: &str) -> ApiError {
    let name: String = name.chars().take(64).collect();
    let sentence = format!(
        "There is no namespace {name:?}: create it with POST /_gatelet/v1/ns; it may have been deleted, or have been idle \
         for longer than its idle_ttl."
    );
    ApiError::new(Code::NamespaceNotFound, sentence).without_retry()
}

fn exhausted(most: usize) -> ApiError {
    let sentence = format!(
        "There are {most} namespaces, as many as control.namespaces allows; delete those that are not needed, or give them \
         a shorter idle_ttl."
    );
    ApiError::new(Code::NamespacesExhausted, sentence).without_retry()
}

impl State {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn all(&self) -> Vec<Arc<Namespace>> {
        let mut all: Vec<_> = self.read().by_name.values().filter_map(|slot| slot.namespace.clone()).collect();
        all.sort_unstable_by(|one, other| one.name().cmp(other.name()));
        all
    }

    /// The lock of a name, which is in use from now on.
    fn slot(&self, name: &str) -> Result<Arc<Mutex<()>>, ApiError> {
        let mut index = self.write();
        if let Some(slot) = index.by_name.get(name) {
            return Ok(Arc::clone(&slot.change));
        }
        if index.by_name.len() >= self.most {
            return Err(exhausted(self.most));
        }
        let change = Arc::new(Mutex::new(()));
        index.by_name.insert(name.into(), Slot { change: Arc::clone(&change), namespace: None });
        Ok(change)
    }

    /// Removes a namespace that `change` reserves.
    pub(super) fn remove(&self, name: &str, change: &OwnedMutexGuard<()>, why: Gone) {
        let mut index = self.write();
        let is_same = |slot: &Slot| Arc::ptr_eq(&slot.change, OwnedMutexGuard::mutex(change));
        if !index.by_name.get(name).is_some_and(is_same) {
            return;
        }
        let Some(namespace) = index.by_name.remove(name).and_then(|slot| slot.namespace) else { return };
        index.bury(&namespace, why);
        drop(index);
        namespace.end();
    }
}

impl Reservation {
    /// The namespace that has the name.
    pub(super) fn namespace(&self) -> Option<Arc<Namespace>> {
        let index = self.state.read();
        index.by_name.get(&self.name).filter(|slot| self.is_of(slot)).and_then(|slot| slot.namespace.clone())
    }

    /// The lock of the name.
    pub(super) fn lock(&self) -> Arc<Mutex<()>> {
        Arc::clone(OwnedMutexGuard::mutex(&self.change))
    }

    fn is_current(&self) -> bool {
        self.state.read().by_name.get(&self.name).is_some_and(|slot| self.is_of(slot))
    }

    fn is_of(&self, slot: &Slot) -> bool {
        Arc::ptr_eq(&slot.change, OwnedMutexGuard::mutex(&self.change))
    }

    /// Makes a namespace reachable, in the place of the one that had its name. What that one issued leads to the new one,
    /// and is refused there.
    ///
    /// # Errors
    /// When another namespace has its API key.
    pub(super) fn publish(&self, namespace: &Arc<Namespace>) -> Result<(), ApiError> {
        let mut index = self.state.write();
        let owner = namespace.stored_key().and_then(|stored| index.owner(&stored.hash));
        // Another creation may have been given the same key at the same time.
        if owner.is_some_and(|owner| owner.name() != namespace.name()) {
            drop(index);
            namespace.end();
            return Err(key_taken());
        }
        let old = index.by_name.get_mut(&self.name).and_then(|slot| slot.namespace.take());
        if let Some(old) = &old {
            namespace.contents().inherit_headers(&old.contents());
            index.bury(old, Gone::Deleted);
        }
        index.publish(namespace);
        drop(index);
        if let Some(old) = old {
            old.end();
        }
        Ok(())
    }

    /// Lets token headers lead to the namespace, and others nowhere.
    pub(super) fn point(&self, namespace: &Arc<Namespace>, headers: Vec<String>, forgotten: &[String]) {
        let mut index = self.state.write();
        index.forget(forgotten);
        index.point(namespace, headers);
    }
}

/// The 409 for an API key that is in use.
pub(super) fn key_taken() -> ApiError {
    let sentence = "This API key is in use; give each namespace a key of its own, or leave it out.";
    ApiError::new(Code::NamespaceExists, sentence).without_retry().at("/api_key")
}

impl Drop for Reservation {
    /// Frees a name whose creation failed. Others may be waiting for it; they look again.
    fn drop(&mut self) {
        let mut index = self.state.write();
        if index.by_name.get(&self.name).is_some_and(|slot| slot.namespace.is_none() && self.is_of(slot)) {
            index.by_name.remove(&self.name);
        }
    }
}
