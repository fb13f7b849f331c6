//! Periodic work: watching the clock, deleting what expired long ago, and recording when API keys were used.

use std::{sync::Arc, time::Duration};

use tracing::{info, warn};

use crate::{
    access::{Authenticator, Feed, Quotas, SocketQuotas},
    clock::{Clock, Millis, Noticed},
    credentials::Keyring,
    entropy,
    http::App,
    store::{Store, StoreError},
};

/// How often the clock is read.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The number of rounds after which uses of API keys are recorded, and after which expired records are purged.
const RECORD_EVERY: u32 = 10;
const PURGE_EVERY: u32 = 60;
const PURGE_BATCH: i64 = 1_000;

/// The upkeep of one process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Upkeep {
    store: Store,
    feed: Feed,
    keyring: Arc<Keyring>,
    authenticator: Authenticator,
    quotas: Quotas,
    socket_quotas: SocketQuotas,
    clock: Clock,
    retention: Millis,
    /// The id of this process among those that use the same store.
    writer: Arc<str>,
}

impl Upkeep {
    /// Continues where the last process stopped: the time that it confirmed is trusted, the rest must be measured
    /// again.
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
            authenticator: app.guard.authenticator.clone(),
            quotas: app.guard.quotas.clone(),
            socket_quotas: app.guard.socket_quotas.clone(),
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

    /// Works for as long as it is polled.
    pub async fn run(self) {
        let mut looks: u32 = 0;
        loop {
            let is_settled = self.watch();
            if is_settled || looks.is_multiple_of(PURGE_EVERY) {
                self.purge().await;
            }
            if looks.is_multiple_of(RECORD_EVERY) {
                // A failure keeps the uses for the next round; the feed already logs that the database is unavailable.
                let _ = self.authenticator.record_key_uses().await;
            }
            looks = looks.wrapping_add(1);
            tokio::time::sleep(WATCH_INTERVAL).await;
        }
    }

    /// Reads the clock and logs its steps. Returns true when the clock has become trusted again, so that purging can
    /// resume.
    fn watch(&self) -> bool {
        let noticed = self.clock.observe();
        log(noticed);
        matches!(noticed, Some(Noticed::Settled(_)))
    }

    /// Purges what expired longer ago than the retention period, by the settled time and in bounded batches.
    pub async fn purge(&self) {
        self.watch();
        self.quotas.forget_idle();
        self.socket_quotas.forget_idle();
        // A process that cannot read the others' records purges nothing.
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

    /// Stores the record of the time for other processes.
    pub async fn stop(&self) {
        if let Err(error) = self.authenticator.record_key_uses().await {
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
