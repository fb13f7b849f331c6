//! The streams of an HTTP/2 connection: each is reset by itself when its client does not read, or its token ends.
//!
//! The HTTP library drives each stream by a task of its own, which asks a response's body for nothing while the client
//! gives no window, and ends when it has handed over the last of it, sent or not. So a watch stands around that task:
//! dropping it resets the stream (CANCEL), and no other. The body counts what was really sent of it, and does not let the
//! task end before: its last byte goes alone, for which the library waits until there is window for all that went before.

use std::{
    future::poll_fn,
    mem,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed},
        },
    },
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::{Buf, Bytes};
use futures_util::task::AtomicWaker;
use http_body::{Body as _, Frame, SizeHint};
use hyper::rt::Executor;
use tokio::time::{Instant as Moment, sleep_until};
use tracing::debug;

use super::{backlog::LEAST, context::ServedConnection, lives::Lives};
use crate::{
    http::Life,
    request::body::{Body, BodyError},
};

/// How many bytes of a stream the library may have ready to be sent: enough to keep a connection busy.
pub(crate) const MOST_BUFFERED: usize = LEAST;

tokio::task_local! {
    static OUTGOING: Arc<ResponseStream>;
}

/// Runs the tasks of a connection's streams.
#[derive(Clone)]
pub(crate) struct Streams(pub(crate) Arc<ServedConnection>);

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let (served, outgoing) = (Arc::clone(&self.0), Arc::new(ResponseStream::default()));
        tokio::spawn(OUTGOING.scope(Arc::clone(&outgoing), watch(stream, outgoing, served)));
    }
}

/// The response of one stream, as its watch sees it.
#[derive(Debug, Default)]
struct ResponseStream {
    life: Mutex<Option<Life>>,
    /// How many bytes its body has handed over that were not sent.
    waiting: AtomicUsize,
    /// How many bytes were sent, in all.
    sent: AtomicUsize,
    /// Whether nothing had been waiting when the body handed over what waits now.
    is_new: AtomicBool,
    /// The task, where it waits until everything is sent.
    end: AtomicWaker,
}

/// Lets the watch around the present task see a response.
pub(crate) fn show(body: Body, life: Option<Life>) -> Outbound {
    let outgoing = if body.is_end_stream() { None } else { OUTGOING.try_with(Arc::clone).ok() };
    if let Some(outgoing) = &outgoing {
        *outgoing.life.lock().unwrap_or_else(PoisonError::into_inner) = life;
    }
    Outbound { body, last: Bytes::new(), outgoing }
}

/// Drives a stream until it ends, its client has made no progress for too long, or its token's life has ended.
async fn watch(stream: impl Future<Output = ()>, outgoing: Arc<ResponseStream>, served: Arc<ServedConnection>) {
    let mut stream = pin!(stream);
    let mut lives = Lives::default();
    let mut stall = Stall { sent: 0, since: served.pulse.opened };
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
    /// How many bytes had been sent by then.
    sent: usize,
    since: Instant,
}

impl Stall {
    /// Until when the client has to make progress; none: nothing waits for it. While it is the connection's socket that
    /// takes nothing, no single stream is to blame, and the connection has a deadline of its own.
    fn deadline(&mut self, outgoing: &ResponseStream, served: &ServedConnection) -> Option<Moment> {
        if outgoing.waiting.load(Relaxed) == 0 {
            return None;
        }
        let sent = outgoing.sent.load(Relaxed);
        if outgoing.is_new.swap(false, Relaxed) || sent.wrapping_sub(self.sent) >= LEAST {
            *self = Self { sent, since: Instant::now() };
        }
        let since = self.since.max(served.pulse.backlog.last_blocked());
        // Beyond what the clock can count there is no deadline.
        since.checked_add(served.pulse.limits.write_timeout).map(Moment::from)
    }
}

impl ResponseStream {
    fn take_life(&self) -> Option<Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn hand_over(self: &Arc<Self>, bytes: Bytes) -> Data {
        if self.waiting.fetch_add(bytes.len(), Relaxed) == 0 {
            self.is_new.store(true, Relaxed);
        }
        Data { bytes, outgoing: Some(Arc::clone(self)) }
    }

    fn leave(&self, bytes: usize) {
        if self.waiting.fetch_sub(bytes, AcqRel) == bytes {
            self.end.wake();
        }
    }

    /// Waits until everything is sent.
    fn poll_sent(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.waiting.load(Acquire) > 0 {
            self.end.register(context.waker());
            if self.waiting.load(Acquire) > 0 {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }
}

/// A response's body on its way to the HTTP library.
pub(crate) struct Outbound {
    body: Body,
    /// The last byte of all.
    last: Bytes,
    /// None: it is not watched, being HTTP/1.1's, or empty.
    outgoing: Option<Arc<ResponseStream>>,
}

/// A piece of a body.
pub(crate) struct Data {
    bytes: Bytes,
    /// Where it is counted.
    outgoing: Option<Arc<ResponseStream>>,
}

impl Outbound {
    /// A body that is not watched.
    pub(crate) fn unwatched(body: Body) -> Self {
        Self { body, last: Bytes::new(), outgoing: None }
    }
}

impl http_body::Body for Outbound {
    type Data = Data;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Data>, BodyError>>> {
        let this = &mut *self;
        let Some(outgoing) = &this.outgoing else {
            let polled = Pin::new(&mut this.body).poll_frame(context);
            return polled.map_ok(|frame| frame.map_data(|bytes| Data { bytes, outgoing: None }));
        };
        if !this.last.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(outgoing.hand_over(mem::take(&mut this.last))))));
        }
        let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(context)?) else {
            return outgoing.poll_sent(context).map(|()| None);
        };
        Poll::Ready(Some(Ok(frame.map_data(|mut bytes| {
            if bytes.len() > 1 && this.body.is_end_stream() {
                this.last = bytes.split_off(bytes.len() - 1);
            }
            outgoing.hand_over(bytes)
        }))))
    }

    fn is_end_stream(&self) -> bool {
        self.last.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (of_body, last) = (self.body.size_hint(), self.last.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(of_body.lower().saturating_add(last));
        if let Some(upper) = of_body.upper().and_then(|upper| upper.checked_add(last)) {
            hint.set_upper(upper);
        }
        hint
    }
}

impl Buf for Data {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(outgoing) = &self.outgoing {
            outgoing.sent.fetch_add(count, Relaxed);
            outgoing.leave(count);
        }
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        if let Some(outgoing) = &self.outgoing
            && !self.bytes.is_empty()
        {
            outgoing.leave(self.bytes.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn watched(body: Body) -> (Outbound, Arc<ResponseStream>) {
        let outgoing = Arc::<ResponseStream>::default();
        (Outbound { body, last: Bytes::new(), outgoing: Some(Arc::clone(&outgoing)) }, outgoing)
    }

    async fn next(body: &mut Outbound) -> Option<Data> {
        body.frame().await.map(|frame| frame.unwrap().into_data().ok().unwrap())
    }

    #[tokio::test]
    async fn the_last_byte_goes_alone() {
        for (bytes, expected) in [(0, vec![]), (1, vec![1]), (2, vec![1, 1]), (100_000, vec![99_999, 1])] {
            let (mut body, _) = watched(Body::from(vec![0; bytes]));
            let (mut lengths, mut left) = (Vec::new(), bytes as u64);
            while let Some(piece) = next(&mut body).await {
                lengths.push(piece.remaining());
                left -= piece.remaining() as u64;
                assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(left), left == 0));
            }
            assert_eq!(lengths, expected);
        }
    }

    #[tokio::test]
    async fn a_body_of_unknown_length_ends_when_everything_is_sent() {
        let chunks = ["one", "two"].map(|chunk| Ok::<_, BodyError>(Bytes::from(chunk)));
        let (mut body, outgoing) = watched(Body::from_stream(futures_util::stream::iter(chunks)));
        let (mut first, second) = (next(&mut body).await.unwrap(), next(&mut body).await.unwrap());
        let mut end = std::pin::pin!(next(&mut body));
        let mut nobody = Context::from_waker(std::task::Waker::noop());
        assert!(end.as_mut().poll(&mut nobody).is_pending());
        first.advance(3);
        assert!(end.as_mut().poll(&mut nobody).is_pending());
        tokio::spawn(async move { drop(second) });
        assert!(end.await.is_none(), "and its task is woken");
        assert_eq!((outgoing.waiting.load(Relaxed), outgoing.sent.load(Relaxed)), (0, 3));
    }
}
