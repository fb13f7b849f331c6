//! What a page is shown of the server's frames.

use super::SocketState;

/// What becomes of a frame of the server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outbound {
    /// The page gets it in this form.
    Send(String),
    /// The page does not get it; the reason is a label for metrics.
    Drop(&'static str),
}

/// Decides about a frame of the server, and notes what it says about the socket's runtimes. It must see every frame, also
/// once the page is gone.
pub fn outbound(frame: &[u8], state: &mut SocketState) -> Outbound {
    let _ = (frame, state);
    Outbound::Drop("unknown")
}
