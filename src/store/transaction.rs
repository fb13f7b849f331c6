//! Write transactions, and the one place that runs them, and runs them again after a conflict.

use std::time::{Duration, Instant};

use sqlx::{Postgres, Sqlite, Transaction};

use super::{Engine, Held, Result, Store, StoreError, held, order::Order};
use crate::{
    entropy,
    error::{ApiError, Code},
    world::{self, IdMark},
};

/// A write transaction, as `transaction!` runs it.
#[derive(Debug)]
pub struct Tx {
    pub(super) open: Open,
    /// What it has locked.
    pub(super) order: Order,
    /// Whether it is rolled back in any case.
    is_trial: bool,
    _held: Held,
}

#[derive(Debug)]
pub(super) enum Open {
    /// On PostgreSQL, `READ COMMITTED`.
    Postgres(Transaction<'static, Postgres>),
    /// On SQLite, begun with `BEGIN IMMEDIATE`, so that reading before writing cannot end in a lock conflict.
    Sqlite(Transaction<'static, Sqlite>),
}

/// Runs a body in a write transaction and commits when it returns `Ok`. After a conflict with other transactions (a
/// deadlock, a serialization failure, a lock that was held for too long), or when the body returns
/// [`StoreError::Contended`], everything is rolled back and the body runs again. It must therefore have no effects
/// outside the transaction, and must not consume captured values; the compiler refuses to move one.
///
/// `?` and `return` leave the body. The error is an [`ApiError`]; with `@store`, it is a [`StoreError`].
macro_rules! transaction {
    (@store $store:expr, $tx:ident => $body:block) => {
        $crate::store::transaction!(@run $crate::store::StoreError, $store, $tx => $body)
    };
    (@run $error:ty, $store:expr, $tx:ident => $body:block) => {{
        let mut attempts = $crate::store::Attempts::new(&$store);
        loop {
            match attempts.begin().await {
                Ok(mut begun) => {
                    let $tx = &mut begun;
                    let outcome: ::std::result::Result<_, $error> = async { $body }.await;
                    if let Some(done) = attempts.end(begun, outcome).await {
                        break done;
                    }
                }
                Err(error) => break Err::<_, $error>(error.into()),
            }
        }
    }};
    ($store:expr, $tx:ident => $body:block) => {
        $crate::store::transaction!(@run $crate::error::ApiError, $store, $tx => $body)
    };
}

pub(crate) use transaction;

/// A failure of a transaction's body.
pub trait TransactionFailure: From<StoreError> {
    /// Whether other transactions were in the way, so that a retry may succeed.
    fn is_contended(&self) -> bool;
}

impl TransactionFailure for StoreError {
    fn is_contended(&self) -> bool {
        matches!(self, Self::Contended(_))
    }
}

impl TransactionFailure for ApiError {
    fn is_contended(&self) -> bool {
        self.code() == Code::StoreBusy
    }
}

/// The attempts to run one transaction.
#[derive(Debug)]
pub struct Attempts<'a> {
    store: &'a Store,
    made: u32,
    since: Instant,
    /// Ids that an attempt draws are given back when it is rolled back, so that the next draws the same.
    ids: IdMark,
}

impl<'a> Attempts<'a> {
    const MOST: u32 = 8;
    /// No attempt begins after this time. PostgreSQL takes a second to notice a deadlock.
    const TIMEOUT: Duration = Duration::from_secs(3);
    const FIRST_PAUSE: Duration = Duration::from_millis(4);
    const LONGEST_PAUSE: Duration = Duration::from_millis(100);

    /// Before the first attempt.
    #[must_use]
    pub fn new(store: &'a Store) -> Self {
        Self { store, made: 0, since: Instant::now(), ids: world::mark_ids() }
    }

    /// Begins an attempt.
    ///
    /// # Errors
    /// When the database does not respond, or another process holds SQLite's lock for too long.
    pub async fn begin(&mut self) -> Result<Tx> {
        loop {
            self.made += 1;
            match self.store.begin().await {
                Err(error) if error.is_contended() && self.may_try_again() => self.pause().await,
                begun => return begun,
            }
        }
    }

    /// Ends an attempt: commits or rolls back. Returns `None` if the transaction has to run again.
    pub async fn end<T, E: TransactionFailure>(
        &mut self,
        tx: Tx,
        outcome: std::result::Result<T, E>,
    ) -> Option<std::result::Result<T, E>> {
        let error = match outcome {
            Ok(value) => match tx.commit().await {
                Ok(()) => return Some(Ok(value)),
                Err(error) => E::from(error),
            },
            Err(error) => {
                tx.roll_back().await;
                error
            }
        };
        if !error.is_contended() || !self.may_try_again() {
            return Some(Err(error));
        }
        world::rewind_ids(&self.ids);
        self.pause().await;
        None
    }

    fn may_try_again(&self) -> bool {
        self.made < Self::MOST && self.since.elapsed() < Self::TIMEOUT
    }

    /// Waits with exponential back-off and jitter.
    async fn pause(&self) {
        let longest = Self::FIRST_PAUSE.saturating_mul(1 << self.made.min(8)).min(Self::LONGEST_PAUSE);
        let [share] = entropy::bytes::<1>();
        tokio::time::sleep(longest.mul_f64((1.0 + f64::from(share)) / 256.0)).await;
    }
}

impl Store {
    async fn begin(&self) -> Result<Tx> {
        held::check_free();
        let open = match &self.engine {
            Engine::Postgres(pool) => Open::Postgres(pool.begin().await?),
            Engine::Sqlite { writer, .. } => Open::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
        };
        Ok(Tx { open, order: Order::default(), is_trial: false, _held: Held::new() })
    }
}

impl Tx {
    /// Rolls this transaction back, however it ends.
    pub fn only_try(&mut self) {
        self.is_trial = true;
    }

    /// Commits.
    async fn commit(self) -> Result<()> {
        if self.is_trial {
            self.roll_back().await;
            return Ok(());
        }
        match self.open {
            Open::Postgres(tx) => tx.commit().await?,
            Open::Sqlite(tx) => tx.commit().await?,
        }
        Ok(())
    }

    /// Rolls back. If this fails, the connection is gone, and the transaction with it.
    async fn roll_back(self) {
        let _ = match self.open {
            Open::Postgres(tx) => tx.rollback().await,
            Open::Sqlite(tx) => tx.rollback().await,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{IfMissing, NewDocument, StoreOptions};

    async fn memory() -> Store {
        let options = StoreOptions {
            url: None,
            if_missing: IfMissing::Create,
            most_read: usize::MAX,
            max_connections: 1,
            statement_timeout: Duration::from_secs(10),
        };
        let store = Store::open(&options).await.unwrap();
        store.migrate().await.unwrap();
        store
    }

    #[tokio::test]
    async fn what_met_others_is_undone_and_run_again_a_bounded_number_of_times() {
        let store = memory().await;
        let block = NewDocument { kind: "block", id: "block-1", project: "default", parent: None, body: "{}" };
        let mut runs = 0;
        let done = transaction!(@store store, tx => {
            tx.insert_document(&block).await?;
            runs += 1;
            if runs < 3 { Err(StoreError::Contended("once more".into())) } else { Ok(runs) }
        });
        assert_eq!((done.unwrap(), runs), (3, 3));
        assert!(store.document("block", "block-1").await.unwrap().is_some());

        let mut runs = 0;
        let given_up: std::result::Result<(), ApiError> = transaction!(store, tx => {
            tx.document("block", "block-1").await?;
            runs += 1;
            Err(StoreError::Contended("always".into()).into())
        });
        assert_eq!((given_up.unwrap_err().code(), runs), (Code::StoreBusy, Attempts::MOST));

        let mut runs = 0;
        let failed: Result<()> = transaction!(@store store, tx => {
            tx.document("block", "block-1").await?;
            runs += 1;
            Err(StoreError::Inconsistent("not the others' fault".into()))
        });
        assert!(matches!(failed, Err(StoreError::Inconsistent(_))) && runs == 1);
    }

    #[tokio::test]
    async fn a_trial_keeps_nothing() {
        let store = memory().await;
        let block = NewDocument { kind: "block", id: "block-1", project: "default", parent: None, body: "{}" };
        let tried: Result<()> = transaction!(@store store, tx => {
            tx.only_try();
            tx.insert_document(&block).await
        });
        tried.unwrap();
        assert!(store.document("block", "block-1").await.unwrap().is_none());
    }
}
