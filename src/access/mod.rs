//! Decides whether a request is allowed.
//!
//! The order of the checks matters. The bearer is checked first, so that strangers learn nothing; the path is matched
//! before the policy is applied to it; the origin is checked before a body is read; existence is looked up last.
//! [`Guard`] is that order; each of its checks is a file of its own.

mod admitted;
pub mod authenticator;
mod bound;
pub mod denial;
pub mod feed;
mod fields;
pub mod grant;
pub mod guard;
mod ids;
mod inspect;
pub mod json;
pub mod operations;
mod origin;
mod ownership;
mod permit;
mod policy_check;
mod project;
pub mod quota;
mod redactor;
mod request_context;
mod response_budget;
pub mod target;

pub use admitted::{Admission, Admitted, Call};
pub use authenticator::Authenticator;
pub use feed::Feed;
pub use grant::Grant;
pub use guard::Guard;
pub(crate) use ids::{DEFAULT_CONVERSATION, is_letta_id};
pub use operations::{Operation, ServedBy};
pub use ownership::{Owned, Ownership, Shared};
pub use permit::{Caller, Permit};
pub use quota::Quotas;
pub(crate) use redactor::end_of_string;
pub use redactor::{NotJson, Passing, Redactor, Written, redact, redact_in_passing, redact_written};
pub use request_context::RequestContext;
pub use response_budget::Charge;
pub use target::Params;
