//! One client's connection: how large its requests' heads may be, how long they may take, how long the client may take to
//! read, and how long it may stand idle.
//!
//! The HTTP library limits how long it waits for a head, but it also waits for one on a connection that is merely idle, and
//! not at all for the first bytes, by which it tells HTTP/2 from HTTP/1.1. So it only tells here when it waits, and one
//! clock for each connection draws the consequences. HTTP/2 multiplexes: there a connection is idle when it has brought no
//! request for a while, and it may finish what it has.
//!
//! The same clock ends a connection whose client does not read what waits for it, and an HTTP/1.1 connection ends with the
//! life of the token that its response belongs to. Streams of HTTP/2 end one by one.

mod backlog;
mod context;
mod lives;
mod socket;
mod state;
mod streams;

use std::{
    convert::Infallible,
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
    time::{Instant as Moment, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub use self::state::Limits;
use self::{
    context::ServedConnection,
    lives::Lives,
    socket::Socket,
    state::{HeadTimer, Phase, Pulse, Verdict},
    streams::{MOST_BUFFERED, Outbound, Streams},
};
use crate::http::Surface;

/// How often HTTP/2 makes sure that the client is still there.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// How many requests an HTTP/2 connection may have under way. Streams that are opened only to be reset are limited by
/// the HTTP library itself.
const CONCURRENT_STREAMS: u32 = 200;

/// The smallest buffer that the HTTP library works with, in bytes.
const SMALLEST_BUFFER: usize = 8 * 1024;

/// A connection's library, with the limits that it enforces by itself.
fn library(limits: &Limits, served: &Arc<ServedConnection>) -> Builder<Streams> {
    let bytes = limits.head.library_bytes().max(SMALLEST_BUFFER);
    let mut builder = Builder::new(Streams(Arc::clone(served)));
    builder
        .http1()
        .timer(HeadTimer(Arc::clone(&served.pulse)))
        .max_buf_size(bytes)
        .header_read_timeout(limits.idle_timeout);
    if let Some(count) = limits.head.library_count() {
        builder.http1().max_headers(count);
    }
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .max_concurrent_streams(CONCURRENT_STREAMS)
        .max_send_buf_size(MOST_BUFFERED)
        .max_header_list_size(u32::try_from(bytes).unwrap_or(u32::MAX));
    builder
}

/// Serves a connection to its end: the client's, one that its limits demand, or, after `stopping`, as soon as what is
/// under way has finished.
pub async fn serve(limits: Limits, stream: TcpStream, surface: Surface, stopping: CancellationToken) {
    let pulse = Arc::new(Pulse::new(limits));
    let served = Arc::new(ServedConnection::new(surface, Arc::clone(&pulse)));
    let builder = library(&limits, &served);
    let answering = Arc::clone(&served);
    // Hyper's own function service: a router's boxed futures and bodies cost a fifth of a proxy's throughput.
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let is_stream = request.version() == Version::HTTP_2;
        if is_stream {
            answering.pulse.enter(Phase::Multiplexed, Instant::now());
        }
        let served = Arc::clone(&answering);
        async move {
            let (response, life) = served.surface.answer(request).await;
            Ok::<_, Infallible>(response.map(|body| {
                if is_stream {
                    return streams::show(body, life);
                }
                served.begin_response(life);
                Outbound::unwatched(body)
            }))
        }
    });
    let io = TokioIo::new(Socket::new(stream, Arc::clone(&pulse)));
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut lives = Lives::default();
    let mut stopping = pin!(stopping.cancelled());
    let mut alarm = pin!(sleep_until(pulse.opened.into()));
    let mut is_leaving = false;
    let end = poll_fn(|context| {
        loop {
            if let Poll::Ready(end) = connection.as_mut().poll(context) {
                return Poll::Ready(end);
            }
            if !is_leaving && stopping.as_mut().poll(context).is_ready() {
                is_leaving = true;
                connection.as_mut().graceful_shutdown();
                continue;
            }
            if served.has_outlived(&mut lives, context) {
                pulse.cut();
                return Poll::Ready(Err("the client token of a response has ended".into()));
            }
            let Some((deadline, verdict)) = pulse.deadline(is_leaving) else { return Poll::Pending };
            if alarm.is_elapsed() || alarm.deadline() > deadline {
                alarm.as_mut().reset(deadline);
            }
            if alarm.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            match verdict {
                // The alarm was set for something that has happened in time.
                _ if Moment::now() < deadline => {}
                Verdict::Close(reason) => return Poll::Ready(Err(reason.into())),
                Verdict::Leave => {
                    is_leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    });
    if let Err(error) = end.await {
        debug!(%error, "A connection ended with an error");
    }
}
