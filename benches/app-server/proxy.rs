//! A WebSocket proxy that checks nothing: a socket to the server for each client, and every message passed on.

use std::net::SocketAddr;

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    accept_async_with_config, client_async_with_config,
    tungstenite::{self, Message, protocol::WebSocketConfig},
};

use crate::Failure;

pub(crate) async fn serve(listen: SocketAddr, upstream: SocketAddr) -> Result<serde_json::Value, Failure> {
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        // A connection that fails is missed by whoever counts its events.
        tokio::spawn(async move { pass(stream, upstream).await });
    }
}

async fn pass(client: TcpStream, upstream: SocketAddr) -> Result<(), Failure> {
    // The buffers that Gatelet has.
    let config = Some(WebSocketConfig::default().read_buffer_size(8 * 1024).write_buffer_size(16 * 1024));
    client.set_nodelay(true)?;
    let client = accept_async_with_config(client, config).await?;
    let server = TcpStream::connect(upstream).await?;
    server.set_nodelay(true)?;
    let (server, _) = client_async_with_config(format!("ws://{upstream}/ws"), server, config).await?;
    let (mut to_client, mut from_client) = client.split();
    let (mut to_server, mut from_server) = server.split();
    tokio::select! {
        passed = forward(&mut from_client, &mut to_server) => passed,
        passed = forward(&mut from_server, &mut to_client) => passed,
    }
}

async fn forward(
    from: &mut (impl Stream<Item = Result<Message, tungstenite::Error>> + Unpin),
    to: &mut (impl Sink<Message, Error = tungstenite::Error> + Unpin),
) -> Result<(), Failure> {
    while let Some(message) = from.next().await {
        match message? {
            message @ (Message::Text(_) | Message::Binary(_)) => to.send(message).await?,
            Message::Close(frame) => return Ok(to.send(Message::Close(frame)).await?),
            _ => {}
        }
    }
    Ok(())
}
