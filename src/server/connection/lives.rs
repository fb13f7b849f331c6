//! Watching over the lives that responses must not outlast, while those are under way.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{Stream, stream::FuturesUnordered};

use crate::http::{Life, Surface};

/// The ends of some lives. Each is asked only when it has something to say, however often this is polled: a response may
/// have a thousand frames.
#[derive(Default)]
pub(crate) struct Lives(FuturesUnordered<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Lives {
    pub(crate) fn add(&mut self, life: Life, surface: &Surface) {
        self.0.push(Box::pin(surface.end_of(life)));
    }

    pub(crate) fn clear(&mut self) {
        if !self.0.is_empty() {
            self.0 = FuturesUnordered::new();
        }
    }

    /// Whether one has ended; the task is woken when one does.
    pub(crate) fn has_ended(&mut self, context: &mut Context<'_>) -> bool {
        !self.0.is_empty() && matches!(Pin::new(&mut self.0).poll_next(context), Poll::Ready(Some(())))
    }
}
