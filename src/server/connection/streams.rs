//! The streams of an HTTP/2 connection. A stream is reset on its own when its client does not read, or when its client token
//! expires or is revoked.
//!
//! The HTTP library runs a task for each stream. The task does not poll the response's body while the client's window is
//! closed, and it ends once it has the last of the body, sent or not. So the task is wrapped: dropping it resets its stream
//! (CANCEL) and no other. The body counts the bytes that were really sent, and keeps the task running until all are: its
//! last byte is a frame of its own, which the library takes only once the window has had room for everything before it.

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
use tokio::time::{Instant as TokioInstant, sleep_until};
use tracing::debug;

use super::{
    context::ConnectionContext, cut_off::PendingCut, response_lifetimes::ResponseLifetimes, state::ConnectionState,
    write_progress::MIN_PROGRESS,
};
use crate::{
    http::ResponseLifetime,
    request::body::{Body, BodyError},
};

/// How many bytes the library may buffer for a stream: enough to keep a connection busy.
pub(crate) const MAX_STREAM_BUFFER: usize = MIN_PROGRESS;

tokio::task_local! {
    static RESPONSE: Arc<ResponseStream>;
}

/// Spawns the tasks of a connection's streams.
#[derive(Clone)]
pub(crate) struct StreamExecutor(pub(crate) Arc<ConnectionContext>);

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let (connection, response) = (Arc::clone(&self.0), Arc::new(ResponseStream::default()));
        tokio::spawn(RESPONSE.scope(Arc::clone(&response), watch(stream, response, connection)));
    }
}

/// The progress of one stream's response, shared by its body and its task.
#[derive(Debug, Default)]
struct ResponseStream {
    lifetime: Mutex<Option<ResponseLifetime>>,
    /// How many bytes the body has handed over that are not sent.
    unsent: AtomicUsize,
    /// How many bytes were sent in total.
    sent: AtomicUsize,
    /// Whether everything had been sent when the body handed over its latest frame.
    was_idle: AtomicBool,
    /// Wakes the task when everything is sent.
    all_sent: AtomicWaker,
}

/// Tracks the progress of a response in the current stream's task.
pub(crate) fn track(body: Body, lifetime: Option<ResponseLifetime>) -> TrackedBody {
    let response = if body.is_end_stream() { None } else { RESPONSE.try_with(Arc::clone).ok() };
    if let Some(response) = &response {
        *response.lifetime.lock().unwrap_or_else(PoisonError::into_inner) = lifetime;
    }
    TrackedBody { body, last_byte: Bytes::new(), response, connection: None, cut: None }
}

/// Runs a stream until it ends, its client makes no progress for too long, or its token expires or is revoked.
async fn watch(stream: impl Future<Output = ()>, response: Arc<ResponseStream>, connection: Arc<ConnectionContext>) {
    let mut stream = pin!(stream);
    let mut response_lifetimes = ResponseLifetimes::default();
    let mut stall_timer = StallTimer { sent: 0, since: connection.state.opened };
    let mut timer = pin!(sleep_until(connection.state.opened.into()));
    let end = poll_fn(|context| {
        if stream.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        if let Some(lifetime) = response.take_lifetime() {
            response_lifetimes.add(lifetime, &connection.surface);
        }
        if response_lifetimes.has_ended(context) {
            debug!("Resetting a stream: its client token has expired or was revoked, or its namespace has ended");
            return Poll::Ready(());
        }
        loop {
            let Some(deadline) = stall_timer.deadline(&response, &connection) else { return Poll::Pending };
            if timer.is_elapsed() || timer.deadline() > deadline {
                timer.as_mut().reset(deadline);
            }
            ready!(timer.as_mut().poll(context));
            if TokioInstant::now() >= deadline {
                debug!("Resetting a stream: its client does not read");
                return Poll::Ready(());
            }
        }
    });
    end.await;
}

/// How long the client of a stream has made no progress.
struct StallTimer {
    /// How many bytes had been sent at `since`.
    sent: usize,
    since: Instant,
}

impl StallTimer {
    /// When the client must have made progress; `None` while nothing is unsent. Time in which the connection's socket is
    /// blocked does not count: the connection has a deadline of its own for that.
    fn deadline(&mut self, response: &ResponseStream, connection: &ConnectionContext) -> Option<TokioInstant> {
        if response.unsent.load(Relaxed) == 0 {
            return None;
        }
        let sent = response.sent.load(Relaxed);
        if response.was_idle.swap(false, Relaxed) || sent.wrapping_sub(self.sent) >= MIN_PROGRESS {
            *self = Self { sent, since: Instant::now() };
        }
        let since = self.since.max(connection.state.write_progress.last_blocked());
        // No deadline if the clock cannot represent it.
        since.checked_add(connection.state.limits.write_timeout).map(TokioInstant::from)
    }
}

impl ResponseStream {
    fn take_lifetime(&self) -> Option<ResponseLifetime> {
        self.lifetime.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn hand_over(self: &Arc<Self>, bytes: Bytes) -> TrackedData {
        if self.unsent.fetch_add(bytes.len(), Relaxed) == 0 {
            self.was_idle.store(true, Relaxed);
        }
        TrackedData { bytes, response: Some(Arc::clone(self)) }
    }

    fn release(&self, bytes: usize) {
        if self.unsent.fetch_sub(bytes, AcqRel) == bytes {
            self.all_sent.wake();
        }
    }

    /// Ready when everything is sent.
    fn poll_sent(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.unsent.load(Acquire) > 0 {
            self.all_sent.register(context.waker());
            if self.unsent.load(Acquire) > 0 {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }
}

/// A response's body that counts the bytes that were sent.
pub(crate) struct TrackedBody {
    body: Body,
    /// The last byte of the body.
    last_byte: Bytes,
    /// `None` if the response is not tracked: it is empty, or HTTP/1.1.
    response: Option<Arc<ResponseStream>>,
    /// The connection of HTTP/1.1 that ends if a fault cuts the body off.
    connection: Option<Arc<ConnectionState>>,
    /// Set once a fault has cut the body off.
    cut: Option<Box<PendingCut>>,
}

/// A piece of a body.
pub(crate) struct TrackedData {
    bytes: Bytes,
    /// Where its bytes are counted.
    response: Option<Arc<ResponseStream>>,
}

impl TrackedBody {
    /// A body that is not tracked.
    pub(crate) fn untracked(body: Body) -> Self {
        Self { body, last_byte: Bytes::new(), response: None, connection: None, cut: None }
    }

    /// A body of HTTP/1.1 that a fault may cut off.
    pub(crate) fn breakable(body: Body, connection: Arc<ConnectionState>) -> Self {
        Self { connection: Some(connection), ..Self::untracked(body) }
    }

    /// Reports an error of the body.
    fn fail(
        &mut self,
        error: BodyError,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<TrackedData>, BodyError>>> {
        match PendingCut::of(error, self.connection.as_deref()) {
            Ok(cut) => {
                self.cut = Some(Box::new(cut));
                self.poll_cut(context)
            }
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }

    /// Reports that a fault has cut the body off, once everything before is sent.
    fn poll_cut(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<TrackedData>, BodyError>>> {
        if let Some(response) = &self.response {
            ready!(response.poll_sent(context));
        }
        let Some(cut) = &mut self.cut else { return Poll::Ready(None) };
        cut.poll(self.connection.as_ref(), context).map(|error| error.map(Err))
    }
}

impl http_body::Body for TrackedBody {
    type Data = TrackedData;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<TrackedData>, BodyError>>> {
        let this = &mut *self;
        if this.cut.is_some() {
            return this.poll_cut(context);
        }
        let Some(response) = &this.response else {
            let polled = Pin::new(&mut this.body).poll_frame(context);
            return match polled {
                Poll::Ready(Some(Err(error))) => this.fail(error, context),
                polled => polled.map_ok(|frame| frame.map_data(|bytes| TrackedData { bytes, response: None })),
            };
        };
        if !this.last_byte.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(response.hand_over(mem::take(&mut this.last_byte))))));
        }
        let frame = match ready!(Pin::new(&mut this.body).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return this.fail(error, context),
            None => return response.poll_sent(context).map(|()| None),
        };
        Poll::Ready(Some(Ok(frame.map_data(|mut bytes| {
            if bytes.len() > 1 && this.body.is_end_stream() {
                this.last_byte = bytes.split_off(bytes.len() - 1);
            }
            response.hand_over(bytes)
        }))))
    }

    fn is_end_stream(&self) -> bool {
        self.last_byte.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (of_body, last) = (self.body.size_hint(), self.last_byte.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(of_body.lower().saturating_add(last));
        if let Some(upper) = of_body.upper().and_then(|upper| upper.checked_add(last)) {
            hint.set_upper(upper);
        }
        hint
    }
}

impl Buf for TrackedData {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(response) = &self.response {
            response.sent.fetch_add(count, Relaxed);
            response.release(count);
        }
    }
}

impl Drop for TrackedData {
    fn drop(&mut self) {
        if let Some(response) = &self.response
            && !self.bytes.is_empty()
        {
            response.release(self.bytes.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn tracked(body: Body) -> (TrackedBody, Arc<ResponseStream>) {
        let response = Arc::<ResponseStream>::default();
        (TrackedBody { response: Some(Arc::clone(&response)), ..TrackedBody::untracked(body) }, response)
    }

    async fn next(body: &mut TrackedBody) -> Option<TrackedData> {
        body.frame().await.map(|frame| frame.unwrap().into_data().ok().unwrap())
    }

    #[tokio::test]
    async fn the_last_byte_is_a_frame_of_its_own() {
        for (bytes, expected) in [(0, vec![]), (1, vec![1]), (2, vec![1, 1]), (100_000, vec![99_999, 1])] {
            let (mut body, _) = tracked(Body::from(vec![0; bytes]));
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
        let chunks = futures_util::stream::unfold(["two", "one"].to_vec(), |mut left| async move {
            let chunk = Ok::<_, BodyError>(Bytes::from(left.pop()?));
            Some((chunk, left))
        });
        let (mut body, response) = tracked(Body::from_stream(chunks));
        let (mut first, second) = (next(&mut body).await.unwrap(), next(&mut body).await.unwrap());
        let mut end = std::pin::pin!(next(&mut body));
        let mut nobody = Context::from_waker(std::task::Waker::noop());
        assert!(end.as_mut().poll(&mut nobody).is_pending());
        first.advance(3);
        assert!(end.as_mut().poll(&mut nobody).is_pending());
        tokio::spawn(async move { drop(second) });
        assert!(end.await.is_none(), "its task must be woken");
        assert_eq!((response.unsent.load(Relaxed), response.sent.load(Relaxed)), (0, 3));
    }
}
