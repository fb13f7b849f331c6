//! The revocation feed: revoked tokens, revoked keys and new signing keys, kept in memory and current.
//!
//! It is read from the store's change log, from the last number read onwards; notifications only make that happen sooner.
//! When the log has not been read for too long, it is unknown which tokens are still valid.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tracing::{debug, warn};
use uuid::Uuid;

use crate::{
    clock::{Clock, Millis},
    credentials::{ClientToken, Keyring, keyring::KeyringError},
    store::{Change, ChangeKind, Store, StoreError},
};

/// How often the log is read without a notification. Four times a second leaves a margin to the promised one second.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// The shortest interval between two readings, however many hints there are: callers without a valid token can cause them.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How long one reading may take before it counts as failed.
const POLL_TIMEOUT: Duration = Duration::from_secs(2);

/// How long to wait before listening again after the connection was lost.
const LISTEN_RETRY: Duration = Duration::from_secs(1);

/// The most changes that one query reads.
const BATCH: i64 = 10_000;

/// The feed of one process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Feed(Arc<FeedState>);

#[derive(Debug)]
struct FeedState {
    store: Store,
    keyring: Arc<Keyring>,
    clock: Clock,
    /// `None` if the store is in this process's memory, where no other process can change it.
    max_staleness: Option<Duration>,
    tokens: RwLock<HashMap<Uuid, Millis>>,
    keys: RwLock<HashSet<Box<str>>>,
    /// How many revocations were ever added to `tokens` and `keys`.
    count: AtomicU64,
    seen: AtomicI64,
    read_at: Mutex<Instant>,
    hint: Notify,
    readings: watch::Sender<u64>,
    revocations: watch::Sender<()>,
}

impl Feed {
    /// Loads every revocation that was not purged, those of expired tokens included: a clock that is ahead may be corrected.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn load(
        store: Store,
        keyring: Arc<Keyring>,
        max_staleness: Duration,
        clock: Clock,
    ) -> Result<Self, KeyringError> {
        let max_staleness = (!store.is_ephemeral()).then_some(max_staleness);
        let feed = Self(Arc::new(FeedState {
            store,
            keyring,
            clock,
            max_staleness,
            tokens: RwLock::default(),
            keys: RwLock::default(),
            count: AtomicU64::new(0),
            seen: AtomicI64::new(0),
            read_at: Mutex::new(Instant::now()),
            hint: Notify::new(),
            readings: watch::Sender::new(0),
            revocations: watch::Sender::new(()),
        }));
        feed.read().await?;
        Ok(feed)
    }

    /// Reads the log again and again for as long as this future is polled.
    pub(crate) async fn follow(self) {
        if self.0.max_staleness.is_none() {
            return;
        }
        tokio::join!(self.follow_hints(), self.follow_log());
    }

    /// Whether the log was read recently enough to trust what is in memory.
    #[must_use]
    pub(crate) fn is_fresh(&self) -> bool {
        self.0.max_staleness.is_none_or(|limit| self.age() <= limit)
    }

    /// How long ago the log was last read to its end; zero if no other process can write it.
    #[must_use]
    pub fn age(&self) -> Duration {
        if self.0.max_staleness.is_none() {
            return Duration::ZERO;
        }
        self.0.read_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Whether a token, or the key that minted it, is revoked. A token that is not is looked up again only after another
    /// revocation.
    #[must_use]
    pub(crate) fn is_revoked(&self, token: &ClientToken) -> bool {
        // Increased after the maps are changed: every revocation that is counted here is found in them.
        let count = self.0.count.load(Ordering::Acquire);
        if token.cleared_at.load(Ordering::Relaxed) == count {
            return false;
        }
        let is_revoked = self.0.tokens.read().unwrap_or_else(PoisonError::into_inner).contains_key(&token.id)
            || self.is_key_revoked(&token.key_id);
        if !is_revoked {
            token.cleared_at.store(count, Ordering::Relaxed);
        }
        is_revoked
    }

    /// Whether an API key is revoked.
    #[must_use]
    pub(crate) fn is_key_revoked(&self, id: &str) -> bool {
        self.0.keys.read().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    /// Returns as soon as this process knows that a token, or the key that minted it, is revoked.
    pub(crate) async fn until_revoked(&self, token: &ClientToken) {
        let mut revocations = self.0.revocations.subscribe();
        while !self.is_revoked(token) {
            // The sender lives as long as this feed.
            let _ = revocations.changed().await;
        }
    }

    /// Returns as soon as this process knows that an API key is revoked.
    pub(crate) async fn until_key_revoked(&self, id: &str) {
        let mut revocations = self.0.revocations.subscribe();
        while !self.is_key_revoked(id) {
            // The sender lives as long as this feed.
            let _ = revocations.changed().await;
        }
    }

    /// Revokes a token: durable when this returns, effective here at once, elsewhere through the log.
    ///
    /// # Errors
    /// When the database fails; then it is not revoked.
    pub async fn revoke(&self, token: &ClientToken) -> Result<(), StoreError> {
        self.0.store.revoke_client_token(token.id, token.expires_at, self.0.clock.now_millis()).await?;
        self.note_token(token.id, token.expires_at);
        Ok(())
    }

    /// Waits until the log has been read once more, or until that takes too long.
    pub(crate) async fn catch_up(&self) {
        if self.0.max_staleness.is_none() {
            return;
        }
        let mut readings = self.0.readings.subscribe();
        self.0.hint.notify_one();
        let _ = tokio::time::timeout(POLL_TIMEOUT, readings.changed()).await;
    }

    /// Forgets revoked tokens that expired before `horizon`, which must be as far in the past as that of the store's
    /// purge: no correction of the clock may make them valid again.
    pub(crate) fn forget_expired(&self, horizon: Millis) {
        let mut tokens = self.0.tokens.write().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, expires_at| *expires_at >= horizon);
    }

    async fn follow_log(&self) {
        let mut is_failing = false;
        loop {
            match tokio::time::timeout(POLL_TIMEOUT, self.read()).await {
                Ok(Ok(())) if is_failing => {
                    is_failing = false;
                    warn!("Revocations are read again");
                }
                Ok(Ok(())) => {}
                Ok(Err(error)) if !is_failing => {
                    is_failing = true;
                    warn!(%error, "Revocations cannot be read; client tokens are refused once this has lasted too long");
                }
                Err(_) if !is_failing => {
                    is_failing = true;
                    warn!(
                        "Reading revocations takes too long; client tokens are refused once this has lasted too long"
                    );
                }
                _ => {}
            }
            tokio::time::sleep(MIN_POLL_INTERVAL).await;
            tokio::select! {
                () = self.0.hint.notified() => {}
                () = tokio::time::sleep(POLL_INTERVAL.saturating_sub(MIN_POLL_INTERVAL)) => {}
            }
        }
    }

    async fn follow_hints(&self) {
        loop {
            match self.0.store.listen().await {
                Ok(mut listener) => {
                    while listener.wait().await.is_ok() {
                        self.0.hint.notify_one();
                    }
                }
                Err(error) => debug!(%error, "Cannot listen for hints"),
            }
            tokio::time::sleep(LISTEN_RETRY).await;
        }
    }

    async fn read(&self) -> Result<(), KeyringError> {
        // Taken before the query: its result may lack what is committed later.
        let started = Instant::now();
        loop {
            let seen = self.0.seen.load(Ordering::Acquire);
            let changes = self.0.store.changes_after(seen, BATCH).await?;
            let Some(last) = changes.last().map(|change| change.seq) else { break };
            let complete = i64::try_from(changes.len()).is_ok_and(|count| count < BATCH);
            self.apply(changes).await?;
            self.0.seen.store(last, Ordering::Release);
            if complete {
                break;
            }
        }
        *self.0.read_at.lock().unwrap_or_else(PoisonError::into_inner) = started;
        self.0.readings.send_modify(|count| *count += 1);
        Ok(())
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<(), KeyringError> {
        let mut new_signing_keys = false;
        for change in changes {
            match change.kind {
                ChangeKind::TokenRevoked => match change.subject.parse() {
                    Ok(id) => self.note_token(id, change.expires_at.unwrap_or(Millis::MAX)),
                    Err(_) => warn!(change.seq, "A revocation names no token id"),
                },
                ChangeKind::KeyRevoked => {
                    self.0.keys.write().unwrap_or_else(PoisonError::into_inner).insert(change.subject.into());
                    self.count_revocation();
                }
                ChangeKind::SigningKeysChanged => new_signing_keys = true,
            }
        }
        if new_signing_keys {
            self.0.keyring.reload(&self.0.store).await?;
        }
        Ok(())
    }

    fn note_token(&self, id: Uuid, expires_at: Millis) {
        let known = self.0.tokens.write().unwrap_or_else(PoisonError::into_inner).insert(id, expires_at);
        if known.is_none() {
            self.count_revocation();
        }
    }

    fn count_revocation(&self) {
        self.0.count.fetch_add(1, Ordering::Release);
        self.0.revocations.send_modify(|()| ());
    }
}
