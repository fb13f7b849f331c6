//! What is known about a request while it is handled, for the log, the metrics and the journal.

use super::{Operation, permit::Bearer, quota::Allowance, step::Step};
use crate::{
    credentials::Fingerprint,
    error::ApiError,
    model::{AccessSet, AgentId},
};

/// What is known about a request. The guard fills it in as it goes, so that it also holds for a request that is refused.
#[derive(Clone, Debug, Default)]
pub struct RequestContext {
    /// The operation, once the path and method match one.
    pub operation: Option<Operation>,
    /// The fingerprint of the bearer, once it is read.
    pub fingerprint: Option<Fingerprint>,
    /// What a client token may still send; `None` without a request quota.
    pub(crate) allowance: Option<Allowance>,
    /// Whether a refusal is written as the `OpenAI` API does: on its paths, unless the caller holds an API key.
    pub(crate) speaks_openai: bool,
    /// Whether the client token was in the cache of verified tokens; `None` for other callers.
    pub remembered: Option<bool>,
    /// The steps of the decision, in their order; `None` where nobody looks into it.
    pub(crate) steps: Option<Vec<Step>>,
    /// The caller, once its bearer is verified, also when it has expired or was revoked. Only kept beside `steps`.
    pub(crate) caller: Option<Bearer>,
    /// The query parameters and body fields that nobody knows and that were dropped, such as `query.x` and
    /// `body.messages[0].x`. Only kept beside `steps`.
    pub(crate) dropped_fields: Vec<String>,
    /// The access that a client token needs for the request, by agent. Only kept beside `steps`.
    pub(crate) needed: Vec<(AgentId, AccessSet)>,
    /// What a test makes of the client token's state, for this request alone.
    pub(crate) impaired: Impaired,
}

/// What is taken for granted about a client token, although it is not so. Tests do that, through faults.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Impaired {
    /// Whether revocations count as not read for too long.
    pub(crate) is_feed_stale: bool,
    /// The request quota, where requests are not limited.
    pub(crate) allowance: Option<Allowance>,
}

impl RequestContext {
    /// A context that keeps the steps of the decision.
    #[must_use]
    pub(crate) fn with_steps() -> Self {
        Self { steps: Some(Vec::with_capacity(12)), ..Self::default() }
    }

    /// Whether the steps of the decision are kept.
    pub(super) fn keeps_steps(&self) -> bool {
        self.steps.is_some()
    }

    /// Keeps a step, if steps are kept.
    pub(crate) fn step(&mut self, asked: &'static str, said: impl FnOnce() -> String) {
        if let Some(steps) = &mut self.steps {
            steps.push(Step::new(asked, said()));
        }
    }

    /// Keeps what access is needed on an agent, if steps are kept.
    pub(super) fn need(&mut self, agent: &AgentId, access: AccessSet) {
        if self.keeps_steps() {
            self.needed.push((agent.clone(), access));
        }
    }

    /// Keeps the step that refuses the request: `values` says what was sent and what is needed, and the refusal itself what
    /// to do.
    pub(crate) fn refuse(
        &mut self,
        asked: &'static str,
        values: impl FnOnce() -> String,
        refusal: impl Into<ApiError>,
    ) -> ApiError {
        let refusal = refusal.into();
        self.step(asked, || format!("{}: no. {}", values(), refusal.message()));
        refusal
    }

    /// Keeps the step of a check. Of either result `values` says what was sent and what is needed.
    ///
    /// # Errors
    /// Those of the check.
    pub(crate) fn check<T, E: Into<ApiError>>(
        &mut self,
        asked: &'static str,
        result: Result<T, E>,
        values: impl FnOnce() -> String,
    ) -> Result<T, ApiError> {
        match result {
            Ok(checked) => {
                self.step(asked, values);
                Ok(checked)
            }
            Err(refusal) => Err(self.refuse(asked, values, refusal)),
        }
    }
}
