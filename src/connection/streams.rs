//! The streams of an HTTP/2 connection: each is reset by itself when its client does not read, or its token ends.
//!
//! The HTTP library drives each stream by a task of its own, which asks a response's body for nothing while the client
//! gives no window. So a watch stands around that task: dropping it resets the stream (CANCEL), and no other. What it
//! watches is the body, which hands over its bytes in pieces: the library takes one as soon as the window has room for a
//! single byte of it, and its task ends with the last. That one is a single byte, so the task lives for as long as any of
//! the response has no window.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use http::Response;
use http_body::{Body as _, Frame, SizeHint};
use hyper::rt::Executor;
use tokio::time::{Instant as Moment, sleep_until};
use tracing::debug;

use super::{Served, backlog::LEAST, lives::Lives};
use crate::{
    body::{Body, BodyError},
    http::Life,
};

/// How many bytes the library may take of a response beyond what it has written: enough to keep a connection busy.
pub(super) const MOST_BUFFERED: usize = LEAST;

tokio::task_local! {
    static OUTGOING: Arc<Outgoing>;
}

/// Runs the tasks of a connection's streams.
#[derive(Clone)]
pub(super) struct Streams(pub(super) Arc<Served>);

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let (served, outgoing) = (Arc::clone(&self.0), Arc::new(Outgoing::default()));
        tokio::spawn(OUTGOING.scope(Arc::clone(&outgoing), watch(stream, outgoing, served)));
    }
}

/// The response of one stream, as its watch sees it.
#[derive(Debug, Default)]
struct Outgoing {
    life: Mutex<Option<Life>>,
    /// How often its body was asked for a piece.
    asked: AtomicUsize,
    /// Whether it has given one and was not asked again.
    is_waiting: AtomicBool,
}

/// Lets the watch around the present task see a response.
pub(super) fn show(response: Response<Body>, life: Option<Life>) -> Response<Body> {
    if response.body().is_end_stream() {
        return response;
    }
    let Ok(outgoing) = OUTGOING.try_with(Arc::clone) else { return response };
    *outgoing.life.lock().unwrap_or_else(PoisonError::into_inner) = life;
    response.map(|body| Body::new(Pieces { body, rest: Bytes::new(), outgoing }))
}

/// Drives a stream until it ends, its client has made no progress for too long, or its token's life has ended.
async fn watch(stream: impl Future<Output = ()>, outgoing: Arc<Outgoing>, served: Arc<Served>) {
    let mut stream = pin!(stream);
    let mut lives = Lives::default();
    let mut stall = Stall { asked: 0, since: served.pulse.opened };
    let mut alarm = pin!(sleep_until(served.pulse.opened.into()));
    let end = poll_fn(|context| {
        if stream.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        if let Some(life) = outgoing.take_life() {
            lives.add(life, &served.surface);
        }
        if lives.has_ended(context) {
            debug!("A stream is reset: its client token has ended");
            return Poll::Ready(());
        }
        loop {
            let Some(deadline) = stall.deadline(&outgoing, &served) else { return Poll::Pending };
            if alarm.is_elapsed() || alarm.deadline() > deadline {
                alarm.as_mut().reset(deadline);
            }
            ready!(alarm.as_mut().poll(context));
            if Moment::now() >= deadline {
                debug!("A stream is reset: its client does not read");
                return Poll::Ready(());
            }
        }
    });
    end.await;
}

/// Since when the client of a stream has made no progress.
struct Stall {
    /// How often the body had been asked for a piece by then.
    asked: usize,
    since: Instant,
}

impl Stall {
    /// Until when the client has to make progress; none: nothing waits for it. While it is the connection's socket that
    /// takes nothing, no single stream is to blame, and the connection has a deadline of its own.
    fn deadline(&mut self, outgoing: &Outgoing, served: &Served) -> Option<Moment> {
        if !outgoing.is_waiting.load(Relaxed) {
            return None;
        }
        let asked = outgoing.asked.load(Relaxed);
        if self.asked != asked {
            *self = Self { asked, since: Instant::now() };
        }
        let since = self.since.max(served.pulse.backlog.last_blocked());
        // Beyond what the clock can count there is no deadline.
        since.checked_add(served.pulse.limits.write_timeout).map(Moment::from)
    }
}

impl Outgoing {
    fn take_life(&self) -> Option<Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A body in pieces.
struct Pieces {
    body: Body,
    /// What is left of its last frame.
    rest: Bytes,
    outgoing: Arc<Outgoing>,
}

/// The next piece of so many bytes: the last byte goes alone.
fn piece(bytes: usize) -> usize {
    LEAST.min(bytes.saturating_sub(1)).max(1).min(bytes)
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        this.outgoing.asked.fetch_add(1, Relaxed);
        this.outgoing.is_waiting.store(false, Relaxed);
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        let piece = this.rest.split_to(piece(this.rest.len()));
        this.outgoing.is_waiting.store(true, Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (of_body, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(of_body.lower().saturating_add(rest));
        if let Some(upper) = of_body.upper().and_then(|upper| upper.checked_add(rest)) {
            hint.set_upper(upper);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    /// The lengths of the pieces that a body of so many bytes is handed over in.
    async fn pieces(bytes: usize) -> Vec<usize> {
        let mut body = Pieces { body: Body::from(vec![0; bytes]), rest: Bytes::new(), outgoing: Arc::default() };
        let (mut lengths, mut left) = (Vec::new(), bytes as u64);
        while let Some(frame) = body.frame().await {
            let piece = frame.unwrap().into_data().unwrap();
            lengths.push(piece.len());
            left -= piece.len() as u64;
            assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(left), left == 0));
        }
        lengths
    }

    #[tokio::test]
    async fn the_last_byte_goes_alone() {
        assert_eq!(pieces(0).await, [0; 0]);
        assert_eq!(pieces(1).await, [1]);
        assert_eq!(pieces(2).await, [1, 1]);
        assert_eq!(pieces(LEAST).await, [LEAST - 1, 1]);
        assert_eq!(pieces(LEAST + 1).await, [LEAST, 1]);
        assert_eq!(pieces(2 * LEAST + 2).await, [LEAST, LEAST, 1, 1]);
    }
}
