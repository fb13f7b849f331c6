//! Open loop: each request is due at a time of its own and is timed from then, whether or not it could be sent by then,
//! so a server that stalls cannot hide it (no coordinated omission).

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    task::{JoinSet, LocalSet},
};

use crate::{Failure, client::Connection, process::Mark, requests::Workload, upstream};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    workload: Workload,
    /// Requests per second
    #[arg(long)]
    rate: f64,
    /// How long to send before measuring, in seconds
    #[arg(long)]
    warm_up: f64,
    /// How long to measure, in seconds
    #[arg(long)]
    seconds: f64,
}

/// A request and when it is due.
struct Due {
    index: usize,
    at: Instant,
    is_measured: bool,
}

pub(crate) async fn run(arguments: Arguments) -> Result<Value, Failure> {
    let Arguments { workload, rate, warm_up, seconds } = arguments;
    let upstream = upstream::bind(workload.upstream).await?;
    tokio::spawn(upstream::serve(upstream));
    let requests = Rc::new(workload.requests()?);
    let times = Rc::new(RefCell::new(Vec::new()));
    let late = Rc::new(Cell::new(0usize));
    LocalSet::new()
        .run_until(async {
            let mut workers = JoinSet::new();
            let (free, mut idle) = mpsc::unbounded_channel();
            for _ in 0..workload.connections {
                let (work, mut due) = mpsc::unbounded_channel::<Due>();
                let mut connection = Connection::open(workload.target).await?;
                connection.exchange(&requests[0]).await?;
                let (requests, times, free) = (Rc::clone(&requests), Rc::clone(&times), free.clone());
                free.send(work.clone())?;
                workers.spawn_local(async move {
                    while let Some(Due { index, at, is_measured }) = due.recv().await {
                        connection.exchange(&requests[index % requests.len()]).await?;
                        if is_measured {
                            times.borrow_mut().push(at.elapsed());
                        }
                        // Nobody listens once all is sent.
                        let _ = free.send(work.clone());
                    }
                    Ok::<_, io::Error>(())
                });
            }
            drop(free);
            let begin = Mark::now(&workload.pids)?;
            let started = Instant::now();
            let mut index = 0;
            loop {
                #[expect(clippy::cast_precision_loss, reason = "a count of requests is far below 52 bits")]
                let offset = index as f64 / rate;
                if offset > warm_up + seconds {
                    break;
                }
                let at = started + Duration::from_secs_f64(offset);
                // Timers are too coarse and a sleeping core too slow to wake: this core stays awake for the next event.
                while Instant::now() < at {
                    tokio::task::yield_now().await;
                }
                let work = match idle.try_recv() {
                    Ok(work) => work,
                    Err(_) => {
                        late.set(late.get() + 1);
                        tokio::select! {
                            work = idle.recv() => work.ok_or("all connections have failed")?,
                            ended = workers.join_next() => return Err(failure(ended)),
                        }
                    }
                };
                work.send(Due { index, at, is_measured: offset >= warm_up })?;
                index += 1;
            }
            while times.borrow().len() + 1 < usize_of(rate * seconds) {
                if let Some(ended) = workers.try_join_next() {
                    return Err(failure(Some(ended)));
                }
                tokio::task::yield_now().await;
            }
            let usage = begin.until(&Mark::now(&workload.pids)?);
            let mut times = times.take();
            times.sort_unstable();
            Ok(usage.beside(json!({
                "requests": times.len(),
                "late": late.get(),
                "p50_us": percentile(&times, 0.5),
                "p99_us": percentile(&times, 0.99),
                "p999_us": percentile(&times, 0.999),
            })))
        })
        .await
}

fn failure(ended: Option<Result<io::Result<()>, tokio::task::JoinError>>) -> Failure {
    match ended {
        Some(Ok(Err(error))) => error.into(),
        Some(Err(error)) => error.into(),
        _ => "a connection has ended".into(),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of requests")]
fn usize_of(count: f64) -> usize {
    count as usize
}

/// The time below which this share of sorted times is, in microseconds.
#[expect(clippy::cast_precision_loss, reason = "a count of requests is far below 52 bits")]
pub(crate) fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let index = usize_of((sorted.len() as f64 * share).ceil()).saturating_sub(1);
    sorted.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
}
