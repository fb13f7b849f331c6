//! The programs with which `benches/app-server/run` measures the sockets; each prints its figures as one line of JSON.

mod client;
mod proxy;
mod server;

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
    /// A WebSocket proxy that checks nothing, of the same library: what there is to measure against
    Proxy {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        upstream: SocketAddr,
    },
    /// A fake App Server
    Server {
        #[arg(long)]
        listen: SocketAddr,
    },
    /// How long a frame and its response take, one after the other
    Latency(client::Latency),
    /// What CPU time each event costs a server that relays many streams
    Relay(client::Relay),
    /// What memory each socket takes of a server, and whether any is dropped
    Idle(client::Idle),
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
            let _ = writeln!(std::io::stderr(), "{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(program: Program) -> Result<serde_json::Value, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match program {
            Program::Proxy { listen, upstream } => proxy::serve(listen, upstream).await,
            Program::Server { listen } => server::serve(listen).await,
            Program::Latency(arguments) => arguments.measure().await,
            Program::Relay(arguments) => arguments.measure().await,
            Program::Idle(arguments) => arguments.measure().await,
        }
    })
}
