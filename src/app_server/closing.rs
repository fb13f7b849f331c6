//! Closing the socket of a client, with a code that its page can read.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::protocol::{CloseFrame, Message, frame::coding::CloseCode},
};

use super::frame::Close;
use crate::error::Code;

/// How long a client may take to read the close frame and to respond to it.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How much is read, and thrown away, of what a client still sends.
const MOST_DISCARDED: u64 = 1024 * 1024;

impl Close {
    /// The close for one of the closed set of codes.
    pub(super) fn of(code: Code) -> Self {
        let number = match code {
            Code::TokenExpired | Code::TokenRevoked => 4401,
            Code::RateLimited => 4429,
            Code::UnsupportedMediaType => 1003,
            Code::BodyTooLarge => 1009,
            Code::InvalidRequest | Code::RequestTimeout => 1008,
            Code::UpstreamUnreachable | Code::RevocationsStale => 1013,
            Code::Internal => 1011,
            _ => 4403,
        };
        Self { code: number, reason: code.word() }
    }

    /// Gatelet stops.
    pub(super) const RESTARTING: Self = Self { code: 1012, reason: "restarting" };

    /// A message is not UTF-8.
    pub(super) const NOT_UTF8: Self = Self { code: 1007, reason: "" };

    /// The client breaks the rules of the protocol.
    pub(super) const PROTOCOL: Self = Self { code: 1002, reason: "" };
}

/// Sends a close frame and lets the client respond to it, so that the system does not throw the frame away with what was
/// not read.
pub(super) async fn close<S: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocketStream<S>, close: Close) {
    let frame = CloseFrame { code: CloseCode::from(close.code), reason: close.reason.into() };
    let parting = async {
        if socket.send(Message::Close(Some(frame))).await.is_err() {
            return;
        }
        // After an error of the protocol nothing more is read as messages.
        while let Some(Ok(_)) = socket.next().await {}
        let mut stream = socket.into_inner();
        if stream.shutdown().await.is_ok() {
            let _ = tokio::io::copy(&mut stream.take(MOST_DISCARDED), &mut tokio::io::sink()).await;
        }
    };
    let _ = timeout(TIMEOUT, parting).await;
}

/// Responds to the close frame of a client.
pub(super) async fn acknowledge<S: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocketStream<S>) {
    let _ = timeout(TIMEOUT, async { while let Some(Ok(_)) = socket.next().await {} }).await;
}
