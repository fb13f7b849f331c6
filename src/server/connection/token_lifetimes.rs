//! Watches the lifetimes of the client tokens whose responses are in flight.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{Stream, stream::FuturesUnordered};

use crate::http::{Surface, TokenLifetime};

/// The ends of several token lifetimes. Each future is polled only when it was woken, because this is polled for every
/// frame of a response.
#[derive(Default)]
pub(crate) struct TokenLifetimes(FuturesUnordered<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl TokenLifetimes {
    pub(crate) fn add(&mut self, lifetime: TokenLifetime, surface: &Surface) {
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
