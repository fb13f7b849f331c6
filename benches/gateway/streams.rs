//! Streams of events, many at once: how long the first event takes from the request, and each other one from the fake
//! Letta server, which writes into it when it was sent.

use std::{
    cell::Cell,
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::{Value, json};
use tokio::task::{JoinSet, LocalSet};

use crate::{
    Failure,
    client::Connection,
    latency::percentile,
    pace,
    process::Mark,
    requests::{Kind, Workload},
    upstream,
};

/// Over what time the first streams begin, so that they do not keep step.
const LONGEST_SPREAD: Duration = Duration::from_secs(1);

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    workload: Workload,
    /// Events of one stream
    #[arg(long)]
    frames: u32,
    /// Milliseconds between two of them
    #[arg(long)]
    gap: u32,
    /// For how long each connection begins a stream after the other, in seconds; 0: one stream each
    #[arg(long)]
    seconds: f64,
}

/// What was measured.
#[derive(Default)]
struct Times {
    first: Vec<Duration>,
    relay: Vec<Duration>,
    /// By how much the time between two events differs from the time between their sending.
    shift: Vec<Duration>,
}

/// How many streams are open, and were at most.
#[derive(Default)]
struct Open {
    now: Cell<usize>,
    most: Cell<usize>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<Value, Failure> {
    let Arguments { mut workload, frames, gap, seconds } = arguments;
    workload.operation = Kind::Stream { frames, gap };
    let listener = upstream::bind(workload.upstream).await?;
    tokio::spawn(upstream::serve(listener));
    tokio::spawn(pace::keep());
    let requests = Rc::new(workload.requests()?);
    let open = Rc::new(Open::default());
    LocalSet::new()
        .run_until(async {
            let mut connections = Vec::new();
            for index in 0..workload.connections {
                connections.push((index, Connection::open(workload.target).await?));
            }
            let begin = Mark::now(&workload.pids)?;
            let start = Instant::now();
            let stop = start + Duration::from_secs_f64(seconds);
            let length = Duration::from_millis(gap.into()) * frames;
            let spread = length.min(LONGEST_SPREAD) / u32::try_from(workload.connections)?;
            let mut streams = JoinSet::new();
            for (index, mut connection) in connections {
                let (requests, open) = (Rc::clone(&requests), Rc::clone(&open));
                let first = start + spread * u32::try_from(index)?;
                streams.spawn_local(async move {
                    let mut times = Times::default();
                    pace::until(first).await;
                    loop {
                        open.begin();
                        stream(&mut connection, &requests[index % requests.len()], frames, &mut times).await?;
                        open.now.set(open.now.get() - 1);
                        if Instant::now() >= stop {
                            return Ok::<_, io::Error>(times);
                        }
                    }
                });
            }
            let mut all = Times::default();
            while let Some(times) = streams.join_next().await {
                let times = times??;
                all.first.extend(times.first);
                all.relay.extend(times.relay);
                all.shift.extend(times.shift);
            }
            let usage = begin.until(&Mark::now(&workload.pids)?);
            for times in [&mut all.first, &mut all.relay, &mut all.shift] {
                times.sort_unstable();
            }
            Ok(usage.beside(json!({
                "streams": all.first.len(),
                "most_open": open.most.get(),
                "first_p50_us": percentile(&all.first, 0.5),
                "first_p99_us": percentile(&all.first, 0.99),
                "relay_p50_us": percentile(&all.relay, 0.5),
                "relay_p99_us": percentile(&all.relay, 0.99),
                "shift_p50_us": percentile(&all.shift, 0.5),
                "shift_p99_us": percentile(&all.shift, 0.99),
                "cpu_us_per_frame": usage.server_seconds * 1e6 / f64::from(u32::try_from(all.first.len() + all.relay.len())?),
            })))
        })
        .await
}

impl Open {
    fn begin(&self) {
        self.now.set(self.now.get() + 1);
        self.most.set(self.most.get().max(self.now.get()));
    }
}

/// One stream from its request to its end.
async fn stream(connection: &mut Connection, request: &[u8], frames: u32, times: &mut Times) -> io::Result<()> {
    let asked = Instant::now();
    connection.begin_stream(request).await?;
    let mut count = 0;
    let mut last = None;
    while let Some(event) = connection.event().await? {
        let Some(sent) = upstream::sent(&event) else { continue };
        let took = Duration::from_nanos(upstream::now().saturating_sub(sent));
        match last.replace(took) {
            None => times.first.push(asked.elapsed()),
            Some(before) => {
                times.relay.push(took);
                times.shift.push(took.abs_diff(before));
            }
        }
        count += 1;
    }
    if count == frames { Ok(()) } else { Err(io::Error::other(format!("{count} events of {frames}"))) }
}
