//! Event sinks: where a turn's events go. In the foreground that is a short channel to the client, which makes the turn wait for
//! a slow client and shows when the client has disconnected. In the background it is an event log. Events are buffered until
//! the turn is stored or has to wait.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::sse::{End, data, ping};
use crate::{
    mock::{
        records::{Delivery, MOST_PIECES, Message, MessageView, Run},
        running::{EventLog, Pacer, StoredEvents},
    },
    request::body::Body,
    world::{self, TimerKind},
};

/// How many events may wait for the client.
const CAPACITY: usize = 16;
/// How many bytes of events may be buffered.
const MAX_BUFFERED: usize = 64 * 1024;
/// About the size of an event besides its text, in bytes.
const FRAME_OVERHEAD: usize = 400;
/// The time limit for a client to read a stream.
const MAX_STREAM_TIME: Duration = Duration::from_mins(5);
/// The time limit for a client to read the last events of a stream.
const MAX_END_TIME: Duration = Duration::from_secs(30);

/// The turn's side of a stream of events.
#[derive(Debug)]
pub(super) struct EventSink {
    target: SinkTarget,
    cancel: CancellationToken,
    deadline: Instant,
    run_id: String,
    delivery: Delivery,
    message_view: MessageView,
    /// The number of the last event, if events are numbered.
    number: Option<u64>,
    /// The buffered events; `None` if events are sent at once.
    buffer: Option<Vec<Bytes>>,
}

#[derive(Debug)]
enum SinkTarget {
    Foreground(mpsc::Sender<Bytes>),
    Background(Arc<EventLog>),
}

/// The turn should end: it was cancelled, or its client has disconnected.
#[derive(Debug)]
pub(super) struct Interrupted;

/// How much of a message was sent before the turn was interrupted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Sent {
    /// The number of whole parts.
    pub(super) parts: usize,
    /// The bytes of the text of the next part.
    pub(super) bytes: usize,
}

impl EventSink {
    /// Opens a stream for a run. The body is the client's side.
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

    /// Writes the stream of a run into an event log.
    pub(super) fn into_log(event_log: Arc<EventLog>, run: &Run, delivery: Delivery, cancel: CancellationToken) -> Self {
        Self::new(SinkTarget::Background(event_log), run, delivery, cancel)
    }

    fn new(target: SinkTarget, run: &Run, delivery: Delivery, cancel: CancellationToken) -> Self {
        let mut event_sink = Self {
            number: matches!(target, SinkTarget::Background(_)).then_some(0),
            target,
            cancel,
            deadline: Instant::now() + MAX_STREAM_TIME,
            run_id: run.id.clone(),
            delivery,
            message_view: run.request_config.clone(),
            buffer: None,
        };
        event_sink.restart();
        event_sink
    }

    /// Empties the buffer. The first event is a ping with the id of the run.
    pub(super) fn restart(&mut self) {
        self.number = self.number.map(|_| 0);
        let mut buffer = Vec::new();
        if self.delivery.pings {
            let number = self.next_number();
            buffer.push(ping(&self.run_id, number));
        }
        self.buffer = Some(buffer);
    }

    /// Whether texts are streamed by tokens.
    pub(super) fn is_by_tokens(&self) -> bool {
        self.delivery.tokens
    }

    /// Whether the buffer has room for a message.
    pub(super) fn can_buffer(&self, message: &Message) -> bool {
        let Some(buffer) = &self.buffer else { return true };
        let buffered: usize = buffer.iter().map(Bytes::len).sum();
        let pieces = if self.delivery.tokens { message.length() / 8 + 1 } else { 1 };
        buffered + pieces.saturating_mul(FRAME_OVERHEAD) + message.length() <= MAX_BUFFERED
    }

    /// About how many bytes a message takes in the event log; 0 without one.
    pub(super) fn logged_bytes(&self, message: &Message) -> usize {
        match self.target {
            SinkTarget::Foreground(_) => 0,
            SinkTarget::Background(_) => {
                let events = message.content.len() + message.tool_calls.len() + 1;
                let pieces = if self.delivery.tokens { (message.length() / 8).min(events * MOST_PIECES) } else { 0 };
                (events + pieces) * FRAME_OVERHEAD + message.length()
            }
        }
    }

    /// Sends the buffered events, and all later ones at once.
    pub(super) async fn flush(&mut self) {
        for frame in self.buffer.take().unwrap_or_default() {
            if self.send_frame(frame).await.is_err() {
                // The next message finds out that the turn is interrupted.
                return;
            }
        }
    }

    /// Sends a message, whole or by tokens, at the speed of the model.
    ///
    /// # Errors
    /// If the turn is interrupted meanwhile: how much was sent.
    pub(super) async fn send(&mut self, message: &Message, pacer: &mut Pacer) -> Result<(), Sent> {
        for (parts, mut wire) in message.shown(&self.message_view).into_iter().enumerate() {
            let sent = Sent { parts, bytes: 0 };
            pacer.begin_part(wire.message_type);
            if !self.message_view.wants(wire.message_type) {
                self.sleep(pacer.generation_time(|| wire.pieces().len())).await.map_err(|Interrupted| sent)?;
                continue;
            }
            if !self.delivery.tokens {
                self.sleep(pacer.delay_before(|| wire.pieces().len())).await.map_err(|Interrupted| sent)?;
                wire.seq_id = self.next_number();
                self.send_frame(data(&wire)).await.map_err(|Interrupted| sent)?;
                continue;
            }
            let mut bytes = 0;
            for mut piece in wire.pieces() {
                let sent = Sent { parts, bytes };
                self.sleep(pacer.delay_before(|| 1)).await.map_err(|Interrupted| sent)?;
                piece.seq_id = self.next_number();
                self.send_frame(data(&piece)).await.map_err(|Interrupted| sent)?;
                bytes += piece.text().map_or(0, str::len);
            }
        }
        Ok(())
    }

    /// The events to store with the turn, if they are logged, including those of its end.
    pub(super) fn stored_events(&self, end: &End) -> Option<StoredEvents> {
        match &self.target {
            SinkTarget::Foreground(_) => None,
            SinkTarget::Background(event_log) => {
                let mut frames = self.buffer.clone().unwrap_or_default();
                frames.extend(end.frames(&self.run_id, self.delivery.tokens, self.number));
                Some(event_log.to_stored(&self.run_id, &frames))
            }
        }
    }

    /// Sends the last events, even if the turn was cancelled.
    pub(super) async fn close(mut self, end: &End) {
        self.cancel = CancellationToken::new();
        self.flush().await;
        self.deadline = Instant::now() + MAX_END_TIME;
        for frame in end.frames(&self.run_id, self.delivery.tokens, self.number) {
            if self.send_frame(frame).await.is_err() {
                break;
            }
        }
    }

    /// Waits, unless the turn is interrupted meanwhile.
    pub(super) async fn sleep(&self, time: Duration) -> Result<(), Interrupted> {
        if time.is_zero() {
            return Ok(());
        }
        let disconnected = async {
            match &self.target {
                SinkTarget::Foreground(sender) => sender.closed().await,
                SinkTarget::Background(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Interrupted),
            () = disconnected => Err(Interrupted),
            () = world::sleep(time, TimerKind::Pause, &self.run_id) => Ok(()),
        }
    }

    async fn send_frame(&mut self, frame: Bytes) -> Result<(), Interrupted> {
        if let Some(buffer) = &mut self.buffer {
            buffer.push(frame);
            return Ok(());
        }
        let sender = match &self.target {
            // A background turn does not depend on its readers.
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
            sent = timeout_at(self.deadline, sender.send(frame)) => match sent {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) | Err(_) => Err(Interrupted),
            },
        }
    }

    /// The number of the next event, if events are numbered.
    fn next_number(&mut self) -> Option<u64> {
        self.number = self.number.map(|number| number + 1);
        self.number
    }
}

impl Drop for EventSink {
    /// Readers of the event log must not wait for a turn that has ended.
    fn drop(&mut self) {
        if let SinkTarget::Background(event_log) = &self.target {
            event_log.end();
        }
    }
}

/// The client's side: the events of the turn, and pings while there are none.
fn body(receiver: mpsc::Receiver<Bytes>, pings: Option<(String, Duration)>) -> Body {
    Body::from_stream(stream::unfold((receiver, pings), |(mut receiver, pings)| async move {
        let frame = match &pings {
            None => receiver.recv().await?,
            Some((run_id, interval)) => match world::timeout(*interval, TimerKind::Ping, run_id, receiver.recv()).await
            {
                Some(frame) => frame?,
                None => ping(run_id, None),
            },
        };
        Some((Ok::<_, Infallible>(frame), (receiver, pings)))
    }))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::Value;
    use tokio::time::timeout;

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
    async fn every_event_is_a_frame_and_the_chunks_are_the_text() {
        let (mut event_sink, body) = EventSink::open(&run(), DELIVERY, CancellationToken::new(), NEVER);
        let turn = tokio::spawn(async move {
            event_sink.send(&message("Echo: Stream by tokens"), &mut Pacer::default()).await.unwrap();
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
    async fn an_interrupted_turn_learns_how_much_was_sent() {
        let cancel = CancellationToken::new();
        let (mut event_sink, body) = EventSink::open(&run(), DELIVERY, cancel.clone(), NEVER);
        event_sink.flush().await;
        cancel.cancel();
        assert_eq!(event_sink.send(&message("Echo"), &mut Pacer::default()).await, Err(Sent { parts: 0, bytes: 0 }));
        event_sink.close(&End::Stopped(StopReason::Cancelled, Usage::default(), Vec::new())).await;
        assert_eq!(frames(body).await.len(), 3);

        let (mut event_sink, body) = EventSink::open(&run(), DELIVERY, CancellationToken::new(), NEVER);
        event_sink.flush().await;
        drop(body);
        assert!(event_sink.send(&message("Echo"), &mut Pacer::default()).await.is_err());
        assert!(
            event_sink.send(&message("Echo"), &mut Pacer::new(NEVER, ModelLatency::default())).await.is_err(),
            "the delay ends when the client disconnects"
        );
    }

    #[tokio::test]
    async fn events_are_buffered_until_they_are_flushed() {
        let (mut event_sink, mut body) = EventSink::open(&run(), DELIVERY, CancellationToken::new(), NEVER);
        event_sink.send(&message("Echo"), &mut Pacer::default()).await.unwrap();
        assert!(timeout(Duration::from_millis(20), body.frame()).await.is_err());
        assert!(event_sink.can_buffer(&message("short")) && !event_sink.can_buffer(&message(&"long".repeat(20_000))));
        event_sink.flush().await;
        drop(event_sink);
        assert_eq!(frames(body).await.len(), 2);
    }

    #[tokio::test]
    async fn a_turn_waits_for_a_slow_client() {
        let (mut event_sink, body) = EventSink::open(&run(), DELIVERY, CancellationToken::new(), NEVER);
        let turn = tokio::spawn(async move {
            event_sink.flush().await;
            event_sink.send(&message(&"x".repeat(8 * 2 * CAPACITY)), &mut Pacer::default()).await
        });
        tokio::task::yield_now().await;
        assert!(!turn.is_finished());
        assert_eq!(frames(body).await.len(), 2 * CAPACITY + 1);
        assert!(turn.await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_client_gets_pings_if_it_wants_them() {
        for (pings, expected) in [(true, 3), (false, 0)] {
            let delivery = Delivery { pings, ..DELIVERY };
            let (mut event_sink, body) = EventSink::open(&run(), delivery, CancellationToken::new(), NEVER);
            let turn = tokio::spawn(async move {
                event_sink.flush().await;
                event_sink
                    .send(&message("Echo"), &mut Pacer::new(Duration::from_secs(59), ModelLatency::default()))
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
    async fn only_the_event_of_a_failure_has_a_name() {
        let (event_sink, body) = EventSink::open(&run(), DELIVERY, CancellationToken::new(), NEVER);
        event_sink.close(&End::Failed(crate::mock::records::turn_error::TurnError::internal("no"))).await;
        let frames = frames(body).await;
        assert!(frames[1].contains("\"stop_reason\":\"error\""));
        assert!(frames[2].starts_with("event: error\ndata: {\"message_type\":\"error_message\""));
        assert_eq!(frames[3], "data: [DONE]\n\n");
    }
}
