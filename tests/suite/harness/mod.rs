//! Starting the program, talking to it, and the databases it runs on.

mod app_server;
mod http;
mod postgres;
mod program;
mod proxy;
mod resource;
mod socket;
mod tls;
mod upstream;

use std::{future::Future, time::Duration};

use tokio::time::Instant;

pub(crate) use self::{
    app_server::{ADA, APP_SERVER_TOKEN, AppServer, BOB, close_message},
    http::{Answer, Client, form, token_request},
    postgres::Cluster,
    program::{Gatelet, MASTER_KEY, Program, program, run},
    proxy::Proxy,
    resource::{Resource, column, id, ids, keys, shows_every_item_once},
    socket::{BINARY, CLOSE, Came, PING, PONG, Socket, TEXT, frame, input},
    tls::TlsFront,
    upstream::{Held, Scripted, Seen, UPSTREAM_KEY, USER_AGENT, Upstream, head, raw},
};

/// The origin that most tests bind their tokens to.
pub(crate) const ORIGIN: &str = "https://app.example";

/// An agent id that is well formed and names nothing.
pub(crate) const NOBODY: &str = "agent-123e4567-e89b-42d3-8456-426614174000";

/// The database engine that a test runs on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// Runs a test on each engine.
macro_rules! on_both_engines {
    ($($(#[$attribute:meta])* async fn $name:ident($engine:ident: Engine) $body:block)+) => {$(
        mod $name {
            use super::*;

            $(#[$attribute])*
            async fn check($engine: $crate::harness::Engine) $body

            #[tokio::test(flavor = "multi_thread")]
            async fn on_sqlite() {
                check($crate::harness::Engine::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_postgres() {
                check($crate::harness::Engine::Postgres).await;
            }
        }
    )+};
}

pub(crate) use on_both_engines;

/// Waits until `condition` holds, asking again and again.
pub(crate) async fn eventually<F: Future<Output = bool>>(
    what: &str,
    within: Duration,
    mut condition: impl FnMut() -> F,
) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
