//! The command line. Results go to stdout, and errors to stderr as one sentence.

mod banner;
mod config;
mod explain;
mod health;
mod keys;
mod launched;
mod operations;
mod report;
mod run;
mod seed;
mod serve;
mod signing_keys;
mod tokens;

use std::{io::Write, path::PathBuf, process::ExitCode, sync::Arc};

use clap::{Args, Parser, Subcommand};
use figment::value::Value;

use crate::{
    clock::Clock,
    config::{ConfigError, Layers, Settings, load},
    credentials::{Keyring, MasterKey, PlainApiKey},
    service,
    store::{IfMissing, Store},
};

/// Self-hosted client-side access tokens for the Letta agents API.
#[derive(Debug, Parser)]
#[command(name = "gatelet", version, about, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// The arguments of every command.
#[derive(Args, Debug)]
struct Common {
    /// A TOML file with settings [env: GATELET_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// sqlite://FILE or postgres://... [env: GATELET_DATABASE_URL] [default: sqlite://gatelet.db]
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::Arguments),
    /// Run a command, such as a test suite, with a mock of its own, and exit with the command's code
    Run(run::Arguments),
    /// Create, list and revoke API keys
    #[command(subcommand)]
    Keys(keys::Command),
    /// Create, list, revoke and inspect client tokens
    #[command(subcommand)]
    Tokens(tokens::Command),
    /// List and rotate the keys that sign client tokens
    #[command(subcommand)]
    SigningKeys(signing_keys::Command),
    /// Print a new master key
    Keygen {
        /// Print an API key for a namespace of the mock instead
        #[arg(long)]
        test_key: bool,
    },
    /// Bring the database schema up to date
    Migrate,
    /// Print the permission table: every operation and what it requires of a client token
    Operations(operations::Arguments),
    /// Say what would be decided about a request, and why; exit 1 when it would be refused
    Explain(explain::Arguments),
    /// Check a configuration file, or print an example of one
    #[command(subcommand)]
    Config(config::Command),
    /// Exit with 0 if a running server is ready
    Health(health::Arguments),
}

/// An error, in one sentence.
type CliError = Box<dyn std::error::Error + Send + Sync>;

/// How results are printed.
struct Output {
    json: bool,
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Clap returns help and the version as errors as well.
        Err(output) if !output.use_stderr() => output.exit(),
        Err(error) => return usage_error(&error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

fn fail(error: &CliError) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "gatelet: {}", error.to_string().replace('\n', " "));
    ExitCode::FAILURE
}

/// Prints the first paragraph of clap's message, which says what is wrong, on one line.
fn usage_error(error: &clap::Error) -> ExitCode {
    let text = error.to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    let sentence = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let _ = writeln!(std::io::stderr(), "gatelet: {sentence}; see gatelet --help");
    ExitCode::from(2)
}

async fn run(cli: Cli) -> Result<ExitCode, CliError> {
    let output = Output { json: cli.common.json };
    match cli.command {
        Command::Serve(arguments) => serve::run(&cli.common, arguments).await,
        Command::Run(arguments) => run::run(&cli.common, arguments, &output).await,
        Command::Keys(command) => keys::run(&cli.common, command, &output).await,
        Command::Tokens(command) => tokens::run(&cli.common, command, &output).await,
        Command::SigningKeys(command) => signing_keys::run(&cli.common, command, &output).await,
        Command::Keygen { test_key: true } => {
            let key = PlainApiKey::generate_test();
            output.print(key.reveal(), || serde_json::json!({"api_key": key.reveal()}))
        }
        Command::Keygen { test_key: false } => {
            let key = MasterKey::generate().reveal();
            output.print(&key, || serde_json::json!({"master_key": *key}))
        }
        Command::Migrate => {
            let (settings, _) = cli.common.settings(&[])?;
            let store = service::open_store(&settings, IfMissing::Create).await?;
            store.migrate().await?;
            output.print(&format!("{store} is up to date"), || serde_json::json!({"store": store.to_string()}))
        }
        Command::Operations(arguments) => operations::run(&arguments, &output),
        Command::Explain(arguments) => explain::run(&cli.common, arguments, &output).await,
        Command::Config(command) => config::run(&cli.common, &command, &output),
        Command::Health(arguments) => health::run(&cli.common, arguments, &output).await,
    }
}

impl Common {
    /// The settings from all layers, and warnings about them.
    fn settings(&self, flags: &[(&'static str, Value)]) -> Result<(Settings, Vec<String>), ConfigError> {
        let mut flags = flags.to_vec();
        if let Some(url) = &self.database_url {
            flags.push(("database_url", url.clone().into()));
        }
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        load(&Layers { file: self.config.clone(), environment, flags })
    }

    /// Opens the store for a command that may be the first to use it, and migrates it.
    async fn store(&self) -> Result<(Settings, Store), CliError> {
        let (settings, store) = self.open(IfMissing::Create).await?;
        store.migrate().await?;
        Ok((settings, store))
    }

    /// Opens the store for a command that reads or revokes what it contains, and migrates it. Refuses a database that
    /// Gatelet has not set up, because its name must be a mistake.
    async fn existing_store(&self) -> Result<(Settings, Store), CliError> {
        let (settings, store) = self.open(IfMissing::Refuse).await?;
        if !store.is_installed().await? {
            return Err(format!("{store} is not a database of Gatelet; name the right one with --database-url").into());
        }
        store.migrate().await?;
        Ok((settings, store))
    }

    /// Opens the store as [`Self::existing_store`] does, and loads its signing keys.
    async fn existing_keyring(&self) -> Result<(Settings, Store, Arc<Keyring>), CliError> {
        let (settings, store) = self.existing_store().await?;
        if store.issuer().await?.is_none() {
            return Err(format!("{store} has no signing key yet, so it has no client tokens").into());
        }
        let keyring = service::load_keyring(&settings, &store, Clock::system()).await?;
        Ok((settings, store, keyring))
    }

    async fn open(&self, if_missing: IfMissing) -> Result<(Settings, Store), CliError> {
        let (settings, _) = self.settings(&[])?;
        if settings.ephemeral {
            return Err("an ephemeral store exists only within its server; use the server's API".into());
        }
        let store = service::open_store(&settings, if_missing).await?;
        Ok((settings, store))
    }
}

impl Output {
    /// Prints a result as text, or as one line of JSON.
    fn print(&self, text: &str, json: impl FnOnce() -> serde_json::Value) -> Result<ExitCode, CliError> {
        let mut stdout = std::io::stdout().lock();
        if self.json {
            writeln!(stdout, "{}", json())?;
        } else {
            writeln!(stdout, "{text}")?;
        }
        stdout.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The error for something that was revoked before.
fn already(at: crate::clock::Millis) -> String {
    format!("that was done before, at {}", crate::clock::format_millis(at))
}

/// The instant that is `--expires-in` from now.
fn expiry(expires_in: Option<std::time::Duration>) -> Result<Option<crate::clock::Millis>, CliError> {
    let Some(expires_in) = expires_in else { return Ok(None) };
    let millis = crate::clock::Millis::try_from(expires_in.as_millis()).ok().filter(|millis| *millis > 0);
    let instant = millis.and_then(|millis| crate::clock::now_millis().checked_add(millis));
    let in_range = instant.filter(|instant| chrono::DateTime::from_timestamp_millis(*instant).is_some());
    in_range.map(Some).ok_or_else(|| "--expires-in must be a positive duration, such as 24h or 90d".into())
}

/// Formats a table with aligned columns, two spaces apart.
fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let lines = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(line(header.to_vec())).chain(lines).collect::<Vec<_>>().join("\n")
}
