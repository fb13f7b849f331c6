//! `gatelet serve`.

use std::{future::Future, io, process::ExitCode, thread};

use clap::Args;
use figment::value::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;

use super::{
    CliError, Common, banner,
    launched::{Counting, Launched, Migrations},
};
use crate::{
    config::{LogFormat, OriginMissing},
    telemetry::logging,
};

#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
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
    /// Stop as after SIGTERM once stdin ends, and so with the program that holds its other end
    #[arg(long)]
    until_stdin_closes: bool,
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
    let (settings, warnings) = common.settings(&arguments.flags())?;
    let logging = logging::start(&settings)?;
    for warning in warnings {
        warn!("{warning}");
    }
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
    if arguments.until_stdin_closes {
        stop.when_stdin_closes()?;
    }
    let migrations = if arguments.no_migrate { Migrations::Check } else { Migrations::Run };
    let mut launched = Launched::start(&settings, migrations, Counting::IfServed).await?;
    let new_key = launched.new_key.take();
    let has_keys = launched.service.app.store.has_api_keys().await?;
    let format = logging::format(&settings, &std::io::stdout());
    // A program that waits for the banner can rely on earlier lines being in the log.
    logging.flush();
    banner::print(
        format,
        launched.addresses,
        &launched.service.app,
        new_key.as_ref(),
        has_keys,
        launched.seeded.as_ref(),
        launched.service.control.is_some(),
    )?;
    drop(new_key);
    let (first, second) = stop.signals();
    tokio::select! {
        () = launched.serve(&logging, first) => {}
        () = second => warn!("Received a second signal: exiting now"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Counts what asks the server to stop: SIGTERM, SIGINT, the end of stdin.
struct Stop {
    count: tokio::sync::watch::Sender<u8>,
    terminate: Option<(Signal, Signal)>,
}

impl Stop {
    fn new() -> Result<Self, CliError> {
        let signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { count: tokio::sync::watch::Sender::new(0), terminate: Some(signals) })
    }

    /// Counts the end of stdin as well.
    fn when_stdin_closes(&self) -> Result<(), CliError> {
        let count = self.count.clone();
        // Not a task: a read of stdin cannot be cancelled, and the end of the program would wait for it.
        thread::Builder::new().name("stdin".into()).spawn(move || {
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            count.send_modify(|count| *count = count.saturating_add(1));
        })?;
        Ok(())
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
