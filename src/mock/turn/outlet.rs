//! Where a turn's events go: server-sent events, each in a frame of its own, through a short channel that makes the turn
//! wait for a slow client and notices one that has gone.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::request::Delivery;
use crate::{
    body::Body,
    entropy,
    mock::records::{Message, MessageType, Run, StopReason, Timestamp, Usage},
};

/// How many events may wait for the client.
const CAPACITY: usize = 16;
/// After this long without an event the client gets a sign of life.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// The longest that a client may take to read an answer.
const LONGEST_STREAM: Duration = Duration::from_mins(5);
/// The longest that a client may take to read how its answer ended.
const LONGEST_END: Duration = Duration::from_secs(30);

/// A turn's side of a stream of events.
#[derive(Debug)]
pub(super) struct Outlet {
    sender: mpsc::Sender<Bytes>,
    cancel: CancellationToken,
    deadline: Instant,
    run_id: String,
    delivery: Delivery,
    types: Option<Vec<MessageType>>,
    /// The number of the last event, where events are numbered.
    number: Option<u64>,
    attached: bool,
}

/// The turn is to end: it was cancelled, or nobody reads its answer.
#[derive(Debug)]
struct Interrupted;

/// How much of a message was sent before the turn had to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Sent {
    /// Whole parts.
    pub(super) parts: usize,
    /// Bytes of the text of the part after them.
    pub(super) bytes: usize,
}

/// How a stream ends.
#[derive(Debug)]
pub(super) enum End {
    /// As turns do. What a cancelled turn cost is not said.
    Stopped(StopReason, Usage),
    /// The turn could not be stored.
    Failed(String),
}

impl Outlet {
    /// Opens a stream for a run; the body is the client's side.
    pub(super) fn open(run: &Run, delivery: Delivery, cancel: CancellationToken) -> (Self, Body) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        let outlet = Self {
            sender,
            cancel,
            deadline: Instant::now() + LONGEST_STREAM,
            run_id: run.id.clone(),
            delivery,
            types: run.request_config.include_return_message_types.clone(),
            number: delivery.background.then_some(0),
            attached: true,
        };
        let body = body(receiver, delivery.pings.then(|| run.id.clone()));
        (outlet, body)
    }

    /// The first event, which tells the client its run.
    pub(super) async fn greet(&mut self) {
        if self.delivery.pings {
            let number = self.count();
            // Whether anyone reads is found out with the first message.
            let _ = self.send(data(&ping(&self.run_id, number))).await;
        }
    }

    /// Sends a message, whole or in pieces.
    pub(super) async fn say(&mut self, message: &Message) -> Result<(), Sent> {
        for (parts, mut wire) in message.expand().into_iter().enumerate() {
            if self.types.as_ref().is_some_and(|types| !types.contains(&wire.message_type)) {
                continue;
            }
            if !self.delivery.tokens {
                wire.seq_id = self.count();
                self.send(data(&wire)).await.map_err(|Interrupted| Sent { parts, bytes: 0 })?;
                continue;
            }
            let mut bytes = 0;
            for mut piece in wire.pieces() {
                piece.seq_id = self.count();
                self.send(data(&piece)).await.map_err(|Interrupted| Sent { parts, bytes })?;
                bytes += piece.text().map_or(0, str::len);
            }
        }
        Ok(())
    }

    /// Sends how the turn ended, whether or not it was cancelled.
    pub(super) async fn close(mut self, end: End) {
        self.cancel = CancellationToken::new();
        self.deadline = Instant::now() + LONGEST_END;
        let _ = self.send_end(end).await;
    }

    async fn send_end(&mut self, end: End) -> Result<(), Interrupted> {
        match end {
            End::Stopped(stop_reason, usage) => {
                self.count();
                self.send(data(&stop_reason.wire())).await?;
                if stop_reason != StopReason::Cancelled {
                    self.count();
                    self.send(data(&usage.wire(self.delivery.tokens))).await?;
                }
            }
            End::Failed(message) => {
                self.count();
                self.send(data(&StopReason::Error.wire())).await?;
                let error = json!({
                    "message_type": "error_message",
                    "run_id": self.run_id,
                    "error_type": "internal_error",
                    "message": message,
                    "detail": null,
                    "seq_id": self.count(),
                });
                self.send(Bytes::from(format!("event: error\ndata: {error}\n\n"))).await?;
            }
        }
        self.send(Bytes::from_static(b"data: [DONE]\n\n")).await
    }

    async fn send(&mut self, frame: Bytes) -> Result<(), Interrupted> {
        if !self.attached {
            return if self.cancel.is_cancelled() { Err(Interrupted) } else { Ok(()) };
        }
        let taken = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(Interrupted),
            taken = timeout_at(self.deadline, self.sender.send(frame)) => taken,
        };
        match taken {
            Ok(Ok(())) => Ok(()),
            // A turn in the background does not depend on its listener.
            Ok(Err(_)) | Err(_) if self.delivery.background => {
                self.attached = false;
                Ok(())
            }
            Ok(Err(_)) | Err(_) => Err(Interrupted),
        }
    }

    /// The next event's number, where events are numbered.
    fn count(&mut self) -> Option<u64> {
        self.number = self.number.map(|number| number + 1);
        self.number
    }
}

/// The client's side: what the turn sends, and pings while it sends nothing.
fn body(receiver: mpsc::Receiver<Bytes>, pings: Option<String>) -> Body {
    Body::from_stream(stream::unfold((receiver, pings), |(mut receiver, pings)| async move {
        let frame = match &pings {
            None => receiver.recv().await?,
            Some(run_id) => match timeout(PING_INTERVAL, receiver.recv()).await {
                Ok(frame) => frame?,
                Err(_) => data(&ping(run_id, None)),
            },
        };
        Some((Ok::<_, Infallible>(frame), (receiver, pings)))
    }))
}

/// One event.
fn data(event: &impl Serialize) -> Bytes {
    // Nothing that is sent has keys other than texts, which is all that could fail.
    let event = serde_json::to_string(event).unwrap_or_default();
    Bytes::from(format!("data: {event}\n\n"))
}

fn ping(run_id: &str, number: Option<u64>) -> Value {
    json!({
        "id": entropy::letta_id("ping"),
        "date": Timestamp::now().message_date(),
        "name": null,
        "message_type": "ping",
        "otid": null,
        "sender_id": null,
        "step_id": null,
        "is_err": null,
        "seq_id": number,
        "run_id": run_id,
    })
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::mock::records::{Part, RequestConfig, Role, RunType};

    const DELIVERY: Delivery = Delivery { streaming: true, tokens: true, pings: true, background: false };

    fn run() -> Run {
        let config = RequestConfig {
            use_assistant_message: true,
            assistant_message_tool_name: "send_message".into(),
            assistant_message_tool_kwarg: "message".into(),
            include_return_message_types: None,
        };
        Run::begin("agent-1", RunType::Streaming, false, config)
    }

    fn message(text: &str) -> Message {
        Message {
            id: entropy::letta_id("message"),
            role: Role::Assistant,
            content: vec![Part::text(text)],
            created_at: Timestamp::now(),
            name: None,
            otid: None,
            sender_id: None,
            group_id: None,
            batch_item_id: None,
            step_id: None,
            run_id: None,
        }
    }

    async fn frames(body: Body) -> Vec<String> {
        let mut body = body;
        let mut frames = Vec::new();
        while let Some(frame) = body.frame().await {
            frames.push(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap());
        }
        frames
    }

    #[tokio::test]
    async fn every_event_is_a_frame_and_the_pieces_are_the_text() {
        let (mut outlet, body) = Outlet::open(&run(), DELIVERY, CancellationToken::new());
        let turn = tokio::spawn(async move {
            outlet.greet().await;
            outlet.say(&message("Echo: Stream by tokens")).await.unwrap();
            outlet.close(End::Stopped(StopReason::EndTurn, Usage::default())).await;
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
        let (mut outlet, body) = Outlet::open(&run(), DELIVERY, cancel.clone());
        cancel.cancel();
        assert_eq!(outlet.say(&message("Echo")).await, Err(Sent { parts: 0, bytes: 0 }));
        outlet.close(End::Stopped(StopReason::Cancelled, Usage::default())).await;
        assert_eq!(frames(body).await.len(), 2);

        let (mut outlet, body) = Outlet::open(&run(), DELIVERY, CancellationToken::new());
        drop(body);
        assert!(outlet.say(&message("Echo")).await.is_err());
    }

    #[tokio::test]
    async fn a_turn_waits_for_a_slow_client() {
        let (mut outlet, body) = Outlet::open(&run(), DELIVERY, CancellationToken::new());
        let turn = tokio::spawn(async move { outlet.say(&message(&"x".repeat(8 * 2 * CAPACITY))).await });
        tokio::task::yield_now().await;
        assert!(!turn.is_finished());
        assert_eq!(frames(body).await.len(), 2 * CAPACITY);
        assert!(turn.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn events_of_a_background_turn_are_numbered_and_it_outlives_its_client() {
        let delivery = Delivery { background: true, ..DELIVERY };
        let (mut outlet, mut body) = Outlet::open(&run(), delivery, CancellationToken::new());
        outlet.greet().await;
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(String::from_utf8_lossy(&first).contains("\"seq_id\":1,"));
        drop(body);
        assert!(outlet.say(&message("Echo")).await.is_ok());
    }

    #[tokio::test]
    async fn a_failure_is_the_one_event_with_a_name() {
        let (outlet, body) = Outlet::open(&run(), DELIVERY, CancellationToken::new());
        outlet.close(End::Failed("no".into())).await;
        let frames = frames(body).await;
        assert!(frames[0].contains("\"stop_reason\":\"error\""));
        assert!(frames[1].starts_with("event: error\ndata: {\"message_type\":\"error_message\""));
        assert_eq!(frames[2], "data: [DONE]\n\n");
    }
}
