//! What waits to be written to a socket.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::Sink;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message},
};

use crate::app_server::io::Metered;

/// Messages that wait for their turn. The socket itself has at most one more, and what fits its buffer.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    messages: VecDeque<Message>,
    bytes: usize,
    /// Whether the socket may have something that is not written.
    is_unflushed: bool,
    /// How much was written when the last progress was seen, and when that was; `None` while nothing waits.
    progress: Option<(u64, Instant)>,
}

impl Outbox {
    pub(super) fn push(&mut self, message: Message) {
        self.bytes += message.len();
        self.messages.push_back(message);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Since when nothing was written although something waits.
    pub(super) fn blocked_since(&self) -> Option<Instant> {
        self.progress.map(|(_, at)| at)
    }

    /// Writes what the socket takes. `Ready` if nothing waits any more.
    ///
    /// # Errors
    /// When the socket is lost.
    pub(super) fn poll_write<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        socket: &mut WebSocketStream<Metered<S>>,
        now: Instant,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), tungstenite::Error>> {
        let polled = self.poll_write_all(socket, context);
        match &polled {
            Poll::Ready(_) => self.progress = None,
            Poll::Pending => {
                let written = socket.get_ref().written;
                match &mut self.progress {
                    Some((before, _)) if *before == written => {}
                    progress => *progress = Some((written, now)),
                }
            }
        }
        polled
    }

    fn poll_write_all<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        socket: &mut WebSocketStream<Metered<S>>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), tungstenite::Error>> {
        let mut socket = Pin::new(socket);
        while !self.messages.is_empty() {
            std::task::ready!(socket.as_mut().poll_ready(context))?;
            if let Some(message) = self.messages.pop_front() {
                self.bytes -= message.len();
                self.is_unflushed = true;
                socket.as_mut().start_send(message)?;
            }
        }
        if self.is_unflushed {
            std::task::ready!(socket.poll_flush(context))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}
