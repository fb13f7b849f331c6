//! What a process does beside answering: it watches the clock, forgets what expired long ago, and writes down when API
//! keys were used.

use std::{sync::Arc, time::Duration};

use tracing::{info, warn};

use crate::{
    access::{Authenticator, Feed, Quotas},
    clock::{Clock, Millis, Noticed},
    credentials::Keyring,
    entropy,
    http::App,
    store::{Store, StoreError},
};

/// How often the clock is looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// After how many looks uses of API keys are written, and after how many what has expired is purged.
const RECORD_EVERY: u32 = 10;
const PURGE_EVERY: u32 = 60;
const PURGE_BATCH: i64 = 1_000;

/// The upkeep of one process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Upkeep {
    store: Store,
    feed: Feed,
    keyring: Arc<Keyring>,
    bearers: Authenticator,
    quotas: Quotas,
    clock: Clock,
    retention: Millis,
    /// This process, among those that write to the same store.
    writer: Arc<str>,
}

impl Upkeep {
    /// Begins where the last process stopped: what its clock has confirmed is believed, the rest must be measured anew.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin(
        app: &App,
        keyring: Arc<Keyring>,
        clock: Clock,
        retention: Duration,
    ) -> Result<Self, StoreError> {
        let upkeep = Self {
            store: app.store.clone(),
            feed: app.feed.clone(),
            keyring,
            bearers: app.guard.bearers.clone(),
            quotas: app.guard.quotas.clone(),
            clock,
            retention: Millis::try_from(retention.as_millis()).unwrap_or(Millis::MAX),
            writer: entropy::letta_id("process").into(),
        };
        if let Some((_, last)) = upkeep.store.clock_record().await? {
            match upkeep.clock.resume(last) {
                Some(Noticed::Ahead(by)) => info!(
                    "By the clock nothing has run on this database for {}, or the clock is ahead; nothing that expired \
                     in that time is purged until as much has been measured",
                    duration(by)
                ),
                noticed => log(noticed),
            }
        }
        upkeep.store.write_clock_record(&upkeep.writer, upkeep.clock.record()).await?;
        Ok(upkeep)
    }

    /// Looks after everything for as long as it is polled.
    pub async fn run(self) {
        let mut looks: u32 = 0;
        loop {
            let is_settled = self.watch();
            if is_settled || looks.is_multiple_of(PURGE_EVERY) {
                self.purge().await;
            }
            if looks.is_multiple_of(RECORD_EVERY) {
                // A failure keeps the uses for the next round; the feed already reports that the database is away.
                let _ = self.bearers.record_key_uses().await;
            }
            looks = looks.wrapping_add(1);
            tokio::time::sleep(WATCH_INTERVAL).await;
        }
    }

    /// Looks at the clock, and logs what it did; true when it is believed again, so that what had to wait can be purged.
    fn watch(&self) -> bool {
        let noticed = self.clock.observe();
        log(noticed);
        matches!(noticed, Some(Noticed::Settled(_)))
    }

    /// Purges what expired longer ago than the retention, by the settled time and in bounded batches.
    pub async fn purge(&self) {
        self.watch();
        self.quotas.forget_idle();
        // Whoever cannot hear the others forgets nothing.
        if self.exchange_clocks().await.is_ok() {
            let horizon = self.clock.record().settled_at.saturating_sub(self.retention);
            self.feed.forget_expired(horizon);
            let mut purged = 0;
            while let Ok(count @ 1..) = self.store.purge_expired(horizon, PURGE_BATCH).await {
                purged += count;
                tokio::task::yield_now().await;
            }
            if purged > 0 {
                info!(purged, "Purged expired tokens");
            }
        }
        let _ = self.keyring.reload(&self.store).await;
    }

    /// Writes what the next process, or another that runs, is to know.
    pub async fn stop(&self) {
        if let Err(error) = self.bearers.record_key_uses().await {
            warn!(%error, "The last uses of API keys were not recorded");
        }
        self.watch();
        if let Err(error) = self.exchange_clocks().await {
            warn!(%error, "The time was not recorded");
        }
    }

    async fn exchange_clocks(&self) -> Result<(), StoreError> {
        if let Some((writer, record)) = self.store.clock_record().await?
            && *writer != *self.writer
        {
            log(self.clock.hear(record));
        }
        self.store.write_clock_record(&self.writer, self.clock.record()).await
    }
}

fn log(noticed: Option<Noticed>) {
    let Some(noticed) = noticed else { return };
    match noticed {
        Noticed::Back(by) => warn!(
            "The clock went back by {}: what had expired may be good again, what was revoked is not",
            duration(by)
        ),
        Noticed::Ahead(by) => warn!(
            "The clock went ahead by {}: what has expired by that is refused, and not purged until as much time has been \
             measured",
            duration(by)
        ),
        Noticed::Settled(by) => {
            info!("The clock has been ahead by {} for so long that it is believed", duration(by));
        }
        Noticed::Disagreement(by) => warn!(
            "The clock is {} ahead of that of another process on this database: one of them is wrong, and nothing is \
             purged that is not due by both",
            duration(by)
        ),
    }
}

fn duration(millis: Millis) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_millis(millis.unsigned_abs()))
}
