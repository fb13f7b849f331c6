//! Limits on the sockets of each client token: how many may be open, and what they may send a minute.

use std::{num::NonZeroU32, sync::Arc};

use super::{
    denial::Denial,
    quota::{ConcurrencyPermit, PermitPool, Requests},
};
use crate::{clock::Clock, config::AppServerSettings, credentials::ClientToken};

/// The limits on sockets. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct SocketQuotas {
    sockets: Option<Arc<PermitPool>>,
    frames: Option<Arc<Requests>>,
    inputs: Option<Arc<Requests>>,
    bytes: Option<Arc<Requests>>,
}

impl SocketQuotas {
    /// The limits of the settings.
    #[must_use]
    pub(crate) fn new(settings: &AppServerSettings, clock: &Clock) -> Self {
        let per_minute = |limit| NonZeroU32::new(limit).map(|limit| Arc::new(Requests::new(limit, clock.clone())));
        Self {
            sockets: NonZeroU32::new(settings.sockets_per_token).map(|limit| Arc::new(PermitPool::new(limit))),
            frames: per_minute(settings.frames_per_minute),
            inputs: per_minute(settings.inputs_per_minute),
            bytes: per_minute(settings.bytes_per_minute),
        }
    }

    /// Takes one of the token's sockets; `None` if they are not limited.
    ///
    /// # Errors
    /// When all are taken.
    pub(crate) fn open(&self, token: &ClientToken) -> Result<Option<ConcurrencyPermit>, Denial> {
        let Some(sockets) = &self.sockets else { return Ok(None) };
        sockets.take(token.id).map(Some).ok_or(Denial::TooManySockets { limit: sockets.limit() })
    }

    /// Counts a message; whether it is within the quota.
    #[must_use]
    pub(crate) fn count_frame(&self, token: &ClientToken) -> bool {
        self.frames.as_ref().is_none_or(|frames| frames.count_all(token.id, NonZeroU32::MIN))
    }

    /// Counts bytes that were received; whether they are within the quota.
    #[must_use]
    pub(crate) fn count_bytes(&self, token: &ClientToken, amount: u64) -> bool {
        let (Some(bytes), Some(amount)) = (&self.bytes, NonZeroU32::new(u32::try_from(amount).unwrap_or(u32::MAX)))
        else {
            return true;
        };
        bytes.count_all(token.id, amount)
    }

    /// Counts an input.
    ///
    /// # Errors
    /// When the quota is used up.
    pub(crate) fn count_input(&self, token: &ClientToken) -> Result<(), Denial> {
        let Some(inputs) = &self.inputs else { return Ok(()) };
        let allowance = inputs.count(token.id);
        let (limit, seconds) = (inputs.limit(), allowance.seconds());
        allowance.check().map_err(|_| Denial::TooManyInputs { limit, seconds })
    }

    /// Forgets tokens that have sent nothing for a while.
    pub(crate) fn forget_idle(&self) {
        for requests in [&self.frames, &self.inputs, &self.bytes].into_iter().flatten() {
            requests.forget_idle();
        }
    }
}
