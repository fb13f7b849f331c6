//! Accepting connections and stopping gracefully.

use std::{convert::Infallible, future::Future, io, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use tokio::net::TcpListener;
use tracing::{debug, info, warn};

use crate::http::Surface;

/// How a server behaves towards connections.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    /// How long the head of a request may take to arrive.
    pub header_timeout: Duration,
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
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(behaviour.header_timeout);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(20));
    let graceful = GracefulShutdown::new();
    let readiness = surface.readiness().clone();
    // Hyper's own function service: a router's boxed futures and bodies cost a fifth of a proxy's throughput.
    let service = service_fn(move |request| {
        let surface = surface.clone();
        async move { Ok::<_, Infallible>(surface.answer(request).await) }
    });
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
        let connection = builder.serve_connection(TokioIo::new(stream), service.clone());
        let connection = graceful.watch(connection.into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "A connection ended with an error");
            }
        });
    }
    drop(listener);
    let stopping = tokio::time::Instant::now();
    if tokio::time::timeout(behaviour.shutdown_grace, graceful.shutdown()).await.is_err() {
        warn!("Some requests did not finish within the grace; closing their connections");
    }
    behaviour.shutdown_grace.saturating_sub(stopping.elapsed())
}

/// A connection that failed before it was accepted is the client's affair; a lack of file descriptors passes.
async fn pause_after(error: &io::Error) {
    let clients = [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset, io::ErrorKind::ConnectionRefused];
    if !clients.contains(&error.kind()) {
        warn!(%error, "Cannot accept connections");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
