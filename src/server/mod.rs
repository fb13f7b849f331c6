//! Accepting connections and stopping gracefully.

pub mod connection;

use std::{future::Future, io, time::Duration};

use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::http::Surface;

/// How a server behaves towards connections.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    /// The limits on each.
    pub limits: connection::Limits,
    /// How long to go on accepting after the signal to stop.
    pub shutdown_delay: Duration,
    /// How long requests and streams may take to finish after that.
    pub shutdown_grace: Duration,
}

/// Serves until `stop` ends, then lets what is under way finish. Returns how much of the grace is left.
pub async fn serve(
    listener: TcpListener,
    surface: Surface,
    behaviour: Behaviour,
    stop: impl Future<Output = ()>,
) -> Duration {
    let (stopping, open) = (CancellationToken::new(), TaskTracker::new());
    let readiness = surface.readiness().clone();
    let mut stop = std::pin::pin!(async {
        stop.await;
        info!("Stopping: /readyz answers 503 from now on");
        readiness.begin_stopping();
        tokio::time::sleep(behaviour.shutdown_delay).await;
    });
    loop {
        let stream = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    pause_after(&error).await;
                    continue;
                }
            },
        };
        // Events are small and must not wait for each other.
        let _ = stream.set_nodelay(true);
        open.spawn(connection::serve(behaviour.limits, stream, surface.clone(), stopping.clone()));
    }
    drop(listener);
    let stopped = tokio::time::Instant::now();
    stopping.cancel();
    open.close();
    if tokio::time::timeout(behaviour.shutdown_grace, open.wait()).await.is_err() {
        warn!("Some requests did not finish within the grace; closing their connections");
    }
    behaviour.shutdown_grace.saturating_sub(stopped.elapsed())
}

/// A connection that failed before it was accepted is the client's affair; a lack of file descriptors passes.
async fn pause_after(error: &io::Error) {
    let clients = [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset, io::ErrorKind::ConnectionRefused];
    if !clients.contains(&error.kind()) {
        warn!(%error, "Cannot accept connections");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
