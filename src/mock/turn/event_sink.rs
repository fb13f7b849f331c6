//! Where a turn's events go. A turn that needs no time is stored before its client sees any of it; one that takes longer
//! is told as it happens. In the foreground events go through a short channel that makes the turn wait for a slow client
//! and notices one that has gone; in the background they are recorded.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::sse::{End, data, ping};
use crate::{
    mock::{
        records::{Delivery, MOST_PIECES, Message, MessageView, Run},
        running::{EventLog, Pacer, StoredEvents},
    },
    request::body::Body,
};

/// How many events may wait for the client.
const CAPACITY: usize = 16;
/// How many bytes of events may wait until the turn is stored.
const HELD: usize = 64 * 1024;
/// About what an event takes beside its text.
const FRAME: usize = 400;
/// The longest that a client may take to read an answer.
const LONGEST_STREAM: Duration = Duration::from_mins(5);
/// The longest that a client may take to read how its answer ended.
const LONGEST_END: Duration = Duration::from_secs(30);

/// A turn's side of a stream of events.
#[derive(Debug)]
pub(super) struct EventSink {
    way: SinkTarget,
    cancel: CancellationToken,
    deadline: Instant,
    run_id: String,
    delivery: Delivery,
    message_view: MessageView,
    /// The number of the last event, where events are numbered.
    number: Option<u64>,
    /// What is not yet told, until it may be.
    held: Option<Vec<Bytes>>,
}

#[derive(Debug)]
enum SinkTarget {
    Foreground(mpsc::Sender<Bytes>),
    Background(Arc<EventLog>),
}

/// The turn is to end: it was cancelled, or nobody reads its answer.
#[derive(Debug)]
pub(super) struct Interrupted;

/// How much of a message was sent before the turn had to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Sent {
    /// Whole parts.
    pub(super) parts: usize,
    /// Bytes of the text of the part after them.
    pub(super) bytes: usize,
}

impl EventSink {
    /// Opens a stream for a run; the body is the client's side.
    pub(super) fn open(
        run: &Run,
        delivery: Delivery,
        cancel: CancellationToken,
        ping_interval: Duration,
    ) -> (Self, Body) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        let body = body(receiver, delivery.pings.then(|| (run.id.clone(), ping_interval)));
        (Self::new(SinkTarget::Foreground(sender), run, delivery, cancel), body)
    }

    /// Records the stream of a run.
    pub(super) fn record(event_log: Arc<EventLog>, run: &Run, delivery: Delivery, cancel: CancellationToken) -> Self {
        Self::new(SinkTarget::Background(event_log), run, delivery, cancel)
    }

    fn new(way: SinkTarget, run: &Run, delivery: Delivery, cancel: CancellationToken) -> Self {
        let mut event_sink = Self {
            number: matches!(way, SinkTarget::Background(_)).then_some(0),
            way,
            cancel,
            deadline: Instant::now() + LONGEST_STREAM,
            run_id: run.id.clone(),
            delivery,
            message_view: run.request_config.clone(),
            held: None,
        };
        event_sink.begin_again();
        event_sink
    }

    /// Forgets what was held back, all of it. The first event tells the client its run.
    pub(super) fn begin_again(&mut self) {
        self.number = self.number.map(|_| 0);
        let mut held = Vec::new();
        if self.delivery.pings {
            let number = self.count();
            held.push(ping(&self.run_id, number));
        }
        self.held = Some(held);
    }

    /// Whether texts go in pieces.
    pub(super) fn in_pieces(&self) -> bool {
        self.delivery.tokens
    }

    /// Whether a message can wait with what is not yet told.
    pub(super) fn can_hold(&self, message: &Message) -> bool {
        let Some(held) = &self.held else { return true };
        let waiting: usize = held.iter().map(Bytes::len).sum();
        let pieces = if self.delivery.tokens { message.length() / 8 + 1 } else { 1 };
        waiting + pieces.saturating_mul(FRAME) + message.length() <= HELD
    }

    /// About how many bytes of events are kept of a message until the stream is no longer read.
    pub(super) fn recorded(&self, message: &Message) -> usize {
        match self.way {
            SinkTarget::Foreground(_) => 0,
            SinkTarget::Background(_) => {
                let things = message.content.len() + message.tool_calls.len() + 1;
                let pieces = if self.delivery.tokens { (message.length() / 8).min(things * MOST_PIECES) } else { 0 };
                (things + pieces) * FRAME + message.length()
            }
        }
    }

    /// Tells what was held back, and everything from now on as it happens.
    pub(super) async fn release(&mut self) {
        for frame in self.held.take().unwrap_or_default() {
            if self.send(frame).await.is_err() {
                // Whether anyone reads is found out with the next message.
                return;
            }
        }
    }

    /// Sends a message, whole or in pieces, each after its time.
    pub(super) async fn say(&mut self, message: &Message, pacer: &mut Pacer) -> Result<(), Sent> {
        for (parts, mut wire) in message.shown(&self.message_view).into_iter().enumerate() {
            let sent = Sent { parts, bytes: 0 };
            if !self.message_view.wants(wire.message_type) {
                self.pause(pacer.generation_time(|| wire.pieces().len())).await.map_err(|Interrupted| sent)?;
                continue;
            }
            if !self.delivery.tokens {
                self.pause(pacer.delay_before(|| wire.pieces().len())).await.map_err(|Interrupted| sent)?;
                wire.seq_id = self.count();
                self.send(data(&wire)).await.map_err(|Interrupted| sent)?;
                continue;
            }
            let mut bytes = 0;
            for mut piece in wire.pieces() {
                let sent = Sent { parts, bytes };
                self.pause(pacer.delay_before(|| 1)).await.map_err(|Interrupted| sent)?;
                piece.seq_id = self.count();
                self.send(data(&piece)).await.map_err(|Interrupted| sent)?;
                bytes += piece.text().map_or(0, str::len);
            }
        }
        Ok(())
    }

    /// What is to be stored of the stream when the turn ends so.
    pub(super) fn recording(&self, end: &End) -> Option<StoredEvents> {
        match &self.way {
            SinkTarget::Foreground(_) => None,
            SinkTarget::Background(event_log) => {
                let mut frames = self.held.clone().unwrap_or_default();
                frames.extend(end.frames(&self.run_id, self.delivery.tokens, self.number));
                Some(event_log.to_stored(&self.run_id, &frames))
            }
        }
    }

    /// Sends how the turn ended, whether or not it was cancelled.
    pub(super) async fn close(mut self, end: &End) {
        self.cancel = CancellationToken::new();
        self.release().await;
        self.deadline = Instant::now() + LONGEST_END;
        for frame in end.frames(&self.run_id, self.delivery.tokens, self.number) {
            if self.send(frame).await.is_err() {
                break;
            }
        }
    }

    /// Lets time pass, unless the turn is to end meanwhile.
    pub(super) async fn pause(&self, time: Duration) -> Result<(), Interrupted> {
        if time.is_zero() {
            return Ok(());
        }
        let gone = async {
            match &self.way {
                SinkTarget::Foreground(sender) => sender.closed().await,
                SinkTarget::Background(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Interrupted),
            () = gone => Err(Interrupted),
            () = tokio::time::sleep(time) => Ok(()),
        }
    }

    async fn send(&mut self, frame: Bytes) -> Result<(), Interrupted> {
        if let Some(held) = &mut self.held {
            held.push(frame);
            return Ok(());
        }
        let sender = match &self.way {
            // A turn in the background does not depend on its readers.
            SinkTarget::Background(_) if self.cancel.is_cancelled() => return Err(Interrupted),
            SinkTarget::Background(event_log) => {
                event_log.append(frame);
                event_log.publish();
                return Ok(());
            }
            SinkTarget::Foreground(sender) => sender,
        };
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Interrupted),
            taken = timeout_at(self.deadline, sender.send(frame)) => match taken {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) | Err(_) => Err(Interrupted),
            },
        }
    }

    /// The next event's number, where events are numbered.
    fn count(&mut self) -> Option<u64> {
        self.number = self.number.map(|number| number + 1);
        self.number
    }
}

impl Drop for EventSink {
    /// Whoever reads a recording must not wait for a turn that is no more.
    fn drop(&mut self) {
        if let SinkTarget::Background(event_log) = &self.way {
            event_log.end();
        }
    }
}

/// The client's side: what the turn sends, and pings while it sends nothing.
fn body(receiver: mpsc::Receiver<Bytes>, pings: Option<(String, Duration)>) -> Body {
    Body::from_stream(stream::unfold((receiver, pings), |(mut receiver, pings)| async move {
        let frame = match &pings {
            None => receiver.recv().await?,
            Some((run_id, interval)) => match timeout(*interval, receiver.recv()).await {
                Ok(frame) => frame?,
                Err(_) => ping(run_id, None),
            },
        };
        Some((Ok::<_, Infallible>(frame), (receiver, pings)))
    }))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::Value;

    use super::*;
    use crate::mock::records::{Part, Role, RunType, StopReason, Usage};
    use crate::mock::running::ModelLatency;

    const DELIVERY: Delivery = Delivery { streaming: true, tokens: true, pings: true, background: false };
    const NEVER: Duration = Duration::from_secs(20);

    fn run() -> Run {
        Run::begin("agent-1", RunType::Streaming, false, MessageView::USUAL)
    }

    fn message(text: &str) -> Message {
        Message::new(Role::Assistant, vec![Part::text(text)])
    }

    async fn frames(mut body: Body) -> Vec<String> {
        let mut frames = Vec::new();
        while let Some(frame) = body.frame().await {
            frames.push(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap());
        }
        frames
    }

    fn end() -> End {
        End::Stopped(StopReason::EndTurn, Usage::default(), Vec::new())
    }

    #[tokio::test]
    async fn every_event_is_a_frame_and_the_pieces_are_the_text() {
        let (mut event_sink, body) = EventSink::open(&run(), DELIVERY, CancellationToken::new(), NEVER);
        let turn = tokio::spawn(async move {
            event_sink.say(&message("Echo: Stream by tokens"), &mut Pacer::default()).await.unwrap();
            event_sink.close(&end()).await;
        });
        let frames = frames(body).await;
        turn.await.unwrap();
        assert_eq!(frames.len(), 7);
        assert!(frames.iter().all(|frame| frame.starts_with("data: ") && frame.ends_with("\n\n")));
        assert!(frames[0].contains("\"message_type\":\"ping\""));
        let text: String = frames[1..4]
            .iter()
            .map(|frame| serde_json::from_str::<Value>(frame.trim_start_matches("data: ")).unwrap())
            .map(|event| event["content"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(text, "Echo: Stream by tokens");
        assert_eq!(frames[4], "data: {\"message_type\":\"stop_reason\",\"stop_reason\":\"end_turn\"}\n\n");
        assert_eq!(frames[6], "data: [DONE]\n\n");
    }

    #[tokio::test]
    async fn a_turn_learns_how_much_was_sent_when_it_is_cancelled_or_left_alone() {
        let cancel = CancellationToken::new();
        let (mut event_sink, body) = EventSink::open(&run(), DELIVERY, cancel.clone(), NEVER);
        event_sink.release().await;
        cancel.cancel();
        assert_eq!(event_sink.say(&message("Echo"), &mut Pacer::default()).await, Err(Sent { parts: 0, bytes: 0 }));
        event_sink.close(&End::Stopped(StopReason::Cancelled, Usage::default(), Vec::new())).await;
        assert_eq!(frames(body).await.len(), 3);

        let (mut event_sink, body) = EventSink::open(&run(), DELIVERY, CancellationToken::new(), NEVER);
        event_sink.release().await;
        drop(body);
        assert!(event_sink.say(&message("Echo"), &mut Pacer::default()).await.is_err());
        assert!(
            event_sink.say(&message("Echo"), &mut Pacer::new(NEVER, ModelLatency::default())).await.is_err(),
            "nobody is waited for who has gone"
        );
    }

    #[tokio::test]
    async fn nothing_is_told_before_it_may_be() {
        let (mut event_sink, mut body) = EventSink::open(&run(), DELIVERY, CancellationToken::new(), NEVER);
        event_sink.say(&message("Echo"), &mut Pacer::default()).await.unwrap();
        assert!(timeout(Duration::from_millis(20), body.frame()).await.is_err());
        assert!(event_sink.can_hold(&message("short")) && !event_sink.can_hold(&message(&"long".repeat(20_000))));
        event_sink.release().await;
        drop(event_sink);
        assert_eq!(frames(body).await.len(), 2);
    }

    #[tokio::test]
    async fn a_turn_waits_for_a_slow_client() {
        let (mut event_sink, body) = EventSink::open(&run(), DELIVERY, CancellationToken::new(), NEVER);
        let turn = tokio::spawn(async move {
            event_sink.release().await;
            event_sink.say(&message(&"x".repeat(8 * 2 * CAPACITY)), &mut Pacer::default()).await
        });
        tokio::task::yield_now().await;
        assert!(!turn.is_finished());
        assert_eq!(frames(body).await.len(), 2 * CAPACITY + 1);
        assert!(turn.await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_waits_is_pinged_at_intervals_if_it_wants() {
        for (pings, expected) in [(true, 3), (false, 0)] {
            let delivery = Delivery { pings, ..DELIVERY };
            let (mut event_sink, body) = EventSink::open(&run(), delivery, CancellationToken::new(), NEVER);
            let turn = tokio::spawn(async move {
                event_sink.release().await;
                event_sink
                    .say(&message("Echo"), &mut Pacer::new(Duration::from_secs(59), ModelLatency::default()))
                    .await
                    .unwrap();
            });
            let frames = frames(body).await;
            turn.await.unwrap();
            let pings = frames.iter().filter(|frame| frame.contains("\"message_type\":\"ping\"")).count();
            assert_eq!((pings, frames.len()), (expected, expected + 1));
            assert!(frames.iter().all(|frame| frame.contains("\"seq_id\":null")));
        }
    }

    #[tokio::test]
    async fn a_failure_is_the_one_event_with_a_name() {
        let (event_sink, body) = EventSink::open(&run(), DELIVERY, CancellationToken::new(), NEVER);
        event_sink.close(&End::Failed(crate::mock::records::turn_error::TurnError::internal("no"))).await;
        let frames = frames(body).await;
        assert!(frames[1].contains("\"stop_reason\":\"error\""));
        assert!(frames[2].starts_with("event: error\ndata: {\"message_type\":\"error_message\""));
        assert_eq!(frames[3], "data: [DONE]\n\n");
    }
}
