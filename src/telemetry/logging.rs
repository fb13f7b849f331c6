//! Log lines, to stderr.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, filter::ParseError};

use super::{access_log::AccessLog, log_sink::LogSink};
use crate::config::{LogFormat, Settings};

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The setting `log` is malformed.
    #[error("log is not a log filter: {0}")]
    Filter(#[from] ParseError),
    /// The thread that writes log lines cannot be started.
    #[error(transparent)]
    Thread(#[from] io::Error),
}

/// Logging. What was logged is written out at the latest when this is dropped.
pub(crate) struct Logging {
    sink: LogSink,
    format: LogFormat,
}

impl Logging {
    /// How access lines are written.
    pub(crate) fn access_log(&self) -> AccessLog {
        match self.format {
            LogFormat::Json => AccessLog::Json(self.sink.clone()),
            LogFormat::Pretty => AccessLog::General,
        }
    }
}

impl Logging {
    /// Writes out what was logged so far.
    pub(crate) fn flush(&self) {
        self.sink.flush();
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Starts logging as the settings say.
pub(crate) fn start(settings: &Settings) -> Result<Logging, LoggingError> {
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
pub(crate) fn format(settings: &Settings, sink: &impl IsTerminal) -> LogFormat {
    let by_terminal = || if sink.is_terminal() { LogFormat::Pretty } else { LogFormat::Json };
    settings.log_format.unwrap_or_else(by_terminal)
}

/// Which lines are written.
pub(crate) fn filter(settings: &Settings) -> Result<EnvFilter, LoggingError> {
    Ok(EnvFilter::try_new(&settings.log)?)
}
