//! Serves one client connection within its limits: the size of heads, the time they may take to arrive, the time the client
//! may take to read, and the time the connection may be idle.
//!
//! The HTTP library has a timeout for heads, but it also applies it to an idle connection, and does not apply it to the
//! first bytes, from which it detects HTTP/2 or HTTP/1.1. So the library only reports when it waits for a head, and one
//! timer for each connection enforces the limits. An HTTP/2 connection is idle when it has received no request for a while;
//! its requests in flight may finish.
//!
//! The same timer closes a connection whose client does not read. An HTTP/1.1 connection is also closed when the client
//! token of a response in flight expires or is revoked. Streams of HTTP/2 are reset one by one.

mod context;
mod cut_off;
mod edit;
mod response_lifetimes;
mod socket;
mod state;
mod streams;
mod write_progress;

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use http::Version;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    net::TcpStream,
    time::{Instant as TokioInstant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub(crate) use self::state::ConnectionLimits;
use self::{
    context::ConnectionContext,
    response_lifetimes::ResponseLifetimes,
    socket::Socket,
    state::{ConnectionState, HeadTimer, Phase, TimeoutAction},
    streams::{MAX_STREAM_BUFFER, StreamExecutor, TrackedBody},
};
use crate::{
    faults::wire::{How, Wire},
    http::Surface,
};

/// How often HTTP/2 pings the client.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// How many requests an HTTP/2 connection may have in flight. The HTTP library itself limits streams that are opened only
/// to be reset.
const MAX_CONCURRENT_STREAMS: u32 = 200;

/// The smallest buffer that the HTTP library accepts, in bytes.
const MIN_BUFFER: usize = 8 * 1024;

/// The HTTP library's server, with the limits that it enforces itself.
fn http_server(limits: &ConnectionLimits, connection: &Arc<ConnectionContext>) -> Builder<StreamExecutor> {
    let bytes = limits.head.library_bytes().max(MIN_BUFFER);
    let mut builder = Builder::new(StreamExecutor(Arc::clone(connection)));
    builder
        .http1()
        .timer(HeadTimer(Arc::clone(&connection.state)))
        .max_buf_size(bytes)
        .header_read_timeout(limits.idle_timeout);
    if let Some(count) = limits.head.library_count() {
        builder.http1().max_headers(count);
    }
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .max_send_buf_size(MAX_STREAM_BUFFER)
        .max_header_list_size(u32::try_from(bytes).unwrap_or(u32::MAX));
    builder
}

/// A fault of a test lets a request have no response: its connection, or its stream of HTTP/2, ends instead.
#[derive(Debug, thiserror::Error)]
#[error("a fault lets a request have no response")]
struct NoResponse;

/// Serves a connection until the client closes it, a limit is exceeded, or, after `stopping`, its requests in flight have
/// finished.
pub(crate) async fn serve(limits: ConnectionLimits, stream: TcpStream, surface: Surface, stopping: CancellationToken) {
    let state = Arc::new(ConnectionState::new(limits));
    let shared = Arc::new(ConnectionContext::new(surface, Arc::clone(&state)));
    let builder = http_server(&limits, &shared);
    let service_shared = Arc::clone(&shared);
    // Hyper's own service function, because a router's boxed futures and bodies cost a fifth of a proxy's throughput.
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let is_stream = request.version() == Version::HTTP_2;
        if is_stream {
            service_shared.state.enter(Phase::Multiplexed, Instant::now());
        }
        let shared = Arc::clone(&service_shared);
        async move {
            let (mut response, lifetime) = shared.surface.respond(request).await;
            let wire = response.extensions_mut().remove::<Wire>();
            if let Some(Wire::Silence(how)) = wire {
                if how == How::Reset && !is_stream {
                    shared.state.abort();
                }
                return Err(NoResponse);
            }
            Ok(response.map(|body| {
                if is_stream {
                    return streams::track(body, lifetime);
                }
                shared.begin_response(lifetime);
                match wire {
                    None => TrackedBody::untracked(body),
                    Some(wire) => {
                        if let Wire::Edited(edit) = wire {
                            shared.state.set_edit(edit);
                        }
                        TrackedBody::breakable(body, Arc::clone(&shared.state))
                    }
                }
            }))
        }
    });
    let io = TokioIo::new(Socket::new(stream, Arc::clone(&state)));
    let mut connection = pin!(builder.serve_connection_with_upgrades(io, service));
    let mut response_lifetimes = ResponseLifetimes::default();
    let mut stopping = pin!(stopping.cancelled());
    let mut timer = pin!(sleep_until(state.opened.into()));
    let mut is_draining = false;
    let end = poll_fn(|context| {
        loop {
            if let Poll::Ready(end) = connection.as_mut().poll(context) {
                return Poll::Ready(end);
            }
            if !is_draining && stopping.as_mut().poll(context).is_ready() {
                is_draining = true;
                connection.as_mut().graceful_shutdown();
                continue;
            }
            if shared.has_expired_response(&mut response_lifetimes, context) {
                state.abort();
                return Poll::Ready(Err(
                    "the client token of a response has expired or was revoked, or its namespace has ended".into(),
                ));
            }
            let Some((deadline, action)) = state.deadline(is_draining) else { return Poll::Pending };
            if timer.is_elapsed() || timer.deadline() > deadline {
                timer.as_mut().reset(deadline);
            }
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            match action {
                // The deadline has moved since the timer was set.
                _ if TokioInstant::now() < deadline => {}
                TimeoutAction::Close(reason) => return Poll::Ready(Err(reason.into())),
                TimeoutAction::Drain => {
                    is_draining = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    });
    if let Err(error) = end.await {
        debug!(%error, "A connection ended with an error");
    }
}
