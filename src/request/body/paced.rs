//! A body with a limit on how slowly it may be sent.

use std::{
    num::NonZeroU32,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::BodyError;

/// Longer limits count as none: the timer cannot represent them.
const FOREVER: Duration = Duration::from_hours(24 * 365);

/// How slow the sender of a body may be.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The longest pause between two frames.
    pub(crate) longest_pause: Duration,
    /// The average rate that the sender must keep while it is waited for, after a grace of `longest_pause`; `None` limits
    /// only the pauses.
    pub(crate) bytes_per_second: Option<NonZeroU32>,
}

/// A body that fails when its sender is too slow. Its trailers are dropped: no allow-list has checked them.
///
/// Only the time spent waiting for the sender counts, not the time in which nothing polls the body, as when an upstream
/// does not read. Only data counts as progress: trailers, chunk extensions and empty frames do not extend the time.
#[derive(Debug)]
pub struct Paced<B> {
    body: B,
    pace: Pace,
    /// Created at the first wait: most bodies have arrived when they are read.
    alarm: Option<Pin<Box<Sleep>>>,
    /// Since when the sender is waited for; `None` if it is not.
    waiting_since: Option<Instant>,
    /// How long it was waited for in total, before that.
    waited: Duration,
    /// How many bytes have arrived.
    received: u64,
}

/// The sender of a body was too slow.
#[derive(Debug, thiserror::Error)]
#[error("the sender of a body paused for too long or sent too slowly")]
pub(crate) struct TooSlow;

impl<B> Paced<B> {
    /// Limits how slow the sender of a body may be.
    pub fn new(body: B, pace: Pace) -> Self {
        Self { body, pace, alarm: None, waiting_since: None, waited: Duration::ZERO, received: 0 }
    }

    /// How long the sender may be waited for from now.
    fn time_left(&self) -> Duration {
        let Pace { longest_pause, bytes_per_second } = self.pace;
        let Some(rate) = bytes_per_second else { return longest_pause };
        let earned = Duration::from_millis(self.received.saturating_mul(1000) / u64::from(rate.get()));
        longest_pause.saturating_add(earned).saturating_sub(self.waited).min(longest_pause)
    }

    fn note_arrival(&mut self, length: usize) {
        if let Some(since) = self.waiting_since.take() {
            self.waited = self.waited.saturating_add(since.elapsed());
        }
        self.received = self.received.saturating_add(length as u64);
    }

    /// Ready when the sender has been waited for too long.
    fn poll_alarm(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.waiting_since.is_none() {
            let now = Instant::now();
            let deadline = now + self.time_left().min(FOREVER);
            self.waiting_since = Some(now);
            match &mut self.alarm {
                Some(alarm) => alarm.as_mut().reset(deadline),
                None => self.alarm = Some(Box::pin(tokio::time::sleep_until(deadline))),
            }
        }
        match &mut self.alarm {
            Some(alarm) => alarm.as_mut().poll(context),
            None => Poll::Pending,
        }
    }
}

impl<B> http_body::Body for Paced<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<BodyError>> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => Poll::Ready(None),
            Poll::Ready(Some(Ok(frame))) => {
                this.note_arrival(frame.data_ref().map_or(0, Bytes::len));
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(end) => Poll::Ready(end.map(|frame| frame.map_err(Into::into))),
            Poll::Pending => {
                ready!(this.poll_alarm(context));
                Poll::Ready(Some(Err(TooSlow.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::StreamExt;
    use http_body_util::{BodyExt, StreamBody};
    use tokio::time::{sleep, timeout};

    use super::*;

    const PAUSE: Duration = Duration::from_secs(30);

    fn paced(
        frame: impl Fn() -> Frame<Bytes> + Send + 'static,
        interval: Duration,
        bytes_per_second: u32,
    ) -> Paced<impl http_body::Body<Data = Bytes, Error = Infallible> + Unpin> {
        let frames = futures_util::stream::repeat(()).then(move |()| {
            let frame = frame();
            async move {
                sleep(interval).await;
                Ok::<_, Infallible>(frame)
            }
        });
        let pace = Pace { longest_pause: PAUSE, bytes_per_second: NonZeroU32::new(bytes_per_second) };
        Paced::new(StreamBody::new(Box::pin(frames)), pace)
    }

    /// After how long a body fails; `None` if it does not within two hours.
    async fn time_to_failure(
        mut body: Paced<impl http_body::Body<Data = Bytes, Error = Infallible> + Unpin>,
    ) -> Option<Duration> {
        let begun = Instant::now();
        let reading = async { while let Some(Ok(_)) = body.frame().await {} };
        timeout(Duration::from_hours(2), reading).await.is_ok().then(|| begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_sent_too_slowly_fails() {
        let second = Duration::from_secs(1);
        let data = |length: usize| move || Frame::data(Bytes::from(vec![b'x'; length]));
        for (why, body, earliest, latest) in [
            ("a byte a second", paced(data(1), second, 1024), 30, 31),
            ("half of the rate", paced(data(512), second, 1024), 59, 62),
            ("nothing", paced(data(1), PAUSE * 2, 1024), 30, 31),
        ] {
            let after = time_to_failure(body).await;
            let is_in_time = after.is_some_and(|after| (earliest..=latest).contains(&after.as_secs()));
            assert!(is_in_time, "{why}: {after:?}");
        }
        // Only data is progress.
        let after = time_to_failure(paced(|| Frame::data(Bytes::new()), second, 1024)).await.unwrap();
        assert!((30..=31).contains(&after.as_secs()), "{after:?}");
        for (why, body) in [
            ("the very rate", paced(data(1024), second, 1024)),
            ("no rate is required", paced(data(1), second, 0)),
            ("large pieces and long pauses", paced(data(1 << 16), Duration::from_secs(29), 1024)),
        ] {
            assert_eq!(time_to_failure(body).await, None, "{why}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_that_is_not_waited_for_may_pause() {
        let mut body = paced(|| Frame::data(Bytes::from_static(b"x")), Duration::from_millis(1), 1024);
        for _ in 0..100 {
            assert!(body.frame().await.unwrap().is_ok());
            sleep(PAUSE * 2).await;
        }
        assert!(body.waited < PAUSE);
    }
}
