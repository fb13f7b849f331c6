//! Namespaces: each is a whole Gatelet in memory, with its own store, signing keys, guard, mock, clock and ids.
//!
//! A reset or a restored snapshot is a new world that is built aside and swapped in. The old world ends with everything
//! that belongs to it, so nothing of it can reappear.

mod build;
mod changes;
mod directory;
mod export;
mod idle;
mod index;
mod injected;
mod namespace;
mod prepared;
mod snapshot;
mod snapshots;

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use serde_json::{Map, Value};

pub(crate) use self::{
    build::Builder,
    changes::{Created, check_name},
    directory::{Directory, not_found},
    export::MEDIA_TYPE,
    index::{Found, Gone},
    injected::{Injected, Kept},
    namespace::Namespace,
    snapshot::{MOST_BYTES, MOST_SNAPSHOTS, SnapshotSummary},
};
use crate::{
    credentials::{PlainApiKey, keyring::KeyringError},
    seed::Seed,
    world::{ClockRequest, IdStyle},
};

/// The directory of an instance, of at most `most` namespaces, and its upkeep.
///
/// # Errors
/// When no in-memory store can be opened.
pub(crate) async fn open(builder: Builder, most: usize) -> Result<Directory, KeyringError> {
    let directory = Directory::new(builder, most).await?;
    idle::start(&directory.0);
    Ok(directory)
}

/// The name of the namespace that always exists.
pub(crate) const DEFAULT: &str = "default";

/// How long a namespace lives without being used, unless its creation says otherwise.
pub(crate) const IDLE_TTL: Duration = Duration::from_hours(1);

/// The ids of what seeds have created, by `ref`.
pub(crate) type Refs = Map<String, Value>;

/// How a namespace begins.
#[derive(Clone, Debug, Default)]
struct Definition {
    /// How ids are made.
    pub(crate) ids: IdStyle,
    /// The clock; `None` for the real time.
    pub(crate) clock: Option<ClockRequest>,
    /// Its own limits on client tokens.
    pub(crate) limits: LimitOverrides,
    /// How long it lives without being used; `None` for ever.
    pub(crate) idle_ttl: Option<Duration>,
    /// The replies and faults that it begins with.
    pub(crate) injected: Injected,
}

/// The state that a reset returns to.
#[derive(Clone, Debug)]
struct Seeded {
    state: snapshot::SavedState,
    /// What made it, which issues its tokens anew, in the order of application; empty for a copy.
    seeds: Vec<AppliedSeed>,
}

/// A seed that was applied, and the ids of what it has created.
#[derive(Clone, Debug)]
struct AppliedSeed {
    seed: Arc<Seed>,
    refs: Refs,
}

/// Limits that replace the server's; 0 for no limit.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitOverrides {
    pub(crate) requests_per_minute: Option<u32>,
    pub(crate) streams_per_token: Option<u32>,
    pub(crate) large_bodies_per_token: Option<u32>,
}

/// What to do when a namespace that is to be created exists.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum IfExists {
    /// Refuse.
    #[default]
    Fail,
    /// Begin anew as defined now. The API key stays, unless another is given.
    Reset,
    /// Leave it as it is.
    Keep,
}

/// A namespace to be created.
#[derive(Debug, Default)]
pub(crate) struct Creation {
    /// Its name; one is made if there is none.
    pub(crate) name: Option<String>,
    /// How ids are made; `None` to derive them from the name.
    pub(crate) ids: Option<IdStyle>,
    /// How its clock begins; `None` for as the seed says.
    pub(crate) clock: Option<ClockRequest>,
    pub(crate) limits: LimitOverrides,
    /// How long it lives without being used; `None` for ever.
    pub(crate) idle_ttl: Option<Duration>,
    pub(crate) seed: Option<Seed>,
    pub(crate) if_exists: IfExists,
    /// The replies and faults that it begins with.
    pub(crate) injected: Injected,
    /// Its API key; one is made if there is none.
    pub(crate) key: Option<PlainApiKey>,
}

/// What a reset returns to.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ResetTo {
    /// The state after the seed was applied; empty without one.
    #[default]
    Seed,
    /// A namespace without anything in it.
    Empty,
}
