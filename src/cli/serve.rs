//! `gatelet serve`.

use std::{future::Future, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use clap::Args;
use figment::value::Value;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
};
use tracing::warn;

use super::{CliError, Common, banner, seed};
use crate::{
    clock::Clock,
    config::{LogFormat, OriginMissing, Secret},
    credentials::PlainApiKey,
    http::{HeadLimits, Surface},
    server::{self, ServerOptions, connection::ConnectionLimits},
    service::{self, Service},
    store::IfMissing,
    telemetry::{
        logging,
        metrics::{self, Exposition},
    },
};

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The address to listen on; port 0 takes a free one [env: GATELET_LISTEN] [default: 127.0.0.1:8283]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Keep everything in memory, write nothing to disk [env: GATELET_EPHEMERAL]
    #[arg(long)]
    ephemeral: bool,
    /// What to do with a client token's request without an Origin header [env: GATELET_ORIGIN_MISSING] [default: deny]
    #[arg(long, value_name = "POLICY")]
    origin_missing: Option<OriginMissing>,
    /// The Letta server behind Gatelet; without one, the mock handles requests [env: GATELET_UPSTREAM_URL]
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// A TOML file with replies of the mock's agents [env: GATELET_SCRIPT]
    #[arg(long, value_name = "FILE")]
    script: Option<String>,
    /// What the mock begins with: a seed in TOML or JSON, an agent file, or a folder of them [env: GATELET_SEED]
    #[arg(long, value_name = "PATH")]
    seed: Option<String>,
    /// Let tests set up and examine the mock through the control API [env: GATELET_CONTROL] [default: auto]
    #[arg(long)]
    control: bool,
    /// The address on which to serve /metrics; without one, metrics are off [env: GATELET_METRICS_LISTEN]
    #[arg(long, value_name = "ADDRESS")]
    metrics_listen: Option<String>,
    /// Do not run pending migrations, but refuse to start
    #[arg(long)]
    no_migrate: bool,
    /// An API key to accept; prefer the environment, where other users cannot read it [env: GATELET_BOOTSTRAP_API_KEY]
    #[arg(long, value_name = "KEY")]
    bootstrap_api_key: Option<String>,
    /// How log lines are written [env: GATELET_LOG_FORMAT] [default: pretty on a terminal, json otherwise]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Which log lines are written [env: GATELET_LOG] [default: info]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// How long requests may take to finish after SIGTERM [env: GATELET_SHUTDOWN_GRACE] [default: 10s]
    #[arg(long, value_name = "DURATION")]
    shutdown_grace: Option<String>,
}

impl Arguments {
    fn flags(&self) -> Vec<(&'static str, Value)> {
        let mut flags = Vec::new();
        let mut text = |name, value: Option<&str>| flags.extend(value.map(|value| (name, Value::from(value))));
        text("listen", self.listen.as_deref());
        text("bootstrap_api_key", self.bootstrap_api_key.as_deref());
        text("upstream_url", self.upstream.as_deref());
        text("mock.script", self.script.as_deref());
        text("mock.seed", self.seed.as_deref());
        text("metrics_listen", self.metrics_listen.as_deref());
        text("log", self.log.as_deref());
        text("shutdown_grace", self.shutdown_grace.as_deref());
        text(
            "origin_missing",
            self.origin_missing.map(|policy| match policy {
                OriginMissing::Deny => "deny",
                OriginMissing::Allow => "allow",
            }),
        );
        text(
            "log_format",
            self.log_format.map(|format| match format {
                LogFormat::Pretty => "pretty",
                LogFormat::Json => "json",
            }),
        );
        if self.ephemeral {
            flags.push(("ephemeral", true.into()));
        }
        if self.control {
            flags.push(("control.enabled", true.into()));
        }
        flags
    }
}

pub(super) async fn run(common: &Common, arguments: Arguments) -> Result<ExitCode, CliError> {
    let (mut settings, warnings) = common.settings(&arguments.flags())?;
    let seed = seed::load(&mut settings)?;
    let logging = logging::start(&settings)?;
    for warning in warnings {
        warn!("{warning}");
    }
    service::control_is_on(&settings)?;
    // Every connection is an open file, and many systems limit a process to 1,024 unless it raises the limit.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        warn!(%error, "Cannot raise the limit on open files");
    }
    if !settings.listen.ip().is_loopback() {
        warn!(
            "Listening beyond loopback without TLS: only a TLS-terminating proxy should be able to reach {}",
            settings.listen
        );
    }
    // Registered before anything is served, so that no signal is missed.
    let mut stop = Stop::new()?;
    let listener = bind(settings.listen).await?;
    let metrics_listener = match settings.metrics_listen {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let store = service::open_store(&settings, IfMissing::Create).await?;
    if arguments.no_migrate {
        store.check_migrated().await?;
    } else {
        store.migrate().await?;
    }
    let new_key = service::bootstrap(&settings, &store).await?;
    let service = Service::start(&settings, store, Clock::system()).await?;
    let key = new_key.as_ref().map(PlainApiKey::reveal).or(settings.bootstrap_api_key.as_ref().map(Secret::reveal));
    let seeded = match &seed {
        Some(seed) => Some(seed::apply(seed, &service, key.unwrap_or_default()).await?),
        None => None,
    };
    let has_keys = service.app.store.has_api_keys().await?;
    let format = logging::format(&settings, &std::io::stdout());
    let addresses = banner::Addresses {
        service: listener.local_addr()?,
        metrics: metrics_listener.as_ref().map(TcpListener::local_addr).transpose()?,
    };
    // A program that waits for the banner can rely on earlier lines being in the log.
    logging.flush();
    banner::print(format, addresses, &service.app, new_key.as_ref(), has_keys, seeded.as_ref())?;
    drop(new_key);
    let mut metrics = JoinSet::new();
    if let (Some(listener), Some(counted)) = (metrics_listener, service.app.metrics.clone()) {
        metrics.spawn(metrics::listener::serve(listener, Exposition::new(counted, service.app.feed.clone())));
    }
    let options = ServerOptions {
        limits: ConnectionLimits {
            head: HeadLimits::of(&settings.limits),
            header_timeout: settings.limits.header_timeout,
            idle_timeout: settings.limits.idle_timeout,
            write_timeout: settings.limits.write_timeout,
        },
        shutdown_delay: settings.shutdown.delay,
        shutdown_grace: settings.shutdown_grace,
    };
    let surface = Surface::new(Arc::clone(&service.app), service.control.clone(), logging.access_log());
    let (first, second) = stop.signals();
    tokio::select! {
        () = async {
            let grace = server::serve(listener, surface, options, first).await;
            service.stop(grace.max(Duration::from_millis(100))).await;
        } => {}
        () = second => warn!("Received a second signal: exiting now"),
    }
    Ok(ExitCode::SUCCESS)
}

async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("cannot listen on {address}: {error}"))
}

/// Counts SIGTERM and SIGINT.
struct Stop {
    count: tokio::sync::watch::Sender<u8>,
    terminate: Option<(Signal, Signal)>,
}

impl Stop {
    fn new() -> Result<Self, CliError> {
        let signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { count: tokio::sync::watch::Sender::new(0), terminate: Some(signals) })
    }

    /// Two futures, which resolve at the first and at the second signal.
    fn signals(&mut self) -> (impl Future<Output = ()> + use<>, impl Future<Output = ()> + use<>) {
        if let Some((mut terminate, mut interrupt)) = self.terminate.take() {
            let count = self.count.clone();
            tokio::spawn(async move {
                loop {
                    tokio::select! {
                        _ = terminate.recv() => {}
                        _ = interrupt.recv() => {}
                    }
                    count.send_modify(|count| *count = count.saturating_add(1));
                }
            });
        }
        let received = |wanted: u8| {
            let mut count = self.count.subscribe();
            async move {
                let _ = count.wait_for(|count| *count >= wanted).await;
            }
        };
        (received(1), received(2))
    }
}
