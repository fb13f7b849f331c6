//! A socket that records when bytes arrive and when it accepts no more.

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
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, state: Arc<ConnectionState>) -> Self {
        #[cfg(any(target_os = "android", target_os = "linux"))]
        if let Err(error) =
            socket2::SockRef::from(&stream).set_tcp_notsent_lowat(u32::try_from(MAX_UNSENT).unwrap_or(u32::MAX))
        {
            debug!(%error, "Cannot limit how many unsent bytes the system buffers");
        }
        Self { stream, state }
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
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.record(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.record(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// The HTTP library flushes once it has written everything.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state.write_progress.unblock() {
            context.waker().wake_by_ref();
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
