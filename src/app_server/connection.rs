//! The connection to an App Server: over the network, or within the process.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    net::TcpStream,
};
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::WebSocketConfig};

use super::io::Metered;

/// The largest message that is read from an App Server, in bytes.
pub(super) const MAX_MESSAGE: usize = 32 * 1024 * 1024;

/// A socket to an App Server.
pub(super) type ServerSocket = WebSocketStream<Metered<Connection>>;

/// A connection to an App Server.
#[expect(clippy::large_enum_variant, reason = "nearly all are of the network")]
pub(super) enum Connection {
    /// Over the network.
    Remote(TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>),
    /// Within the process.
    Resident(DuplexStream),
}

macro_rules! either {
    ($connection:expr, $inner:ident => $call:expr) => {
        match $connection.get_mut() {
            Connection::Remote($inner) => $call,
            Connection::Resident($inner) => $call,
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, inner => Pin::new(inner).poll_read(context, buffer))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, inner => Pin::new(inner).poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, inner => Pin::new(inner).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, inner => Pin::new(inner).poll_shutdown(context))
    }
}

/// How sockets read and write. Buffers are small, because most sockets are idle.
pub(super) fn socket_config(max_message: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(8 * 1024)
        .write_buffer_size(16 * 1024)
        .max_message_size(Some(max_message))
        .max_frame_size(Some(max_message))
}
