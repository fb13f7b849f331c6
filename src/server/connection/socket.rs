//! A socket that tells when something arrives and what it does not take.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tracing::debug;

use super::{
    backlog::LEAST,
    state::{Phase, Pulse},
};

/// How many bytes the system may hold that it has not sent. It takes no more until half of them are gone, so that a client
/// that reads slowly is seen to read: without this limit it would have to read megabytes first.
#[cfg(any(target_os = "android", target_os = "linux"))]
const MOST_UNSENT: usize = 2 * LEAST;

/// The socket of one connection.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    pulse: Arc<Pulse>,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, pulse: Arc<Pulse>) -> Self {
        #[cfg(any(target_os = "android", target_os = "linux"))]
        if let Err(error) =
            socket2::SockRef::from(&stream).set_tcp_notsent_lowat(u32::try_from(MOST_UNSENT).unwrap_or(u32::MAX))
        {
            debug!(%error, "Cannot limit what the system holds unsent");
        }
        Self { stream, pulse }
    }

    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(bytes)) => self.pulse.backlog.take(*bytes),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.pulse.backlog.block(),
        }
        written
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // What is closed in the middle of a response is reset: what the system still holds of it is not sent, and an end
        // that closing marks would pass for a proper one.
        if (self.pulse.backlog.is_blocked() || self.pulse.is_cut())
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
        // Who reads no responses is not asked for more requests: responses without a body are kept without limit.
        if self.pulse.is(Phase::Idle) && self.pulse.backlog.is_blocked() {
            self.pulse.backlog.put_off_reading();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.pulse.note_arrival();
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// The HTTP library flushes when it has written everything.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pulse.backlog.clear() {
            context.waker().wake_by_ref();
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
