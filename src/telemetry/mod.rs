//! What the process says about itself: log lines, one of them for each request, and metrics.

pub mod access_log;
pub mod log_sink;
pub mod logging;
pub mod metrics;
pub mod request_id;
