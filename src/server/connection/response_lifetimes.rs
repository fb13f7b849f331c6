//! Watches how long the responses in flight may live.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{Stream, stream::FuturesUnordered};

use crate::http::{ResponseLifetime, Surface};

/// The ends of several lifetimes. Each future is polled only when it was woken, because this is polled for every
/// frame of a response.
#[derive(Default)]
pub(crate) struct ResponseLifetimes(FuturesUnordered<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl ResponseLifetimes {
    pub(crate) fn add(&mut self, lifetime: ResponseLifetime, surface: &Surface) {
        self.0.push(Box::pin(surface.lifetime_end(lifetime)));
    }

    pub(crate) fn clear(&mut self) {
        if !self.0.is_empty() {
            self.0 = FuturesUnordered::new();
        }
    }

    /// Whether a lifetime has ended. If none has, the task is woken when one does.
    pub(crate) fn has_ended(&mut self, context: &mut Context<'_>) -> bool {
        !self.0.is_empty() && matches!(Pin::new(&mut self.0).poll_next(context), Poll::Ready(Some(())))
    }
}
