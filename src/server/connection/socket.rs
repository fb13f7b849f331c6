//! A socket that records when bytes arrive and when it accepts no more.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tracing::debug;

use super::{
    edit::Editor,
    state::{ConnectionState, Phase},
    write_progress::MIN_PROGRESS,
};

/// How many unsent bytes the system may buffer. It accepts more once half of them are sent, so that the progress of a slow
/// client is visible. Without this limit the client would have to read megabytes first.
#[cfg(any(target_os = "android", target_os = "linux"))]
const MAX_UNSENT: usize = 2 * MIN_PROGRESS;

/// The socket of one connection.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    state: Arc<ConnectionState>,
    /// Set while a fault changes the bytes of a response.
    edited: Option<Box<Edited>>,
}

/// A response whose bytes a fault changes.
#[derive(Debug)]
struct Edited {
    /// `None` once the change is made.
    editor: Option<Editor>,
    /// What is to be written.
    out: BytesMut,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, state: Arc<ConnectionState>) -> Self {
        #[cfg(any(target_os = "android", target_os = "linux"))]
        if let Err(error) =
            socket2::SockRef::from(&stream).set_tcp_notsent_lowat(u32::try_from(MAX_UNSENT).unwrap_or(u32::MAX))
        {
            debug!(%error, "Cannot limit how many unsent bytes the system buffers");
        }
        Self { stream, state, edited: None }
    }

    /// Writes what a fault has changed; ready when it is.
    fn poll_edited(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(edited) = self.edited.as_mut().filter(|edited| !edited.out.is_empty()) {
            let written = Pin::new(&mut self.stream).poll_write(context, &edited.out);
            if let Poll::Ready(Ok(bytes)) = &written {
                edited.out.advance(*bytes);
            }
            ready!(self.record(written))?;
        }
        if self.edited.as_ref().is_some_and(|edited| edited.editor.is_none()) {
            self.edited = None;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes bytes whose response a fault changes. `None` if it changes none.
    fn edit(&mut self, bytes: &[u8]) -> Option<usize> {
        let edited = self.edited.as_mut()?;
        let editor = edited.editor.as_mut()?;
        let mut out = Vec::new();
        if editor.pass(bytes, &mut out) {
            edited.editor = None;
        }
        edited.out.extend_from_slice(&out);
        Some(bytes.len())
    }

    /// Begins to change the bytes of a response, if a fault says so, and writes what was changed before.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(edit) = self.state.take_edit() {
            self.edited = Some(Box::new(Edited { editor: Some(Editor::new(edit)), out: BytesMut::new() }));
        }
        if self.edited.is_none() { Poll::Ready(Ok(())) } else { self.poll_edited(context) }
    }

    fn record(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(bytes)) => self.state.write_progress.accept(*bytes),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.state.write_progress.block(),
        }
        written
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A connection that is closed in the middle of a response is reset. Otherwise the system would still send what it
        // has buffered, and a client would take the end of the connection for the end of the response.
        if (self.state.write_progress.is_blocked() || self.state.is_aborted())
            && let Err(error) = self.stream.set_zero_linger()
        {
            debug!(%error, "Cannot reset a connection");
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // No more requests are read from a client that does not read responses: the library buffers responses without a
        // body without limit.
        if self.state.is(Phase::Idle) && self.state.write_progress.is_blocked() {
            self.state.write_progress.defer_read();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.state.record_arrival();
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_ready(context))?;
        if let Some(taken) = self.edit(bytes) {
            return Poll::Ready(Ok(taken));
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.record(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_ready(context))?;
        if self.edited.is_some()
            && let Some(taken) = pieces.iter().find(|piece| !piece.is_empty()).and_then(|piece| self.edit(piece))
        {
            return Poll::Ready(Ok(taken));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.record(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// The HTTP library flushes once it has written everything.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.edited.is_some() {
            ready!(self.poll_edited(context))?;
        }
        if self.state.write_progress.unblock() {
            context.waker().wake_by_ref();
        }
        self.state.note_flush();
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
