//! Logs and metrics.

pub mod access_log;
pub mod log_sink;
pub mod logging;
pub mod metrics;
pub mod request_id;
