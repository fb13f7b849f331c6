//! Logs and metrics.

pub(crate) mod access_log;
pub(crate) mod log_sink;
pub(crate) mod logging;
pub(crate) mod metrics;
pub(crate) mod request_id;
