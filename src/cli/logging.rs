//! Log lines, to stderr.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::Failure;
use crate::{
    config::{LogFormat, Settings},
    http::AccessLog,
    log_sink::LogSink,
};

/// Logging. What was logged is written out at the latest when this is dropped.
pub(super) struct Logging {
    sink: LogSink,
    format: LogFormat,
}

impl Logging {
    /// How access lines are written.
    pub(super) fn access_log(&self) -> AccessLog {
        match self.format {
            LogFormat::Json => AccessLog::Json(self.sink.clone()),
            LogFormat::Pretty => AccessLog::General,
        }
    }
}

impl Logging {
    /// Writes out what was logged so far.
    pub(super) fn flush(&self) {
        self.sink.flush();
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Starts logging as the settings say.
pub(super) fn start(settings: &Settings) -> Result<Logging, Failure> {
    let format = format(settings, &std::io::stderr());
    let filter = filter(settings)?;
    let sink = LogSink::start()?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(sink.clone());
    match format {
        LogFormat::Pretty => lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
    }
    Ok(Logging { sink, format })
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
