//! What is known about a request while it is handled, for the log and the metrics.

use super::{Operation, quota::Allowance};
use crate::credentials::Fingerprint;

/// What is known about a request. The guard fills it in as it goes, so that it also holds for a request that is refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestContext {
    /// The operation, once the path and method match one.
    pub operation: Option<Operation>,
    /// The fingerprint of the bearer, once it is read.
    pub fingerprint: Option<Fingerprint>,
    /// What a client token may still send; `None` without a request quota.
    pub(crate) allowance: Option<Allowance>,
    /// Whether the client token was in the cache of verified tokens; `None` for other callers.
    pub remembered: Option<bool>,
}
