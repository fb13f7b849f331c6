//! Delivers the messages of a turn to its client, at the speed of the model.

use std::time::Duration;

use super::AgentLoop;
use crate::{
    error::ApiError,
    mock::{records::Message, running::Pacer, turn::event_sink::Sent},
};

impl AgentLoop<'_> {
    /// Delivers a message to the client. `Some` if the turn was interrupted meanwhile, with how much was sent.
    pub(super) async fn deliver(&mut self, message: &Message, pacer: &mut Pacer) -> Result<Option<Sent>, ApiError> {
        if let Some(event_sink) = &mut self.event_sink {
            self.budget.charge(event_sink.logged_bytes(message))?;
            if pacer.has_delays() || !event_sink.can_buffer(message) {
                self.lease.store_run().await?;
                event_sink.flush().await;
            }
            return Ok(event_sink.send(message, pacer).await.err());
        }
        if pacer.has_delays() {
            for (parts, wire) in message.shown(&self.lease.run.request_config).iter().enumerate() {
                pacer.begin_part(wire.message_type);
                if !self.wait(pacer.delay_before(|| wire.pieces().len())).await? {
                    return Ok(Some(Sent { parts, bytes: 0 }));
                }
            }
        }
        Ok(None)
    }

    /// Waits; `false` if the turn is interrupted meanwhile. The run is stored and buffered events are sent before.
    pub(super) async fn wait(&mut self, time: Duration) -> Result<bool, ApiError> {
        if time.is_zero() {
            return Ok(true);
        }
        self.lease.store_run().await?;
        if let Some(event_sink) = &mut self.event_sink {
            event_sink.flush().await;
            return Ok(event_sink.sleep(time).await.is_ok());
        }
        Ok(self.lease.sleep(time).await)
    }
}
