//! Closed loop: each connection sends its next request when the last one was answered.

use std::{cell::Cell, io, rc::Rc, time::Duration};

use clap::Args;
use serde_json::{Value, json};
use tokio::{sync::Barrier, task::LocalSet};

use crate::{Failure, client::Connection, process::Mark, requests::Workload, upstream};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    workload: Workload,
    /// How long to measure after every token was sent once, in seconds; 0: send every token once and measure that
    #[arg(long)]
    seconds: f64,
}

/// What all connections share.
struct Progress {
    requests: Vec<Vec<u8>>,
    next: Cell<usize>,
    answered: Cell<usize>,
    stop: Cell<Option<usize>>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<Value, Failure> {
    let Arguments { workload, seconds } = arguments;
    let upstream = upstream::bind(workload.upstream).await?;
    tokio::spawn(upstream::serve(upstream));
    let requests = workload.requests()?;
    let rotation = requests.len();
    let progress = Rc::new(Progress { requests, next: Cell::new(0), answered: Cell::new(0), stop: Cell::new(None) });
    let is_once = seconds == 0.0;
    if is_once {
        progress.stop.set(Some(rotation));
    }
    let local = LocalSet::new();
    let ready = Rc::new(Barrier::new(workload.connections + 1));
    let mut connections = tokio::task::JoinSet::new();
    for _ in 0..workload.connections {
        let (progress, ready) = (Rc::clone(&progress), Rc::clone(&ready));
        connections.spawn_local_on(async move { work(workload.target, &progress, &ready).await }, &local);
    }
    let pids = workload.pids;
    local
        .run_until(async move {
            ready.wait().await;
            let mut begin = Moment::now(&progress, &pids)?;
            if !is_once {
                while progress.answered.get() < rotation {
                    if let Some(ended) = connections.try_join_next() {
                        ended??;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                begin = Moment::now(&progress, &pids)?;
                tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
                let end = Moment::now(&progress, &pids)?;
                progress.stop.set(Some(0));
                while let Some(ended) = connections.join_next().await {
                    ended??;
                }
                return Ok(begin.until(&end));
            }
            while let Some(ended) = connections.join_next().await {
                ended??;
            }
            Ok(begin.until(&Moment::now(&progress, &pids)?))
        })
        .await
}

/// One connection: a request so that it and the proxy's own connection are there, then all others.
async fn work(target: std::net::SocketAddr, progress: &Progress, ready: &Barrier) -> io::Result<()> {
    let mut connection = Connection::open(target).await?;
    // The first token is the one that is not new.
    connection.exchange(&progress.requests[0]).await?;
    ready.wait().await;
    loop {
        let index = progress.next.get();
        if progress.stop.get().is_some_and(|stop| index >= stop) {
            return Ok(());
        }
        progress.next.set(index + 1);
        connection.exchange(&progress.requests[index % progress.requests.len()]).await?;
        progress.answered.set(progress.answered.get() + 1);
    }
}

/// A moment, and what was answered until then.
struct Moment {
    answered: usize,
    mark: Mark,
}

impl Moment {
    fn now(progress: &Progress, pids: &[u32]) -> io::Result<Self> {
        Ok(Self { answered: progress.answered.get(), mark: Mark::now(pids)? })
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of requests is far below 52 bits")]
    fn until(&self, end: &Self) -> Value {
        let usage = self.mark.until(&end.mark);
        let requests = (end.answered - self.answered) as f64;
        usage.beside(json!({
            "requests_per_second": requests / usage.seconds,
            "cpu_us_per_request": usage.server_seconds * 1e6 / requests,
        }))
    }
}
