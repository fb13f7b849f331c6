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
    tungstenite::{
        self, Message,
        protocol::frame::{
            Frame,
            coding::{Data, OpCode},
        },
    },
};

use crate::app_server::io::Metered;

/// A message of more bytes is sent in several frames: the socket keeps a buffer as large as the largest frame that it sent.
const LARGE: usize = 256 * 1024;

/// How many bytes each of these frames has.
const PIECE: usize = 64 * 1024;

/// Messages that wait for their turn. The socket itself has at most one more, and what fits its buffer.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    frames: VecDeque<Message>,
    /// How many messages these are.
    messages: usize,
    bytes: usize,
    /// Whether the socket may have something that is not written.
    is_unflushed: bool,
    /// How much was written when the last progress was seen, and when that was; `None` while nothing waits.
    progress: Option<(u64, Instant)>,
}

impl Outbox {
    pub(super) fn push(&mut self, message: Message) {
        self.messages += 1;
        let kind = match &message {
            Message::Text(text) if text.len() > LARGE => Data::Text,
            Message::Binary(bytes) if bytes.len() > LARGE => Data::Binary,
            _ => return self.add(message),
        };
        let mut rest = message.into_data();
        let mut kind = OpCode::Data(kind);
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(PIECE));
            self.add(Message::Frame(Frame::message(piece, kind, rest.is_empty())));
            kind = OpCode::Data(Data::Continue);
        }
    }

    fn add(&mut self, message: Message) {
        self.bytes += message.len();
        self.frames.push_back(message);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// How many messages wait, one that is partly written included.
    pub(super) fn len(&self) -> usize {
        self.messages
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
        while !self.frames.is_empty() {
            std::task::ready!(socket.as_mut().poll_ready(context))?;
            if let Some(message) = self.frames.pop_front() {
                self.bytes -= message.len();
                self.messages -= usize::from(is_last(&message));
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

/// Whether a frame ends its message.
fn is_last(frame: &Message) -> bool {
    match frame {
        Message::Frame(frame) => frame.header().is_final,
        _ => true,
    }
}
