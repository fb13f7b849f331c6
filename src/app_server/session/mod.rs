//! The life of one socket of a client: from its handshake to its close, and to the end of the turns that it began.

mod audit;
mod outbox;
mod page;
mod passing;

use std::{sync::Arc, time::Duration};

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};

use self::audit::Audit;
use super::{
    closing,
    connection::socket_config,
    context::{AppServer, Context, NewSocket},
    counters::Counters,
    frame::Close,
    io::Metered,
};
use crate::{access::Caller, error::Code};

/// How long the connection may take to be handed over once the handshake is answered.
const HANDOVER: Duration = Duration::from_secs(10);

/// The largest message of an API key's holder, in bytes: that of the App Server itself.
const MAX_KEY_MESSAGE: usize = 100 * 1024 * 1024;

/// The socket of a client.
type ClientSocket = WebSocketStream<Metered<TokioIo<Upgraded>>>;

/// Serves a socket until its client has gone and the turns that it began have ended.
pub(super) async fn serve(socket: NewSocket, server: Arc<AppServer>, context: Context) {
    let NewSocket { id, connection, permit, socket_permit } = socket;
    let is_token = permit.client_token().is_some();
    let max_message = if is_token { context.rules.frame_bytes } else { MAX_KEY_MESSAGE };
    let Some(client) = hand_over(connection, max_message).await else { return };
    let audit = Audit::opened(id, permit.caller(), &server.name);
    match permit.caller() {
        Caller::ClientToken(token) => {
            page::serve(client, Arc::clone(token), &permit, &server, &context, audit).await;
        }
        Caller::ApiKey { key, .. } => passing::serve(client, key, &permit, &server, &context, audit).await,
    }
    drop(socket_permit);
}

/// Closes a socket that was opened only for that.
pub(super) async fn refuse(id: String, connection: OnUpgrade, code: Code, counters: Counters) {
    let close = Close::of(code);
    if let Some(client) = hand_over(connection, 1024).await {
        counters.closed(close);
        audit::refused(&id, close);
        closing::close(client, close).await;
    }
}

/// The client's connection as a WebSocket.
async fn hand_over(connection: OnUpgrade, max_message: usize) -> Option<ClientSocket> {
    let upgraded = timeout(HANDOVER, connection).await.ok()?.ok()?;
    let stream = Metered::new(TokioIo::new(upgraded));
    Some(WebSocketStream::from_raw_socket(stream, Role::Server, Some(socket_config(max_message))).await)
}
