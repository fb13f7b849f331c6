//! Log lines, to stderr.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::Failure;
use crate::config::{LogFormat, Settings};

/// Starts logging as the settings say.
pub(super) fn start(settings: &Settings) -> Result<(), Failure> {
    let format = format(settings, &std::io::stderr());
    let filter = filter(settings)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Pretty => lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
    }
    Ok(())
}

/// The format that was asked for, or the one that suits what `sink` is connected to.
pub(super) fn format(settings: &Settings, sink: &impl IsTerminal) -> LogFormat {
    let by_terminal = || if sink.is_terminal() { LogFormat::Pretty } else { LogFormat::Json };
    settings.log_format.unwrap_or_else(by_terminal)
}

/// Which lines are written.
pub(super) fn filter(settings: &Settings) -> Result<EnvFilter, Failure> {
    EnvFilter::try_new(&settings.log).map_err(|error| format!("log is not a log filter: {error}").into())
}
