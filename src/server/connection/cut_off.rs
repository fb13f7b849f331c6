//! Ends a response where a fault of a test says, after everything before is sent.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::time::{Sleep, sleep};

use super::state::ConnectionState;
use crate::{
    faults::wire::{CutOff, DELIVERY, How},
    request::body::BodyError,
};

/// The error of a body that is cut off, until it may be reported.
#[derive(Debug)]
pub(super) struct PendingCut {
    error: Option<BodyError>,
    how: How,
    /// How often the connection had written everything when the body was cut off; `None` once it has since.
    flushes: Option<usize>,
    delivery: Pin<Box<Sleep>>,
}

impl PendingCut {
    /// That of an error, if it is one of a fault; else the error.
    pub(super) fn of(error: BodyError, connection: Option<&ConnectionState>) -> Result<Self, BodyError> {
        let Some(CutOff(how)) = error.downcast_ref() else { return Err(error) };
        let (how, flushes) = (*how, connection.map(ConnectionState::flushes));
        Ok(Self { how, error: Some(error), flushes, delivery: Box::pin(sleep(DELIVERY)) })
    }

    /// Ready with the error when everything before it is written, and had the time to be delivered. `connection` is that of
    /// HTTP/1.1, which ends with the response.
    pub(super) fn poll(
        &mut self,
        connection: Option<&Arc<ConnectionState>>,
        context: &mut Context<'_>,
    ) -> Poll<Option<BodyError>> {
        if let (Some(flushes), Some(connection)) = (self.flushes, connection) {
            ready!(connection.poll_flushed(flushes, context));
            self.flushes = None;
            self.delivery.set(sleep(DELIVERY));
        }
        ready!(self.delivery.as_mut().poll(context));
        if let (How::Reset, Some(connection)) = (self.how, connection) {
            connection.abort();
        }
        Poll::Ready(self.error.take())
    }
}
