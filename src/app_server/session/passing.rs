//! The socket of an API key: frames pass unchanged.

use std::{
    future::poll_fn,
    pin::pin,
    task::{self, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::{self, Message, error::CapacityError, protocol::CloseFrame};
use tracing::warn;

use super::{
    super::{
        closing,
        connection::ServerSocket,
        context::{AppServer, Context, Rules},
        frame::Close,
    },
    ClientSocket,
    audit::Audit,
    outbox::Outbox,
};
use crate::{access::Permit, clock, credentials::VerifiedKey, error::Code};

/// How often both sockets are looked at before other tasks have their turn.
const ROUNDS: usize = 32;

/// How long the other side may take to close.
const PARTING: Duration = Duration::from_secs(1);

/// Why the sockets are closed.
enum End {
    /// The gate closes both.
    Close(Close),
    /// The client has closed its socket, or lost it.
    ByClient(Option<CloseFrame>),
    /// The App Server has.
    ByServer(Option<CloseFrame>),
}

/// Serves the socket of an API key.
pub(super) async fn serve(
    mut client: ClientSocket,
    key: &VerifiedKey,
    permit: &Permit,
    server: &AppServer,
    context: &Context,
    audit: Audit,
) {
    let open = context.counters.open();
    let (end, upstream) = match server.upstream.open(permit).await {
        Err(error) => {
            warn!(app_server = server.name, %error, "The App Server cannot be reached");
            (End::Close(Close::of(Code::UpstreamUnreachable)), None)
        }
        Ok(mut upstream) => {
            let mut passing = Passing::default();
            let mut timer = pin!(sleep(context.rules.ping_interval));
            let mut ended = pin!(ended(context, key));
            let end = poll_fn(|task| {
                if let Poll::Ready(close) = ended.poll_unpin(task) {
                    return Poll::Ready(End::Close(close));
                }
                while timer.poll_unpin(task).is_ready() {
                    let now = Instant::now();
                    timer.as_mut().reset(now + context.rules.ping_interval);
                    if let Some(end) = passing.ping(now, &context.rules) {
                        return Poll::Ready(end);
                    }
                }
                passing.poll(&mut client, &mut upstream, task)
            })
            .await;
            (end, Some(upstream))
        }
    };
    let (close, why, counted) = match &end {
        End::Close(close) => (Some(*close), "closed by Gatelet", *close),
        End::ByClient(Some(_)) => (None, "closed by the client", Close { code: 1000, reason: "closed_by_client" }),
        End::ByClient(None) => (None, "the connection was lost", Close { code: 1006, reason: "lost" }),
        End::ByServer(_) => (None, "closed by the App Server", Close::of(Code::UpstreamUnreachable)),
    };
    context.counters.closed(counted);
    audit.closed(close, why);
    drop(open);
    let (frame, upstream) = match end {
        End::Close(close) => {
            tokio::join!(closing::close(client, close), part(upstream, None));
            return;
        }
        End::ByClient(frame) => {
            tokio::join!(closing::acknowledge(client), part(upstream, frame));
            return;
        }
        End::ByServer(frame) => (frame, upstream),
    };
    drop(upstream);
    match frame {
        Some(frame) => drop(timeout(PARTING, client.close(Some(frame))).await),
        None => closing::close(client, Close::of(Code::UpstreamUnreachable)).await,
    }
}

async fn part(upstream: Option<ServerSocket>, frame: Option<CloseFrame>) {
    if let Some(mut upstream) = upstream {
        let _ = timeout(PARTING, upstream.close(frame)).await;
    }
}

/// Resolves when the sockets must be closed, whatever either side does.
async fn ended(context: &Context, key: &VerifiedKey) -> Close {
    let expired = async {
        let Some(expires_at) = key.expires_at else { return std::future::pending().await };
        while let left @ 1.. = expires_at.saturating_sub(clock::now_millis()) {
            sleep(Duration::from_millis(u64::try_from(left).unwrap_or_default())).await;
        }
    };
    tokio::select! {
        () = context.stopping.cancelled() => Close::RESTARTING,
        () = context.feed.until_key_revoked(&key.id) => Close { code: 4401, reason: Code::BearerInvalid.word() },
        () = expired => Close { code: 4401, reason: Code::BearerInvalid.word() },
    }
}

/// What waits between both sockets. Each is read only while the other takes what was read.
#[derive(Debug, Default)]
struct Passing {
    to_client: Outbox,
    to_upstream: Outbox,
    /// Whether each side has sent anything since the last ping but one.
    silent_pings: [u32; 2],
}

impl Passing {
    fn poll(
        &mut self,
        client: &mut ClientSocket,
        upstream: &mut ServerSocket,
        task: &mut task::Context<'_>,
    ) -> Poll<End> {
        for _ in 0..ROUNDS {
            let now = Instant::now();
            let mut has_moved = false;
            let written = self.to_client.poll_write(client, now, task);
            if let Poll::Ready(Err(_)) = written {
                return Poll::Ready(End::ByClient(None));
            }
            if written.is_ready()
                && let Poll::Ready(message) = upstream.poll_next_unpin(task)
            {
                has_moved = true;
                self.silent_pings[1] = 0;
                match message {
                    Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => self.to_client.push(message),
                    Some(Ok(Message::Close(frame))) => return Poll::Ready(End::ByServer(frame)),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Poll::Ready(End::ByServer(None)),
                }
            }
            let written = self.to_upstream.poll_write(upstream, now, task);
            if let Poll::Ready(Err(_)) = written {
                return Poll::Ready(End::ByServer(None));
            }
            if written.is_ready()
                && let Poll::Ready(message) = client.poll_next_unpin(task)
            {
                has_moved = true;
                self.silent_pings[0] = 0;
                match message {
                    Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => self.to_upstream.push(message),
                    Some(Ok(Message::Close(frame))) => return Poll::Ready(End::ByClient(frame)),
                    Some(Ok(_)) => {}
                    Some(Err(tungstenite::Error::Capacity(CapacityError::MessageTooLong { .. }))) => {
                        return Poll::Ready(End::Close(Close::of(Code::BodyTooLarge)));
                    }
                    Some(Err(tungstenite::Error::Utf8(_))) => return Poll::Ready(End::Close(Close::NOT_UTF8)),
                    Some(Err(tungstenite::Error::Protocol(
                        tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
                    ))) => return Poll::Ready(End::ByClient(None)),
                    Some(Err(tungstenite::Error::Protocol(_))) => return Poll::Ready(End::Close(Close::PROTOCOL)),
                    Some(Err(_)) | None => return Poll::Ready(End::ByClient(None)),
                }
            }
            if !has_moved {
                return Poll::Pending;
            }
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }

    /// Pings both sides. An end if one is silent or does not read.
    fn ping(&mut self, now: Instant, rules: &Rules) -> Option<End> {
        let is_blocked = |outbox: &Outbox| outbox.blocked_since().is_some_and(|at| now > at + rules.write_timeout);
        for silent in &mut self.silent_pings {
            *silent += 1;
        }
        if self.silent_pings[0] > 3 || is_blocked(&self.to_client) {
            return Some(End::ByClient(None));
        }
        if self.silent_pings[1] > 3 || is_blocked(&self.to_upstream) {
            return Some(End::ByServer(None));
        }
        for outbox in [&mut self.to_client, &mut self.to_upstream] {
            if outbox.is_empty() {
                outbox.push(Message::Ping(Bytes::new()));
            }
        }
        None
    }
}
