//! An App Server within the process: the mock.
//!
//! It takes frames and knows nothing of sockets. So that its sockets live as those of any other App Server do, each has a
//! connection in memory, at the other end of which a task reads and writes frames.

use std::fmt;

use futures_util::{SinkExt, StreamExt, future::BoxFuture};
use tokio::{io::duplex, sync::mpsc};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::{
    connection::{Connection, MAX_MESSAGE, ServerSocket, socket_config},
    frame::{Answer, Lookup},
    io::Metered,
};
use crate::{access::Permit, error::ApiError, world};

/// How many bytes are under way in each direction.
const BUFFER: usize = 64 * 1024;

/// An App Server within the process.
pub(crate) trait Resident: fmt::Debug + Send + Sync {
    /// Opens a socket: where its client sends frames, and where it receives them.
    fn open(&self, permit: &Permit) -> (mpsc::Sender<String>, mpsc::Receiver<String>);

    /// The answer to a look-up.
    fn look_up(&self, lookup: Lookup) -> BoxFuture<'static, Result<Answer, ApiError>>;
}

/// Opens a socket.
pub(super) async fn open(resident: &dyn Resident, permit: &Permit) -> ServerSocket {
    let (near, far) = duplex(BUFFER);
    let (sender, receiver) = resident.open(permit);
    tokio::spawn(world::inherit(carry(
        WebSocketStream::from_raw_socket(far, Role::Server, None).await,
        sender,
        receiver,
    )));
    let near = Metered::new(Connection::Resident(near));
    WebSocketStream::from_raw_socket(near, Role::Client, Some(socket_config(MAX_MESSAGE))).await
}

/// Carries frames between a connection and the server, until one of them has gone.
async fn carry(
    mut socket: WebSocketStream<tokio::io::DuplexStream>,
    sender: mpsc::Sender<String>,
    mut receiver: mpsc::Receiver<String>,
) {
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    if sender.send(text.as_str().to_owned()).await.is_err() {
                        return;
                    }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                // Pings are answered by the library.
                Some(Ok(_)) => {}
            },
            frame = receiver.recv() => {
                let Some(frame) = frame else { return };
                if socket.send(Message::text(frame)).await.is_err() {
                    return;
                }
            }
        }
    }
}
