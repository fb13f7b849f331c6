//! The programs with which `benches/gateway/run` measures the gateway; each prints its figures as one line of JSON.

mod client;
mod latency;
mod pace;
mod process;
mod proxy;
mod requests;
mod streams;
mod throughput;
mod upstream;
mod verify;

use std::{error::Error, io::Write, net::SocketAddr, process::ExitCode};

use clap::{Parser, Subcommand};

/// A failure, in one sentence.
type Failure = Box<dyn Error + Send + Sync>;

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    program: Program,
}

#[derive(Debug, Subcommand)]
enum Program {
    /// A reverse proxy that checks nothing: what there is to measure against
    Proxy {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        upstream: SocketAddr,
    },
    /// The fake Letta server alone
    Upstream {
        #[arg(long)]
        listen: SocketAddr,
    },
    /// As many requests as a server takes, and what CPU time each costs it
    Throughput(throughput::Arguments),
    /// Requests at a fixed rate, and how long each takes
    Latency(latency::Arguments),
    /// Streams of events, and how late each comes
    Streams(streams::Arguments),
    /// How long one Ed25519 verification takes
    Verify(verify::Arguments),
}

fn main() -> ExitCode {
    // What `cargo bench` and `cargo test --benches` ask for: there is nothing to measure without the other servers.
    if std::env::args().skip(1).all(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    match run(Cli::parse().program) {
        Ok(figures) => match writeln!(std::io::stdout(), "{figures}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "gateway bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(program: Program) -> Result<serde_json::Value, Failure> {
    // The proxy runs as Gatelet does; what shares the other core has one thread and no need to wake another.
    if let Program::Proxy { listen, upstream } = program {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        return runtime.block_on(proxy::serve(listen, upstream));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match program {
            Program::Proxy { .. } => Err("unreachable".into()),
            Program::Upstream { listen } => upstream::serve(upstream::bind(listen).await?).await,
            Program::Throughput(arguments) => throughput::run(arguments).await,
            Program::Latency(arguments) => latency::run(arguments).await,
            Program::Streams(arguments) => streams::run(arguments).await,
            Program::Verify(arguments) => verify::run(&arguments),
        }
    })
}
