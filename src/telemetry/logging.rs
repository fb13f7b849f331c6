//! Sets up logging to stderr.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, filter::ParseError};

use super::{access_log::AccessLog, log_sink::LogSink};
use crate::config::{LogFormat, Settings};

/// Why logging cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoggingError {
    /// The setting `log` is invalid.
    #[error("log is not a valid log filter: {0}")]
    Filter(#[from] ParseError),
    /// The thread that writes log lines cannot be started.
    #[error(transparent)]
    Thread(#[from] io::Error),
}

/// Logging, which is flushed when this is dropped.
pub(crate) struct Logging {
    sink: LogSink,
    format: LogFormat,
}

impl Logging {
    /// The access log.
    pub(crate) fn access_log(&self) -> AccessLog {
        match self.format {
            LogFormat::Json => AccessLog::Json(self.sink.clone()),
            LogFormat::Pretty => AccessLog::Tracing,
        }
    }

    /// Writes all lines that were logged so far.
    pub(crate) fn flush(&self) {
        self.sink.flush();
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Sets up logging according to the settings.
///
/// # Errors
/// When the filter is invalid, or the thread that writes cannot be started.
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

/// The format of the settings, or the default for what `sink` is connected to.
pub(crate) fn format(settings: &Settings, sink: &impl IsTerminal) -> LogFormat {
    let default = || if sink.is_terminal() { LogFormat::Pretty } else { LogFormat::Json };
    settings.log_format.unwrap_or_else(default)
}

/// The filter of the settings.
///
/// # Errors
/// When the filter is invalid.
pub(crate) fn filter(settings: &Settings) -> Result<EnvFilter, LoggingError> {
    Ok(EnvFilter::try_new(&settings.log)?)
}
