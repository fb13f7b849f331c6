//! Accepts connections and shuts down gracefully.

pub(crate) mod connection;

use std::{future::Future, io, time::Duration};

use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use self::connection::ConnectionLimits;
use crate::http::Surface;

/// The options of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerOptions {
    /// The limits on each connection.
    pub(crate) limits: ConnectionLimits,
    /// How long to keep accepting connections after the signal to stop.
    pub(crate) shutdown_delay: Duration,
    /// How long requests and streams may take to finish after that delay.
    pub(crate) shutdown_grace: Duration,
}

/// Serves until `stop` resolves, then lets requests in flight finish. Returns the rest of the grace period.
pub(crate) async fn serve(
    listener: TcpListener,
    surface: Surface,
    options: ServerOptions,
    stop: impl Future<Output = ()>,
) -> Duration {
    let (stopping, open) = (CancellationToken::new(), TaskTracker::new());
    let readiness = surface.readiness().clone();
    let mut stop = std::pin::pin!(async {
        stop.await;
        info!("Stopping: /readyz responds with 503 from now on");
        readiness.begin_stopping();
        tokio::time::sleep(options.shutdown_delay).await;
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
        // Nagle's algorithm would delay small events.
        let _ = stream.set_nodelay(true);
        open.spawn(connection::serve(options.limits, stream, surface.clone(), stopping.clone()));
    }
    drop(listener);
    let stopped = tokio::time::Instant::now();
    stopping.cancel();
    open.close();
    let finished = async { tokio::join!(open.wait(), surface.drain_sockets()) };
    if tokio::time::timeout(options.shutdown_grace, finished).await.is_err() {
        warn!("Some requests did not finish within the grace period; closing their connections");
    }
    options.shutdown_grace.saturating_sub(stopped.elapsed())
}

/// Waits before the next attempt, unless the error concerns one connection only: file descriptors, for example, may become
/// free.
async fn pause_after(error: &io::Error) {
    let of_one_connection =
        [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset, io::ErrorKind::ConnectionRefused];
    if !of_one_connection.contains(&error.kind()) {
        warn!(%error, "Cannot accept connections");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
