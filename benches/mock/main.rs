//! What `benches/mock/run` measures the mock against: a handler without guard, middleware or log that runs the same
//! statements on the same store and then writes the very bytes that the mock wrote, which were given to it at its start.
//! So it does not read what it has fetched. But it puts its answer together anew for each request, in one piece: a buffer
//! that is kept from one request to the next would be a response cache, which the mock has not either.

use std::{
    convert::Infallible, error::Error, fs, io::Write, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc,
};

use bytes::Bytes;
use clap::{Args, Parser, ValueEnum};
use gatelet::store::{IfMissing, MessageFilter, Store, StoreOptions};
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Debug, Parser)]
struct Cli {
    #[arg(long)]
    listen: SocketAddr,
    /// The store, as Gatelet names it
    #[arg(long)]
    database: String,
    #[command(flatten)]
    work: Work,
    /// The file that holds the answer
    #[arg(long)]
    answer: PathBuf,
}

/// What each request asks of the store.
#[derive(Args, Clone, Debug)]
struct Work {
    #[arg(long, value_enum)]
    operation: Operation,
    #[arg(long)]
    agent: String,
    /// How many messages a page has
    #[arg(long, default_value_t = 100)]
    limit: i64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Operation {
    /// `GET /v1/agents/{agent_id}/messages`
    List,
    /// `GET /v1/agents/{agent_id}`
    Retrieve,
    /// The same with `include=agent.blocks&include=agent.tools`
    RetrieveWithBlocksAndTools,
}

fn main() -> ExitCode {
    // What `cargo bench` and `cargo test --benches` ask for: there is nothing to measure without a store.
    if std::env::args().skip(1).all(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    // As Gatelet runs.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(serve(Cli::parse()))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "mock bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(cli: Cli) -> Result<(), Failure> {
    let options = StoreOptions {
        url: Some(cli.database),
        // Gatelet's defaults.
        max_connections: 10,
        statement_timeout: std::time::Duration::from_secs(10),
        if_missing: IfMissing::Refuse,
        most_read: usize::MAX,
    };
    let store = Store::open(&options).await?;
    let answer = Bytes::from(fs::read(cli.answer)?);
    let work = Arc::new(cli.work);
    let listener = TcpListener::bind(cli.listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (store, work, answer) = (store.clone(), Arc::clone(&work), answer.clone());
        let service = service_fn(move |_: Request<Incoming>| {
            let (store, work, answer) = (store.clone(), Arc::clone(&work), answer.clone());
            async move { Ok::<_, Infallible>(respond(work.run(&store).await, &answer)) }
        });
        tokio::spawn(async move {
            // A connection that fails is missed by whoever counts its answers.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn respond(outcome: Result<(), Failure>, answer: &[u8]) -> Response<Full<Bytes>> {
    let mut response = match outcome {
        Ok(()) => Response::new(Full::new(Bytes::copy_from_slice(answer))),
        Err(failure) => {
            let mut response = Response::new(Full::from(failure.to_string()));
            *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

impl Work {
    /// The statements of the mock's handler.
    async fn run(&self, store: &Store) -> Result<(), Failure> {
        let agent = self.agent.as_str();
        if let Operation::List = self.operation {
            let filter = MessageFilter::of_agent(agent).newest_first(true).limit(self.limit);
            let messages = store.messages(&filter).await?;
            return messages.first().map(drop).ok_or_else(|| "there are no messages".into());
        }
        store.document("agent", agent).await?.ok_or("there is no such agent")?;
        if let Operation::RetrieveWithBlocksAndTools = self.operation {
            store.links_of_kinds(&["agent_block", "agent_tool"], &[agent]).await?;
        }
        Ok(())
    }
}
