//! Streaming the events of a run in the background again.

use std::{sync::Arc, time::Duration};

use crate::{
    error::{ApiError, Code},
    mock::{
        records::Run,
        resources::routes::HandlerResult,
        state::State,
        turn::{ReplayOptions, replay},
        validation::body::{Expect, Fields},
    },
    reply::Reply,
};

/// Reads the options of a request that streams a run again.
pub(in crate::mock::resources) fn read_options(fields: Option<&Fields<'_>>) -> Result<ReplayOptions, ApiError> {
    let Some(fields) = fields else { return Ok(ReplayOptions::WHOLE) };
    // The number of events that are read at once makes no difference here.
    fields.check(&[("batch_size", Expect::Integer)])?;
    let poll = match fields.optional::<f64>("poll_interval")? {
        Some(seconds) => Duration::try_from_secs_f64(seconds.min(10.0)).unwrap_or_default(),
        None => ReplayOptions::WHOLE.poll,
    };
    Ok(ReplayOptions {
        after: fields.at_least("starting_after", 0)?.and_then(|number| usize::try_from(number).ok()).unwrap_or(0),
        pings: fields.optional("include_pings")?.unwrap_or(true),
        poll: poll.clamp(Duration::from_millis(10), Duration::from_secs(10)),
    })
}

/// Streams the events of a run from the beginning or from a position in the options.
pub(in crate::mock::resources) fn replay_run(state: &Arc<State>, run: &Run, options: ReplayOptions) -> HandlerResult {
    if run.delivery.is_none() {
        return Err(ApiError::letta(
            Code::InvalidRequest,
            "INVALID_ARGUMENT: Run was not created in background mode, so it cannot be retrieved.",
        ));
    }
    Ok(Reply::Events(replay(state, run.id.clone(), None, options)))
}
