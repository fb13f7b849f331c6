//! Changes of namespaces: creation, copies, and the worlds that replace others.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{
    AppliedSeed, Creation, DEFAULT, Definition, Directory, IfExists, Injected, Kept, Namespace, ResetTo, Seeded,
    build::{Blueprint, Credentials, Live, StoredKey, failed},
    directory::{Reservation, key_taken},
    snapshot::SavedState,
};
use crate::{
    credentials::PlainApiKey,
    entropy,
    error::{ApiError, Code},
    http::Activity,
    seed::{Applied, Seed, SeedError},
    store::{NewApiKey, RowCounts},
    world::{Backwards, IdStyle, World},
};

/// A namespace that was created, or that existed and is kept.
pub(crate) struct Created {
    pub(crate) namespace: Arc<Namespace>,
    /// Whether it begins now.
    pub(crate) is_new: bool,
    /// The client tokens that its seed has issued, by `ref`.
    pub(crate) tokens: Map<String, Value>,
}

/// What takes the place of a namespace's world.
struct Renewal {
    world: World,
    /// What is in it; `None` for nothing.
    state: Option<SavedState>,
    injected: Injected,
    credentials: Credentials,
}

/// What a reset did.
pub(crate) struct Reset {
    /// What was in the world that has ended.
    pub(crate) dropped: RowCounts,
    /// The client tokens that the seed has issued anew, by `ref`.
    pub(crate) tokens: Map<String, Value>,
}

impl Directory {
    /// Creates a namespace. It is seeded before anybody can reach it; when anything fails, nothing stays.
    ///
    /// # Errors
    /// When the name or key is taken, there are too many namespaces, or the seed cannot be applied.
    pub(crate) async fn create(&self, creation: Creation) -> Result<Created, ApiError> {
        let Creation { name, ids, clock, limits, idle_ttl, seed, if_exists, injected, key } = creation;
        let name = checked_name(name)?;
        let reservation = self.reserve(&name).await?;
        let present = reservation.namespace();
        if let Some(present) = &present {
            match if_exists {
                IfExists::Keep if key.as_ref().is_none_or(|key| present.has_key(key)) => {
                    present.activity.touch();
                    return Ok(Created { namespace: Arc::clone(present), is_new: false, tokens: Map::new() });
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
        let world = World::new(&name, ids.unwrap_or_else(|| IdStyle::Seed(name.clone())));
        let clock = clock.or_else(|| seed.as_ref().and_then(|seed| seed.clock.clone()));
        if let Some(clock) = &clock {
            world.begin_at(clock.apply_to(world.clock_settings()));
        }
        let definition =
            Definition { ids: world.id_style().clone(), clock, limits, idle_ttl, injected: injected.clone() };
        let blueprint = Blueprint {
            name: &name,
            activity: Activity::new(),
            journal: self.0.builder.journal(&name),
            limits,
            key: key.as_ref().map(|(stored, _)| stored),
            state: None,
            credentials: Credentials::Strip,
            injected,
        };
        let aside = self.0.builder.build(world, blueprint).await.map_err(failed)?;
        let (mut tokens, mut seeded) = (Map::new(), None);
        if let Some(seed) = seed {
            let applied = apply(&seed, aside.live(), key.as_ref().map(|(_, plain)| &**plain)).await?;
            let state = aside.live().save(applied.refs.clone()).await?;
            seeded = Some(Seeded { state, seeds: vec![AppliedSeed { seed: Arc::new(seed), refs: applied.refs }] });
            tokens = applied.tokens;
        }
        let namespace =
            Namespace::new(&name, false, key, definition, aside.go_live(), reservation.lock(), self.0.builder.ledger());
        namespace.seed_with(seeded);
        let namespace = Arc::new(namespace);
        reservation.publish(&namespace)?;
        Ok(Created { namespace, is_new: true, tokens })
    }

    /// Copies a namespace, or one of its snapshots, into a new one, without its tokens and keys. A reset of the copy returns
    /// to the state that was copied.
    ///
    /// # Errors
    /// As [`Directory::create`]; 404 without such a snapshot.
    pub(crate) async fn fork(
        &self,
        source: &Namespace,
        snapshot: Option<&str>,
        creation: Creation,
    ) -> Result<Created, ApiError> {
        source.check_in_memory()?;
        let name = checked_name(creation.name)?;
        let reservation = self.reserve(&name).await?;
        if reservation.namespace().is_some() {
            return Err(exists(&name, "already"));
        }
        let key = self.new_key(creation.key.unwrap_or_else(PlainApiKey::generate_test)).await?;
        let state = match snapshot {
            Some(snapshot) => source.contents().snapshots.find(snapshot)?.state.clone(),
            None => source.live().save(source.refs()).await?,
        };
        let world = World::restore(&name, &state.world);
        let definition = Definition {
            ids: world.id_style().clone(),
            idle_ttl: creation.idle_ttl,
            injected: state.injected.clone(),
            ..source.definition.clone()
        };
        let blueprint = Blueprint {
            name: &name,
            activity: Activity::new(),
            journal: self.0.builder.journal(&name),
            limits: definition.limits,
            key: Some(&key.0),
            state: Some(&state),
            credentials: Credentials::Strip,
            injected: state.injected.clone(),
        };
        let live = self.0.builder.build(world, blueprint).await.map_err(failed)?.go_live();
        let namespace =
            Namespace::new(&name, false, Some(key), definition, live, reservation.lock(), self.0.builder.ledger());
        namespace.seed_with(Some(Seeded { state, seeds: Vec::new() }));
        let namespace = Arc::new(namespace);
        reservation.publish(&namespace)?;
        Ok(Created { namespace, is_new: true, tokens: Map::new() })
    }

    /// Replaces a namespace's world by one without its tokens: as the seed left it, or empty.
    ///
    /// # Errors
    /// When the namespace is gone or persistent.
    pub(crate) async fn reset(&self, namespace: &Namespace, to: ResetTo, keep: &[Kept]) -> Result<Reset, ApiError> {
        namespace.check_in_memory()?;
        let (reservation, namespace) = self.change(namespace).await?;
        let mut dropped = namespace.app().store.row_counts().await?;
        let seeded = if to == ResetTo::Seed { namespace.contents().seed.clone() } else { None };
        let world = match &seeded {
            Some(seeded) => World::restore(namespace.name(), &seeded.state.world),
            None => namespace.new_world(),
        };
        let (state, seeds) = seeded.map(|seeded| (seeded.state, seeded.seeds)).unzip();
        let seeds = seeds.unwrap_or_default();
        let begins_with = match (to, &state) {
            (ResetTo::Empty, _) => Injected::default(),
            (ResetTo::Seed, None) => namespace.definition.injected.clone(),
            (ResetTo::Seed, Some(state)) => state.injected.clone(),
        };
        let injected = begins_with.keeping(keep, Injected::of(&namespace.app()), &mut dropped);
        let renewal = Renewal { world, state, injected, credentials: Credentials::Strip };
        let tokens = self.replace(&reservation, &namespace, renewal, &seeds).await?;
        namespace.journal().untouch_refs();
        if !keep.contains(&Kept::Journal) {
            let entries = i64::try_from(namespace.journal().len()).unwrap_or(i64::MAX);
            if entries > 0 {
                dropped.insert("journal_entry".into(), entries);
            }
            namespace.journal().clear();
            namespace.verdicts().clear();
        }
        Ok(Reset { dropped, tokens })
    }

    /// Replaces a namespace's world by that of a snapshot, with exactly its tokens.
    ///
    /// # Errors
    /// When the namespace is gone or persistent, or has no such snapshot.
    pub(crate) async fn restore(&self, namespace: &Namespace, snapshot: &str) -> Result<(), ApiError> {
        namespace.check_in_memory()?;
        let (reservation, namespace) = self.change(namespace).await?;
        let state = namespace.contents().snapshots.find(snapshot)?.state.clone();
        let world = World::restore(namespace.name(), &state.world);
        let injected = state.injected.clone();
        let renewal = Renewal { world, state: Some(state), injected, credentials: Credentials::Keep };
        self.replace(&reservation, &namespace, renewal, &[]).await?;
        Ok(())
    }

    /// Applies a seed to a namespace. It is applied to a copy, which replaces the namespace's world only if all of it can be
    /// applied. From now on a reset returns to this state. In an empty world, the seed's clock may also go back.
    ///
    /// # Errors
    /// When the namespace is gone or persistent, or the seed cannot be applied.
    pub(crate) async fn seed(&self, namespace: &Namespace, seed: Seed) -> Result<Applied, SeedError> {
        namespace.check_in_memory()?;
        let (reservation, namespace) = self.change(namespace).await?;
        let state = namespace.live().save(namespace.refs()).await.map_err(ApiError::from)?;
        let world = World::restore(namespace.name(), &state.world);
        if let Some(clock) = &seed.clock {
            let clock = clock.apply_to(world.clock_settings());
            if state.counts.is_empty() {
                world.begin_at(clock);
            } else {
                world.set_clock(clock).map_err(|Backwards| {
                    let sentence =
                        "The seed's clock is before that of the namespace, in which things exist; reset it first.";
                    ApiError::new(Code::ClockBackwards, sentence).at("/clock")
                })?;
            }
        }
        let blueprint = namespace.blueprint(Some(&state), state.injected.clone(), Credentials::Keep);
        let aside = self.0.builder.build(world, blueprint).await.map_err(failed)?;
        let mut applied = apply(&seed, aside.live(), namespace.api_key()).await?;
        let mut refs = state.refs;
        refs.append(&mut applied.refs.clone());
        let state = aside.live().save(refs).await.map_err(ApiError::from)?;
        Self::swap(&reservation, &namespace, aside.go_live(), state.refs.clone());
        let mut contents = namespace.contents();
        // The state has what earlier seeds created, and a reset to it issues their tokens too.
        let mut seeds = contents.seed.take().map(|seeded| seeded.seeds).unwrap_or_default();
        seeds.push(AppliedSeed { seed: Arc::new(seed), refs: applied.refs.clone() });
        contents.seed = Some(Seeded { state, seeds });
        drop(contents);
        applied.refs = namespace.refs();
        Ok(applied)
    }

    /// Replaces a namespace's world by one that is built from a state. The seeds issue their tokens anew.
    async fn replace(
        &self,
        reservation: &Reservation,
        namespace: &Arc<Namespace>,
        renewal: Renewal,
        seeds: &[AppliedSeed],
    ) -> Result<Map<String, Value>, ApiError> {
        let Renewal { world, state, injected, credentials } = renewal;
        let blueprint = namespace.blueprint(state.as_ref(), injected, credentials);
        let aside = self.0.builder.build(world, blueprint).await.map_err(failed)?;
        let mut refs = state.map(|state| state.refs).unwrap_or_default();
        let mut tokens = Map::new();
        for AppliedSeed { seed, refs: own } in seeds.iter().filter(|applied| applied.seed.issues_tokens()) {
            let live = aside.live();
            let key = LentKey::of(live, namespace.api_key()).await?;
            let issued = live.world.enter(seed.issue_tokens(&live.app, key.reveal(), own)).await;
            key.take_back(live).await?;
            let mut issued = issued.map_err(ApiError::from)?;
            refs.append(&mut issued.refs);
            tokens.append(&mut issued.tokens);
        }
        Self::swap(reservation, namespace, aside.go_live(), refs);
        Ok(tokens)
    }

    fn swap(reservation: &Reservation, namespace: &Arc<Namespace>, live: Live, refs: super::Refs) {
        let headers = live.app.tokens.keyring.token_headers();
        let forgotten = namespace.swap(live, refs);
        reservation.point(namespace, headers, &forgotten);
    }

    /// A key for a new namespace, which no other has.
    async fn new_key(&self, key: PlainApiKey) -> Result<(StoredKey, Arc<PlainApiKey>), ApiError> {
        let hash = key.hash();
        let is_taken = self.0.read().owner(&hash).is_some();
        if is_taken || self.instance().store.api_key_by_secret(&hash).await?.is_some() {
            return Err(key_taken());
        }
        Ok((StoredKey { id: entropy::letta_id("key"), hash }, Arc::new(key)))
    }
}

/// Applies a seed to an application that is not in use yet.
async fn apply(seed: &Seed, live: &Live, key: Option<&PlainApiKey>) -> Result<Applied, SeedError> {
    let key = LentKey::of(live, key).await?;
    let applied = live.world.enter(seed.apply(&live.app, key.reveal())).await;
    key.take_back(live).await?;
    applied
}

/// The API key as which a seed is applied. The default namespace has none of its own and is lent one.
enum LentKey<'a> {
    Own(&'a PlainApiKey),
    Lent { plain: PlainApiKey, id: String },
}

impl<'a> LentKey<'a> {
    async fn of(live: &Live, own: Option<&'a PlainApiKey>) -> Result<Self, ApiError> {
        if let Some(own) = own {
            return Ok(Self::Own(own));
        }
        let (plain, id) = (PlainApiKey::generate_test(), entropy::letta_id("key"));
        let (created_at, hash) = (live.app.tokens.clock.now_millis(), plain.hash());
        let key =
            NewApiKey { id: &id, name: "seed", project: None, secret_sha256: &hash, created_at, expires_at: None };
        live.app.store.insert_api_key(&key).await?;
        Ok(Self::Lent { plain, id })
    }

    fn reveal(&self) -> &str {
        match self {
            Self::Own(key) => key.reveal(),
            Self::Lent { plain, .. } => plain.reveal(),
        }
    }

    async fn take_back(self, live: &Live) -> Result<(), ApiError> {
        if let Self::Lent { id, .. } = self {
            live.app.store.delete_api_key(&id).await?;
        }
        Ok(())
    }
}

/// The name of a namespace that is to be made.
fn checked_name(name: Option<String>) -> Result<String, ApiError> {
    let Some(name) = name else { return Ok(format!("ns-{}", hex::encode(entropy::bytes::<6>()))) };
    check_name(&name, "/name")?;
    if name == DEFAULT { Err(exists(DEFAULT, "always")) } else { Ok(name) }
}

/// Checks the name of a namespace or of a snapshot that is to be made.
///
/// # Errors
/// When it does not follow the rule.
pub(crate) fn check_name(name: &str, place: &str) -> Result<(), ApiError> {
    let is_first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_good = (1..=64).contains(&name.len())
        && name.bytes().next().is_some_and(is_first)
        && name.bytes().all(|byte| is_first(byte) || matches!(byte, b'.' | b'_' | b'-'));
    if is_good {
        return Ok(());
    }
    let sentence = "A name has at most 64 characters of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit.";
    Err(ApiError::new(Code::ControlInvalid, sentence).at(place))
}

fn exists(name: &str, how: &str) -> ApiError {
    let sentence = format!(
        "The namespace {name} exists {how}; choose another name, delete it, or say in if_exists what to do (reset or keep)."
    );
    ApiError::new(Code::NamespaceExists, sentence).without_retry().at("/name")
}
