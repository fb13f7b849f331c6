//! `gatelet run`: a command, such as a test suite, with a mock of its own.
//!
//! The command is in a process group of its own, to which signals are passed on. If stdin is a terminal, it stays in this
//! program's group instead: only the terminal's foreground group may read from it, and the terminal sends the signals of
//! its keys to the whole group itself.

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
    os::unix::process::ExitStatusExt,
    process::{ExitCode, ExitStatus},
};

use clap::Args;
use figment::value::Value;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::json;
use tokio::{
    process::{Child, Command},
    signal::unix::{self, SignalKind, signal},
};

use super::{
    CliError, Common, Output, banner,
    launched::{Counting, Launched, Migrations},
    report::{FailOn, Report},
};
use crate::{
    config::{ConfigError, LogFormat, Secret, Settings},
    credentials::PlainApiKey,
    namespaces::Directory,
    telemetry::{logging, metrics::Totals},
};

/// The exit codes of shells for a command that does not exist, and for one that cannot be executed.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;
/// The exit code if the command passed, and what it did to the mock did not.
const VERDICT: u8 = 3;

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// A TOML file with replies of the mock's agents [env: GATELET_SCRIPT]
    #[arg(long, value_name = "FILE")]
    script: Option<String>,
    /// What the mock begins with: a seed in TOML or JSON, an agent file, or a folder of them [env: GATELET_SEED]
    #[arg(long, value_name = "PATH")]
    seed: Option<String>,
    /// Which log lines are written to stderr [env: GATELET_LOG] [default: warn]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// Exit with 3 if the command passes, but broke a rule of docs/verdicts.md: an error, or at least a warning; or if it
    /// left replies or faults unused. Several are separated by commas
    #[arg(long, value_name = "WHAT", value_enum, value_delimiter = ',')]
    fail_on: Vec<FailOn>,
    /// The command, with its arguments. It finds the server by LETTA_BASE_URL and LETTA_API_KEY
    #[arg(trailing_var_arg = true, required = true)]
    command: Vec<OsString>,
}

impl Arguments {
    fn settings(&self, common: &Common) -> Result<(Settings, Vec<String>), ConfigError> {
        let mut flags: Vec<(&'static str, Value)> =
            vec![("listen", "127.0.0.1:0".into()), ("ephemeral", true.into()), ("control.enabled", true.into())];
        flags.extend(self.script.as_deref().map(|file| ("mock.script", file.into())));
        flags.extend(self.seed.as_deref().map(|path| ("mock.seed", path.into())));
        flags.extend(self.log.as_deref().map(|filter| ("log", filter.into())));
        let (mut settings, warnings) = common.settings(&flags)?;
        let is_chosen = self.log.is_some() || std::env::var_os("GATELET_LOG").is_some_and(|filter| !filter.is_empty());
        if !is_chosen && settings.log == Settings::default().log {
            // Stderr is the command's.
            settings.log = "warn".into();
        }
        settings.log_format.get_or_insert(LogFormat::Pretty);
        Ok((settings, warnings))
    }
}

pub(super) async fn run(common: &Common, arguments: Arguments, output: &Output) -> Result<ExitCode, CliError> {
    let (settings, warnings) = arguments.settings(common)?;
    let logging = logging::start(&settings)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    // Registered before the command starts, so that no signal is missed.
    let mut signals = Signals::new()?;
    let mut launched = Launched::start(&settings, Migrations::Run, Counting::Always).await?;
    let metrics = launched.service.app.metrics.clone();
    let directory = launched.service.directory.clone();
    if let Some(directory) = &directory {
        directory.ledger().keep();
    }
    let url = banner::url(launched.addresses.service);
    let new_key = launched.new_key.take();
    let given = || settings.bootstrap_api_key.as_ref().map(Secret::reveal);
    let key = new_key.as_ref().map(PlainApiKey::reveal).or_else(given).unwrap_or_default();
    let group = if io::stdin().is_terminal() { Group::Shared } else { Group::Own };
    let mut child = match spawn(&arguments.command, group, &url, key) {
        Ok(child) => child,
        Err(error) => {
            let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
            let command = arguments.command[0].to_string_lossy();
            writeln!(io::stderr(), "gatelet: cannot run {command}: {error}")?;
            return Ok(ExitCode::from(code));
        }
    };
    // Nothing outlives the command: what is in memory is of no use to anybody afterwards.
    let status = tokio::select! {
        status = signals.pass_on_until_exit(&mut child, group) => status?,
        () = launched.serve(&logging, std::future::pending()) => return Err("the server stopped".into()),
    };
    logging.flush();
    let report = Report::of(directory.iter().flat_map(Directory::verdicts).collect());
    let totals = metrics.map(|metrics| metrics.totals()).unwrap_or_default();
    writeln!(io::stderr(), "{}", summary(&totals, &report, output))?;
    if status.success() && arguments.fail_on.iter().any(|fail_on| report.fails(*fail_on)) {
        return Ok(ExitCode::from(VERDICT));
    }
    Ok(exit_code(status))
}

/// Which process group the command is in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Group {
    /// One of its own.
    Own,
    /// This program's.
    Shared,
}

fn spawn(command: &[OsString], group: Group, url: &str, key: &str) -> io::Result<Child> {
    let mut child = Command::new(&command[0]);
    child.args(&command[1..]);
    child.envs([("LETTA_BASE_URL", url), ("LETTA_API_KEY", key), ("GATELET_URL", url), ("GATELET_KEY", key)]);
    if group == Group::Own {
        child.process_group(0);
    }
    child.spawn()
}

/// The signals that are meant for the command.
struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hang_up: unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the end of the command. It alone decides whether a signal is a reason to end.
    async fn pass_on_until_exit(&mut self, child: &mut Child, group: Group) -> io::Result<ExitStatus> {
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        loop {
            let signal = tokio::select! {
                status = child.wait() => return status,
                _ = self.terminate.recv() => Signal::TERM,
                _ = self.interrupt.recv() => Signal::INT,
                _ = self.hang_up.recv() => Signal::HUP,
            };
            let Some(pid) = pid else { continue };
            // A group that has just ended needs no signal.
            let _ = match (group, signal) {
                (Group::Own, _) => kill_process_group(pid, signal),
                // The terminal has sent the others to the command as well.
                (Group::Shared, Signal::TERM) => kill_process(pid, signal),
                (Group::Shared, _) => Ok(()),
            };
        }
    }
}

/// The command's exit code, or what a shell makes of the signal that killed it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// What the command asked for, in one line, and what was wrong with it.
fn summary(totals: &Totals, report: &Report, output: &Output) -> String {
    let requests: u64 = totals.classes.iter().sum();
    let classes = (1..).zip(totals.classes).filter(|(_, count)| *count > 0);
    let refused = totals.refused.iter();
    if output.json {
        let statuses: serde_json::Map<_, _> =
            classes.map(|(class, count)| (format!("{class}xx"), count.into())).collect();
        let refused: serde_json::Map<_, _> =
            refused.map(|(code, count)| ((*code).to_owned(), (*count).into())).collect();
        let mut summary = json!({"event": "summary", "requests": requests, "statuses": statuses, "refused": refused});
        report.add_to(&mut summary);
        return summary.to_string();
    }
    if requests == 0 {
        return "gatelet: no requests; the command has to use LETTA_BASE_URL and LETTA_API_KEY".into();
    }
    let statuses: Vec<String> = classes.map(|(class, count)| format!("{count} with {class}xx")).collect();
    let refused: Vec<String> = refused.map(|(code, count)| format!("{count} {code}")).collect();
    let refused = if refused.is_empty() { String::new() } else { format!("; refused: {}", refused.join(", ")) };
    let plural = if requests == 1 { "" } else { "s" };
    format!("gatelet: {requests} request{plural}: {}{refused}{}", statuses.join(", "), report.text())
}
