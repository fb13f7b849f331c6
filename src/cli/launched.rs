//! A server in this process, for `serve` and `run`.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use prometheus_client::collector::Collector;
use tokio::{net::TcpListener, task::JoinSet};

use super::{CliError, banner::Addresses, seed};
use crate::{
    clock::Clock,
    config::{Secret, Settings},
    credentials::PlainApiKey,
    http::{HeadLimits, Surface},
    seed::Applied,
    server::{self, ServerOptions, connection::ConnectionLimits},
    service::{self, Service},
    store::IfMissing,
    telemetry::{
        logging::Logging,
        metrics::{self, Exposition, Metrics},
    },
};

/// What to do about pending migrations.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Migrations {
    /// Run them.
    Run,
    /// Refuse to start.
    Check,
}

/// Whether there are metrics.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Counting {
    /// If they are served.
    IfServed,
    /// Yes.
    Always,
}

/// A server that is ready: connections queue until it serves.
pub(super) struct Launched {
    /// Where it listens.
    pub(super) addresses: Addresses,
    /// The first API key, if the start made it.
    pub(super) new_key: Option<PlainApiKey>,
    pub(super) service: Service,
    /// What its seed created.
    pub(super) seeded: Option<Applied>,
    listener: TcpListener,
    metrics_listener: Option<TcpListener>,
    options: ServerOptions,
}

impl Launched {
    pub(super) async fn start(
        settings: &Settings,
        migrations: Migrations,
        counting: Counting,
    ) -> Result<Self, CliError> {
        service::control_is_on(settings)?;
        let mut settings = settings.clone();
        let seed = seed::load(&mut settings)?;
        let settings = &settings;
        let listener = bind(settings.listen).await?;
        let metrics_listener = match settings.metrics_listen {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let store = service::open_store(settings, IfMissing::Create).await?;
        match migrations {
            Migrations::Run => store.migrate().await?,
            Migrations::Check => store.check_migrated().await?,
        }
        let new_key = service::bootstrap(settings, &store).await?;
        let is_counting = counting == Counting::Always || metrics_listener.is_some();
        let service = Service::start(settings, store, Clock::system(), is_counting.then(Metrics::new)).await?;
        let seeded = match seed {
            Some(seed) => {
                let given = settings.bootstrap_api_key.as_ref().map(Secret::reveal);
                let key = new_key.as_ref().map(PlainApiKey::reveal).or(given);
                Some(seed::apply(seed, &service, key.unwrap_or_default()).await?)
            }
            None => None,
        };
        let addresses = Addresses {
            service: listener.local_addr()?,
            metrics: metrics_listener.as_ref().map(TcpListener::local_addr).transpose()?,
        };
        let options = ServerOptions {
            limits: ConnectionLimits {
                head: HeadLimits::of(&settings.limits),
                header_timeout: settings.limits.header_timeout,
                idle_timeout: settings.limits.idle_timeout,
                write_timeout: settings.limits.write_timeout,
            },
            shutdown_delay: settings.shutdown.delay,
            shutdown_grace: settings.shutdown_grace,
        };
        Ok(Self { addresses, new_key, service, seeded, listener, metrics_listener, options })
    }

    /// Serves until `stop` resolves, then stops gracefully.
    pub(super) async fn serve(self, logging: &Logging, stop: impl Future<Output = ()>) {
        let Self { service, listener, metrics_listener, options, .. } = self;
        let mut metrics = JoinSet::new();
        if let (Some(listener), Some(counted)) = (metrics_listener, service.app.metrics.clone()) {
            let sockets = service.app.sockets.iter().map(|servers| Box::new(servers.counters()) as Box<dyn Collector>);
            let exposition = Exposition::new(counted, service.app.feed.clone(), sockets.collect());
            metrics.spawn(metrics::listener::serve(listener, exposition));
        }
        let surface = Surface::new(Arc::clone(&service.app), service.control.clone(), logging.access_log());
        let grace = server::serve(listener, surface, options, stop).await;
        service.stop(grace.max(Duration::from_millis(100))).await;
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("cannot listen on {address}: {error}"))
}
