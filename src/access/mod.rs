//! Decides whether a request is allowed.
//!
//! The order of the checks matters. The bearer is checked first, so that strangers learn nothing; the path is matched
//! before the policy is applied to it; the origin is checked before a body is read; existence is looked up last.
//! `Guard` is that order; each of its checks is a file of its own.

mod admitted;
mod attempt;
pub mod authenticator;
mod bound;
pub(crate) mod denial;
mod describe;
mod feed;
mod fields;
pub mod grant;
mod guard;
mod ids;
mod inspect;
pub mod json;
mod needs;
mod openai_input;
mod operations;
mod origin;
mod ownership;
mod permit;
mod place;
mod policy_check;
mod project;
pub(crate) mod quota;
mod redactor;
mod request_context;
mod response_budget;
mod step;
pub mod target;

pub use authenticator::{Authenticator, TestKeys};
pub use feed::Feed;
pub use grant::Grant;
pub use operations::Operation;
pub use redactor::{Passing, redact, redact_written};
pub use request_context::RequestContext;
pub(crate) use step::Outcome;
pub use step::Step;
pub(crate) use {
    admitted::{Admission, Admitted, Call, OnBehalf},
    attempt::Attempt,
    authenticator::{InstanceKeys, bearer},
    guard::Guard,
    ids::{DEFAULT_CONVERSATION, is_letta_id},
    needs::check_operation,
    operations::ServedBy,
    ownership::{NotLookedAt, Owned, Ownership, Shared},
    permit::{Bearer, Caller, Permit},
    quota::Quotas,
    redactor::{Redactor, Written, end_of_string},
    response_budget::Charge,
    target::Params,
};
