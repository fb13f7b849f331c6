//! Which namespace a name or a bearer belongs to.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use tokio::sync::Mutex;

use super::Namespace;

/// How many bearers of deleted namespaces are remembered, so that their refusal says why.
const MOST_GONE: usize = 4_096;

/// What a bearer belongs to.
pub(crate) enum Found {
    /// A namespace.
    Namespace(Arc<Namespace>),
    /// A namespace that is gone.
    Gone(Gone),
    /// None.
    Unknown,
}

/// Why a namespace is gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Gone {
    /// It was deleted.
    Deleted,
    /// It was not used for longer than its `idle_ttl`.
    Idle,
}

/// The names and bearers of all namespaces.
#[derive(Default)]
pub(super) struct Index {
    pub(super) by_name: HashMap<Box<str>, Slot>,
    by_header: HashMap<String, Arc<Namespace>>,
    by_key: HashMap<[u8; 32], Arc<Namespace>>,
    gone: Tombstones,
}

/// A name in use. The namespace is there once its creation is complete.
pub(super) struct Slot {
    /// Held by the one who changes it.
    pub(super) change: Arc<Mutex<()>>,
    pub(super) namespace: Option<Arc<Namespace>>,
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

impl Index {
    /// The namespace of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Arc<Namespace>> {
        self.by_name.get(name).and_then(|slot| slot.namespace.as_ref())
    }

    /// What a client token belongs to, by its first segment.
    pub(super) fn by_token_header(&self, header: &str) -> Found {
        match self.by_header.get(header) {
            Some(namespace) => Found::Namespace(Arc::clone(namespace)),
            None => self.gone.find(|| Bearer::TokenHeader(header.to_owned())),
        }
    }

    /// What an API key belongs to, by its SHA-256.
    pub(super) fn by_key_hash(&self, hash: &[u8; 32]) -> Found {
        match self.by_key.get(hash) {
            Some(namespace) => Found::Namespace(Arc::clone(namespace)),
            None => self.gone.find(|| Bearer::Key(*hash)),
        }
    }

    /// The namespace that has this API key.
    pub(super) fn owner(&self, hash: &[u8; 32]) -> Option<&Arc<Namespace>> {
        self.by_key.get(hash)
    }

    /// Makes a namespace reachable.
    pub(super) fn publish(&mut self, namespace: &Arc<Namespace>) {
        let headers = namespace.contents().headers.clone();
        self.point(namespace, headers);
        if let Some(stored) = namespace.stored_key() {
            self.by_key.insert(stored.hash, Arc::clone(namespace));
            self.gone.forget(&Bearer::Key(stored.hash));
        }
        if let Some(slot) = self.by_name.get_mut(namespace.name()) {
            slot.namespace = Some(Arc::clone(namespace));
        }
    }

    /// Lets token headers lead to a namespace. Those of the default namespace lead to it without an entry.
    pub(super) fn point(&mut self, namespace: &Arc<Namespace>, headers: impl IntoIterator<Item = String>) {
        if namespace.is_default() {
            return;
        }
        for header in headers {
            self.gone.forget(&Bearer::TokenHeader(header.clone()));
            self.by_header.insert(header, Arc::clone(namespace));
        }
    }

    /// Lets token headers lead nowhere.
    pub(super) fn forget(&mut self, headers: &[String]) {
        for header in headers {
            self.by_header.remove(header);
        }
    }

    /// Removes a namespace, whose slot is gone or will be used again.
    pub(super) fn bury(&mut self, namespace: &Namespace, why: Gone) {
        let headers: Vec<String> = namespace.contents().headers.drain(..).collect();
        for header in headers {
            self.by_header.remove(&header);
            self.gone.insert(Bearer::TokenHeader(header), why);
        }
        if let Some(stored) = namespace.stored_key() {
            self.by_key.remove(&stored.hash);
            self.gone.insert(Bearer::Key(stored.hash), why);
        }
    }
}

impl Tombstones {
    fn find(&self, bearer: impl FnOnce() -> Bearer) -> Found {
        if self.bearers.is_empty() {
            return Found::Unknown;
        }
        self.bearers.get(&bearer()).map_or(Found::Unknown, |why| Found::Gone(*why))
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
        if self.bearers.remove(bearer).is_some() {
            self.order.retain(|known| known != bearer);
        }
    }
}
