//! How long a model takes: until it says something, and from one token to the next.

use std::time::Duration;

use crate::mock::records::{Message, MessageView};

/// How long every model step takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tempo {
    /// Until its first token.
    pub first_token: Duration,
    /// From one token to the next.
    pub token_interval: Duration,
}

impl Tempo {
    /// How long a message takes from its first token to its last.
    pub(in crate::mock) fn time_to_write(self, message: &Message) -> Duration {
        let mut pace = Pace::new(Duration::ZERO, self);
        message.shown(&MessageView::USUAL).iter().map(|wire| pace.before(|| wire.pieces().len())).sum()
    }
}

/// How what is said in a step is spread over time. A piece of a stream of tokens counts as a token, so a step takes the
/// same time however it is told.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::mock) struct Pace {
    /// Before everything that is told by itself.
    pause: Duration,
    interval: Duration,
    /// Whether there was a token before.
    has_begun: bool,
}

impl Pace {
    pub(in crate::mock) fn new(pause: Duration, tempo: Tempo) -> Self {
        Self { pause, interval: tempo.token_interval, has_begun: false }
    }

    /// Whether anything has to wait.
    pub(in crate::mock) fn takes_time(&self) -> bool {
        !self.pause.is_zero() || !self.interval.is_zero()
    }

    /// How long to wait before something is told of so many tokens.
    pub(in crate::mock) fn before(&mut self, tokens: impl FnOnce() -> usize) -> Duration {
        self.pause.saturating_add(self.unseen(tokens))
    }

    /// How long the model takes for what nobody is told.
    pub(in crate::mock) fn unseen(&mut self, tokens: impl FnOnce() -> usize) -> Duration {
        if self.interval.is_zero() {
            return Duration::ZERO;
        }
        let tokens = u32::try_from(tokens()).unwrap_or(u32::MAX);
        let gaps = if self.has_begun { tokens } else { tokens.saturating_sub(1) };
        self.has_begun = true;
        self.interval.saturating_mul(gaps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_takes_the_same_time_in_pieces_and_as_a_whole() {
        let tempo = Tempo { token_interval: Duration::from_millis(10), ..Tempo::default() };
        let mut in_pieces = Pace::new(Duration::ZERO, tempo);
        let pieces: Duration = (0..5).map(|_| in_pieces.before(|| 1)).sum();
        let mut whole = Pace::new(Duration::ZERO, tempo);
        assert_eq!(
            (pieces, whole.before(|| 2) + whole.unseen(|| 3)),
            (Duration::from_millis(40), Duration::from_millis(40))
        );
        let mut slow = Pace::new(Duration::from_millis(7), Tempo::default());
        assert_eq!((slow.before(|| 9), slow.unseen(|| 9)), (Duration::from_millis(7), Duration::ZERO));
    }
}
