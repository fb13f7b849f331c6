//! Limits the memory that a client token's unread responses take.
//!
//! A response that is built or read whole is charged to its token, before the memory is allocated where the size is known.
//! The bytes own the charge, which is released with the last of them, wherever the HTTP library keeps them.

use std::{
    collections::HashMap,
    mem,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use http::Version;
use uuid::Uuid;

use super::denial::Denial;

/// A response of at most this many bytes is not charged on an HTTP/1.1 connection, which holds one at a time and takes as
/// much memory by itself. An HTTP/2 connection may hold hundreds.
pub(super) const SMALL: usize = 16 * 1024;

/// The budget of every client token.
#[derive(Debug)]
pub(super) struct ResponseBudget {
    limit: NonZeroUsize,
    /// The bytes charged to each token, if any.
    held: Mutex<HashMap<Uuid, usize>>,
    /// How many tokens those are, so that zero is known without the lock.
    holders: AtomicUsize,
}

/// What one response takes of its token's budget, released when this is dropped.
#[derive(Debug)]
pub(crate) struct Charge<'a> {
    /// `None` if nothing is charged.
    account: Option<Account<'a>>,
    bytes: usize,
}

#[derive(Debug)]
struct Account<'a> {
    budget: &'a Arc<ResponseBudget>,
    token: Uuid,
    /// The largest response, in bytes, that is not charged.
    free: usize,
}

/// Bytes with their charge.
struct Charged {
    bytes: Bytes,
    budget: Arc<ResponseBudget>,
    token: Uuid,
    charge: usize,
}

impl ResponseBudget {
    pub(super) fn new(limit: NonZeroUsize) -> Self {
        Self { limit, held: Mutex::default(), holders: AtomicUsize::new(0) }
    }

    pub(super) fn charge(self: &Arc<Self>, token: Uuid, version: Version) -> Charge<'_> {
        let free = if version == Version::HTTP_2 { 0 } else { SMALL };
        Charge { account: Some(Account { budget: self, token, free }), bytes: 0 }
    }

    fn denial(&self) -> Denial {
        Denial::TooManyResponseBytes { limit: self.limit }
    }

    fn take(&self, token: Uuid, bytes: usize) -> Result<(), Denial> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let before = held.get(&token).copied().unwrap_or_default();
        let after = before.checked_add(bytes).filter(|after| *after <= self.limit.get());
        held.insert(token, after.ok_or_else(|| self.denial())?);
        self.holders.store(held.len(), Relaxed);
        Ok(())
    }

    fn release(&self, token: Uuid, bytes: usize) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&token) {
            *count -= bytes;
            if *count == 0 {
                held.remove(&token);
            }
        }
        self.holders.store(held.len(), Relaxed);
    }

    fn is_spent(&self, token: Uuid) -> bool {
        self.holders.load(Relaxed) > 0
            && self
                .held
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(&token)
                .is_some_and(|held| *held >= self.limit.get())
    }
}

impl Charge<'_> {
    /// A charge that stays empty: responses to API keys are not limited.
    #[must_use]
    pub(crate) fn uncounted() -> Self {
        Self { account: None, bytes: 0 }
    }

    /// Checks that some of the token's budget is left, before its request takes effect.
    ///
    /// # Errors
    /// When nothing is left.
    pub(crate) fn check(&self) -> Result<(), Denial> {
        match &self.account {
            Some(Account { budget, token, .. }) if budget.is_spent(*token) => Err(budget.denial()),
            _ => Ok(()),
        }
    }

    /// Raises the charge to this many bytes.
    ///
    /// # Errors
    /// When the token's budget is too small.
    pub(crate) fn cover(&mut self, bytes: usize) -> Result<(), Denial> {
        if let Some(Account { budget, token, free }) = &self.account
            && bytes > self.bytes.max(*free)
        {
            budget.take(*token, bytes - self.bytes)?;
            self.bytes = bytes;
        }
        Ok(())
    }

    /// Ties the charge, adjusted to their size, to the bytes of the response.
    ///
    /// # Errors
    /// When the token's budget is too small.
    pub(crate) fn attach(mut self, bytes: Bytes) -> Result<Bytes, Denial> {
        self.cover(bytes.len())?;
        let Some(Account { budget, token, free }) = self.account.as_ref() else { return Ok(bytes) };
        if bytes.len() <= *free {
            return Ok(bytes);
        }
        let (budget, token, charge) = (Arc::clone(budget), *token, bytes.len());
        let surplus = mem::take(&mut self.bytes) - charge;
        if surplus > 0 {
            budget.release(token, surplus);
        }
        Ok(Bytes::from_owner(Charged { bytes, budget, token, charge }))
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        if self.bytes > 0
            && let Some(Account { budget, token, .. }) = &self.account
        {
            budget.release(*token, self.bytes);
        }
    }
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Charged {
    fn drop(&mut self) {
        self.budget.release(self.token, self.charge);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    fn budget(limit: usize) -> Arc<ResponseBudget> {
        Arc::new(ResponseBudget::new(NonZeroUsize::new(limit).unwrap()))
    }

    fn held(budget: &ResponseBudget, token: Uuid) -> usize {
        budget.held.lock().unwrap().get(&token).copied().unwrap_or_default()
    }

    #[test]
    fn a_charge_goes_with_the_last_of_its_bytes() {
        let budget = budget(100_000);
        let mut charge = budget.charge(ONE, Version::HTTP_11);
        charge.cover(90_000).unwrap();
        assert_eq!(held(&budget, ONE), 90_000);
        let mut bytes = charge.attach(Bytes::from(vec![0; 60_000])).unwrap();
        assert_eq!(held(&budget, ONE), 60_000, "as large as what was made of it");
        let piece = bytes.split_to(10);
        drop(bytes);
        assert_eq!(held(&budget, ONE), 60_000);
        drop(piece);
        assert!(budget.held.lock().unwrap().is_empty());
    }

    #[test]
    fn beyond_the_limit_nothing_is_taken_and_others_are_not_affected() {
        let budget = budget(100_000);
        let mut first = budget.charge(ONE, Version::HTTP_11);
        first.cover(100_000).unwrap();
        let mut second = budget.charge(ONE, Version::HTTP_11);
        let denial = Denial::TooManyResponseBytes { limit: budget.limit };
        assert_eq!(second.check(), Err(denial.clone()));
        assert_eq!(second.cover(SMALL + 1), Err(denial.clone()));
        assert_eq!(second.attach(Bytes::from(vec![0; SMALL + 1])), Err(denial));
        assert_eq!(held(&budget, ONE), 100_000);
        let mut other = budget.charge(OTHER, Version::HTTP_11);
        other.check().unwrap();
        other.cover(100_000).unwrap();
        drop((first, other));
        assert!(budget.held.lock().unwrap().is_empty());
        budget.charge(ONE, Version::HTTP_11).check().unwrap();
    }

    #[test]
    fn what_is_small_is_free_where_a_connection_holds_one() {
        let budget = budget(100_000);
        let small = || Bytes::from(vec![0; SMALL]);
        let free = budget.charge(ONE, Version::HTTP_11).attach(small()).unwrap();
        assert_eq!((free.len(), held(&budget, ONE)), (SMALL, 0));
        let counted = budget.charge(ONE, Version::HTTP_2).attach(small()).unwrap();
        assert_eq!((counted.len(), held(&budget, ONE)), (SMALL, SMALL));
        Charge::uncounted().attach(Bytes::from(vec![0; 200_000])).unwrap();
    }
}
