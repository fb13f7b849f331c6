//! Limits on each client token: its requests a minute; its concurrent streams and turns, large bodies and bytes of
//! responses.
//!
//! Requests are limited by the generic cell rate algorithm, a token bucket: up to the limit at once, replenished evenly over
//! the minute. Each process counts for itself, and forgets tokens that are idle.

use std::{
    collections::HashMap,
    fmt,
    num::{NonZeroU32, NonZeroUsize},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use foldhash::fast::RandomState;
use governor::{
    Quota, RateLimiter, clock::Clock as _, middleware::StateInformationMiddleware, nanos::Nanos,
    state::keyed::DashMapStateStore,
};
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use http_body::SizeHint;
use uuid::Uuid;

use super::{
    denial::Denial,
    response_budget::{Charge, ResponseBudget},
};
use crate::{clock::Clock, config::Limits, credentials::ClientToken};

const MINUTE: Duration = Duration::from_mins(1);

/// Bodies of more bytes are limited while they are in memory. Most messages take a thousandth of this.
const LARGE_BODY: u64 = 64 * 1024;

/// How many requests may be replenished while a token's are used up.
const MOST_REPLENISHED: usize = 1_000;

/// The limits on client tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Quotas {
    requests: Option<Arc<Requests>>,
    streams: Option<Arc<PermitPool>>,
    large_bodies: Option<Arc<PermitPool>>,
    responses: Option<Arc<ResponseBudget>>,
    /// Whether requests are counted and permits taken.
    counts: bool,
}

/// What is left of a client token's request quota.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Allowance {
    /// The requests a minute.
    limit: NonZeroU32,
    /// How many would be accepted at once.
    remaining: u32,
    /// The longest time until there is one more.
    reset: Duration,
    is_spent: bool,
}

/// A token's claim on one stream, turn or large body, released when this is dropped. Boxed, because most calls have none.
#[derive(Debug)]
pub(crate) struct ConcurrencyPermit(Box<PermitState>);

#[derive(Debug)]
struct PermitState {
    pool: Arc<PermitPool>,
    token: Uuid,
}

pub(super) struct Requests {
    limit: NonZeroU32,
    clock: QuotaClock,
    /// By the tokens' ids, which a caller cannot choose for their hash.
    tokens: RateLimiter<Uuid, DashMapStateStore<Uuid, RandomState>, QuotaClock, StateInformationMiddleware>,
}

/// The clock by which buckets are replenished.
#[derive(Clone, Debug)]
struct QuotaClock(Clock);

impl governor::clock::Clock for QuotaClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.monotonic().into()
    }
}

/// The permits of one kind, of which each token may hold a limited number.
#[derive(Debug)]
pub(super) struct PermitPool {
    limit: NonZeroU32,
    /// How many each token holds, if any.
    held: Mutex<HashMap<Uuid, u32>>,
}

impl Quotas {
    /// Limits for each token; `None` is no limit.
    #[must_use]
    pub(crate) fn new(
        requests_per_minute: Option<NonZeroU32>,
        streams: Option<NonZeroU32>,
        large_bodies: Option<NonZeroU32>,
        response_bytes: Option<NonZeroUsize>,
        clock: &Clock,
    ) -> Self {
        let requests = requests_per_minute.map(|limit| Arc::new(Requests::new(limit, clock.clone())));
        let pool = |limit| Arc::new(PermitPool::new(limit));
        Self {
            requests,
            streams: streams.map(pool),
            large_bodies: large_bodies.map(pool),
            responses: response_bytes.map(|limit| Arc::new(ResponseBudget::new(limit))),
            counts: true,
        }
    }

    /// Counts a request; `None` if requests are not limited or not counted.
    #[must_use]
    pub(crate) fn count(&self, token: &ClientToken) -> Option<Allowance> {
        self.requests.as_ref().filter(|_| self.counts).map(|requests| requests.count(token.id))
    }

    /// Uses up the requests that a token may send now. Where they are not limited, returns the allowance of a token whose
    /// requests of a minute, at a gateway's default, are used up.
    pub(crate) fn exhaust(&self, token: &ClientToken) -> Option<Allowance> {
        match &self.requests {
            Some(requests) => {
                requests.exhaust(token.id);
                None
            }
            None => NonZeroU32::new(Limits::GATEWAY_REQUESTS_PER_MINUTE).map(|limit| Allowance {
                limit,
                remaining: 0,
                reset: MINUTE / limit.get(),
                is_spent: true,
            }),
        }
    }

    /// The same limits for a request that is only explained: it is not counted, and takes nothing.
    #[must_use]
    pub(crate) fn uncounted(&self) -> Self {
        Self { counts: false, ..self.clone() }
    }

    /// Whether requests are counted.
    pub(super) fn counts(&self) -> bool {
        self.counts
    }

    /// What is left of the request quota once a request was counted, for a step.
    pub(super) fn describe_requests(&self, counted: Option<Allowance>) -> String {
        match (counted, &self.requests) {
            (Some(Allowance { limit, is_spent: true, .. }), _) => {
                format!("more than {limit} requests a minute were sent")
            }
            (Some(Allowance { limit, remaining, .. }), _) => {
                format!("{remaining} more of {limit} requests a minute are left")
            }
            (None, Some(requests)) => {
                format!("{} requests a minute are accepted; this one is not counted", requests.limit)
            }
            (None, None) => "requests are not limited".into(),
        }
    }

    /// How many of its streams the token has taken, for a step.
    pub(super) fn describe_streams(&self, token: &ClientToken) -> String {
        match &self.streams {
            Some(streams) => format!("{} of {} streams or turns are taken", streams.taken(token.id), streams.limit),
            None => "streams are not limited".into(),
        }
    }

    /// Takes one of the token's streams; `None` if streams are not limited.
    ///
    /// # Errors
    /// When all are taken.
    pub(crate) fn open_stream(&self, token: &ClientToken) -> Result<Option<ConcurrencyPermit>, Denial> {
        let Some(streams) = &self.streams else { return Ok(None) };
        if !self.counts {
            let is_free = streams.taken(token.id) < streams.limit.get();
            return if is_free { Ok(None) } else { Err(Denial::TooManyStreams { limit: streams.limit }) };
        }
        streams.take(token.id).map(Some).ok_or(Denial::TooManyStreams { limit: streams.limit })
    }

    /// Takes one of the token's large bodies; `None` if this one is small or they are not limited.
    ///
    /// # Errors
    /// When all are taken.
    pub(crate) fn hold_body(&self, token: &ClientToken, size: &SizeHint) -> Result<Option<ConcurrencyPermit>, Denial> {
        let Some(bodies) = &self.large_bodies else { return Ok(None) };
        if size.upper().is_some_and(|bytes| bytes <= LARGE_BODY) {
            return Ok(None);
        }
        if !self.counts {
            let is_free = bodies.taken(token.id) < bodies.limit.get();
            return if is_free { Ok(None) } else { Err(Denial::TooManyLargeBodies { limit: bodies.limit }) };
        }
        bodies.take(token.id).map(Some).ok_or(Denial::TooManyLargeBodies { limit: bodies.limit })
    }

    /// An empty charge for a response to the token.
    #[must_use]
    pub(crate) fn charge_response(&self, token: &ClientToken, version: Version) -> Charge<'_> {
        self.responses.as_ref().map_or_else(Charge::uncounted, |responses| responses.charge(token.id, version))
    }

    /// Forgets tokens that have sent nothing for a while.
    pub(crate) fn forget_idle(&self) {
        if let Some(requests) = &self.requests {
            requests.forget_idle();
        }
    }
}

impl Requests {
    pub(super) fn new(limit: NonZeroU32, clock: Clock) -> Self {
        let (quota, clock) = (Quota::per_minute(limit), QuotaClock(clock));
        let store = DashMapStateStore::with_hasher(RandomState::default());
        let tokens = RateLimiter::new(quota, store, clock.clone());
        Self { limit, clock, tokens }
    }

    /// The requests a minute.
    pub(super) fn limit(&self) -> NonZeroU32 {
        self.limit
    }

    /// Counts `amount` at once. Whether they are within the quota; if not, none of them was counted.
    pub(super) fn count_all(&self, token: Uuid, amount: NonZeroU32) -> bool {
        matches!(self.tokens.check_key_n(&token, amount), Ok(Ok(_)))
    }

    /// Forgets tokens whose bucket is full.
    pub(super) fn forget_idle(&self) {
        self.tokens.retain_recent();
        self.tokens.shrink_to_fit();
    }

    fn exhaust(&self, token: Uuid) {
        let counted = self.count(token);
        if let Some(left) = NonZeroU32::new(counted.remaining) {
            // It fails if requests have come in between, which have used some of them up.
            let _ = self.tokens.check_key_n(&token, left);
        }
        // Some may be left, or have been replenished.
        for _ in 0..MOST_REPLENISHED {
            if self.count(token).is_spent {
                break;
            }
        }
    }

    pub(super) fn count(&self, token: Uuid) -> Allowance {
        let limit = self.limit;
        match self.tokens.check_key(&token) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                Allowance { limit, remaining, reset: MINUTE / limit.get(), is_spent: false }
            }
            Err(refusal) => {
                let reset = refusal.wait_time_from(self.clock.now());
                Allowance { limit, remaining: 0, reset, is_spent: true }
            }
        }
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Requests({} a minute, {} tokens)", self.limit, self.tokens.len())
    }
}

impl Allowance {
    /// Checks that the request that was counted is within the quota.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) fn check(&self) -> Result<(), Denial> {
        if self.is_spent {
            return Err(Denial::TooManyRequests { limit: self.limit, seconds: self.seconds() });
        }
        Ok(())
    }

    /// Sets the response headers of draft-ietf-httpapi-ratelimit-headers-07. The reset is when the quota increases, which
    /// for a bucket that fills evenly is the time of the next request.
    pub(crate) fn set_headers(&self, headers: &mut HeaderMap) {
        let remaining = HeaderValue::from(self.remaining);
        headers.insert(HeaderName::from_static("ratelimit-limit"), HeaderValue::from(self.limit.get()));
        headers.insert(HeaderName::from_static("ratelimit-remaining"), remaining);
        headers.insert(HeaderName::from_static("ratelimit-reset"), HeaderValue::from(self.seconds()));
    }

    /// The reset in seconds, rounded up.
    pub(super) fn seconds(&self) -> u64 {
        self.reset.as_secs() + u64::from(self.reset.subsec_nanos() > 0)
    }
}

impl PermitPool {
    /// A pool of which each token may hold `limit` permits.
    pub(super) fn new(limit: NonZeroU32) -> Self {
        Self { limit, held: Mutex::default() }
    }

    /// How many each token may hold.
    pub(super) fn limit(&self) -> NonZeroU32 {
        self.limit
    }

    /// How many the token holds.
    fn taken(&self, token: Uuid) -> u32 {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).get(&token).copied().unwrap_or_default()
    }

    pub(super) fn take(self: &Arc<Self>, token: Uuid) -> Option<ConcurrencyPermit> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(token).or_default();
        if *count >= self.limit.get() {
            return None;
        }
        *count += 1;
        Some(ConcurrencyPermit(Box::new(PermitState { pool: Arc::clone(self), token })))
    }
}

impl Drop for ConcurrencyPermit {
    fn drop(&mut self) {
        let PermitState { pool, token } = &*self.0;
        let mut held = pool.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(token) {
            *count -= 1;
            if *count == 0 {
                held.remove(token);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(limit: u32) -> Requests {
        Requests::new(NonZeroU32::new(limit).unwrap(), Clock::system())
    }

    #[test]
    fn each_token_has_a_bucket_of_its_own() {
        let requests = requests(2);
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let counted: Vec<Allowance> = [one, one, one, other].map(|token| requests.count(token)).into();
        assert_eq!(counted.iter().map(|counted| counted.remaining).collect::<Vec<_>>(), [1, 0, 0, 1]);
        assert_eq!(
            counted.iter().map(|counted| counted.check().is_ok()).collect::<Vec<_>>(),
            [true, true, false, true]
        );
        assert!(counted.iter().all(|counted| counted.seconds() == 30), "{counted:?}");
    }

    #[test]
    fn what_is_full_again_is_forgotten() {
        // A token's bucket is full again after six milliseconds.
        let requests = requests(10_000);
        for token in 0..100 {
            requests.count(Uuid::from_u128(token));
        }
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !requests.tokens.is_empty() {
            assert!(std::time::Instant::now() < deadline, "{requests:?}");
            requests.tokens.retain_recent();
        }
    }

    #[test]
    fn a_permit_is_released_when_it_is_dropped() {
        let pool = Arc::new(PermitPool { limit: NonZeroU32::new(2).unwrap(), held: Mutex::default() });
        let token = Uuid::from_u128(1);
        let first = pool.take(token).unwrap();
        let second = pool.take(token).unwrap();
        assert!(pool.take(token).is_none());
        assert!(pool.take(Uuid::from_u128(2)).is_some(), "another token's");
        drop(first);
        let third = pool.take(token).unwrap();
        drop((second, third));
        assert!(pool.held.lock().unwrap().is_empty());
    }
}
