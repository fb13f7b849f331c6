//! The simulated latency of models: the time to the first token, and the time between tokens.

use std::time::Duration;

use crate::mock::records::{Message, MessageType, MessageView};

/// The latency of every model step.
#[derive(Clone, Copy, Debug, Default)]
pub struct ModelLatency {
    /// The time to the first token.
    pub first_token: Duration,
    /// The time from one token to the next.
    pub token_interval: Duration,
}

impl ModelLatency {
    /// How long the model takes for a message, from its first token to its last.
    pub(in crate::mock) fn generation_time(self, message: &Message) -> Duration {
        let mut pacer = Pacer::new(Duration::ZERO, self);
        message.shown(&MessageView::USUAL).iter().map(|wire| pacer.delay_before(|| wire.pieces().len())).sum()
    }
}

/// Spreads the output of a step over time. A chunk of a token stream counts as one token, so a step takes the same time
/// whether it is streamed by tokens, by messages, or not at all.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::mock) struct Pacer {
    /// A pause before every event.
    event_delay: Duration,
    /// A further pause before every event in which the agent speaks.
    pace: Duration,
    is_speaking: bool,
    token_interval: Duration,
    /// Whether the first token has been generated.
    has_begun: bool,
}

impl Pacer {
    pub(in crate::mock) fn new(event_delay: Duration, latency: ModelLatency) -> Self {
        Self { event_delay, token_interval: latency.token_interval, ..Self::default() }
    }

    /// Pauses also before every event in which the agent speaks.
    #[must_use]
    pub(in crate::mock) fn paced(self, pace: Duration) -> Self {
        Self { pace, ..self }
    }

    /// Notes what the next events are part of.
    pub(in crate::mock) fn begin_part(&mut self, message_type: MessageType) {
        self.is_speaking = message_type == MessageType::AssistantMessage;
    }

    /// Whether there are any delays.
    pub(in crate::mock) fn has_delays(&self) -> bool {
        !self.event_delay.is_zero() || !self.pace.is_zero() || !self.token_interval.is_zero()
    }

    /// The delay before an event of this many tokens is sent.
    pub(in crate::mock) fn delay_before(&mut self, tokens: impl FnOnce() -> usize) -> Duration {
        let pace = if self.is_speaking { self.pace } else { Duration::ZERO };
        self.event_delay.saturating_add(pace).saturating_add(self.generation_time(tokens))
    }

    /// The time to generate this many tokens, which is all that an event takes that is not sent.
    pub(in crate::mock) fn generation_time(&mut self, tokens: impl FnOnce() -> usize) -> Duration {
        if self.token_interval.is_zero() {
            return Duration::ZERO;
        }
        let tokens = u32::try_from(tokens()).unwrap_or(u32::MAX);
        let intervals = if self.has_begun { tokens } else { tokens.saturating_sub(1) };
        self.has_begun = true;
        self.token_interval.saturating_mul(intervals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_takes_the_same_time_in_chunks_and_as_a_whole() {
        let latency = ModelLatency { token_interval: Duration::from_millis(10), ..ModelLatency::default() };
        let mut in_chunks = Pacer::new(Duration::ZERO, latency);
        let chunks: Duration = (0..5).map(|_| in_chunks.delay_before(|| 1)).sum();
        let mut whole = Pacer::new(Duration::ZERO, latency);
        assert_eq!(
            (chunks, whole.delay_before(|| 2) + whole.generation_time(|| 3)),
            (Duration::from_millis(40), Duration::from_millis(40))
        );
        let mut slow = Pacer::new(Duration::from_millis(7), ModelLatency::default());
        assert_eq!((slow.delay_before(|| 9), slow.generation_time(|| 9)), (Duration::from_millis(7), Duration::ZERO));
    }
}
