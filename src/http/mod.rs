//! The HTTP surface: one pipeline for every Letta path, and Gatelet's own health checks beside it.

mod backend;
mod cors;
mod health;
mod lifeline;
mod pipeline;

use axum::{Router, routing::get};

pub use backend::Backend;
pub use health::Readiness;
pub use pipeline::App;

/// The whole service. Letta paths are matched by the operation table, not here: a route that is not in the table cannot
/// be written.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .fallback(pipeline::handle)
        .with_state(app)
}
