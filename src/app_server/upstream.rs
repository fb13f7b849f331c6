//! One App Server: opening sockets to it, and whether it is there.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header, uri::Authority};
use http_body_util::Empty;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::{
    client::legacy::connect::HttpConnector,
    rt::{TokioExecutor, TokioIo},
};
use tokio::time::Instant;
use tokio_tungstenite::{
    client_async_with_config,
    tungstenite::{self, handshake::client::generate_key},
};
use tower::ServiceExt;

use super::{
    bearer::Bearer,
    connection::{Connection, MAX_MESSAGE, ServerSocket, socket_config},
    io::Metered,
    options::{AppServerError, Options},
    resident::{self, Resident},
};
use crate::{access::Permit, tls};

/// How long a health check may take.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the result of a health check is reused.
const HEALTH_LIFETIME: Duration = Duration::from_secs(1);

/// How an App Server is reached.
#[derive(Debug)]
pub(super) enum Upstream {
    /// Over the network.
    Remote(Remote),
    /// Within the process.
    Resident(Arc<dyn Resident>),
}

impl Upstream {
    /// Opens a socket for the holder of a permit.
    ///
    /// # Errors
    /// When the server cannot be reached, or refuses.
    pub(super) async fn open(&self, permit: &Permit) -> Result<ServerSocket, ConnectError> {
        match self {
            Self::Remote(remote) => remote.open().await,
            Self::Resident(resident) => Ok(resident::open(&**resident, permit).await),
        }
    }
}

/// How an App Server is reached over the network.
pub(super) struct Remote {
    connector: HttpsConnector<HttpConnector>,
    is_tls: bool,
    authority: Authority,
    path: String,
    bearer: Bearer,
    connect_timeout: Duration,
    /// When it was last asked for its health, and whether it was there.
    health: Mutex<Option<(Instant, bool)>>,
}

/// Why there is no socket to an App Server.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// It took too long.
    #[error("connecting took too long")]
    TimedOut,
    /// The server refuses the gate's credential.
    #[error("the App Server refuses Gatelet's own credential")]
    CredentialRefused,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({})", self.authority)
    }
}

impl Remote {
    pub(super) fn new(options: &mut Options, connect_timeout: Duration) -> Result<Self, AppServerError> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(connect_timeout));
        let tls = tls::client_config(options.ca_file.as_deref()).map_err(|problem| options.error(problem))?;
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(connector);
        Ok(Self {
            connector,
            is_tls: options.is_tls,
            authority: options.authority.clone(),
            path: options.path.clone(),
            bearer: std::mem::replace(&mut options.bearer, Bearer::None),
            connect_timeout,
            health: Mutex::default(),
        })
    }

    /// Opens a socket. The request is built from the settings alone.
    ///
    /// # Errors
    /// When the server cannot be reached, or refuses.
    pub(super) async fn open(&self) -> Result<ServerSocket, ConnectError> {
        let opened = tokio::time::timeout(self.connect_timeout, self.connect()).await;
        opened.unwrap_or(Err(ConnectError::TimedOut))
    }

    async fn connect(&self) -> Result<ServerSocket, ConnectError> {
        let failed = |error: &dyn fmt::Display| ConnectError::Failed(error.to_string());
        let stream = self
            .connector
            .clone()
            .oneshot(self.url("/").map_err(|error| failed(&error))?)
            .await
            .map_err(|error| failed(&error))?;
        let mut request = Request::builder()
            .uri(format!("ws://{}{}", self.authority, self.path))
            .header(header::HOST, self.authority.as_str())
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, generate_key())
            .body(())
            .map_err(|error| failed(&error))?;
        if let Some(value) = self.authorization()? {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let config = socket_config(MAX_MESSAGE);
        match client_async_with_config(request, Metered::new(Connection::Remote(TokioIo::new(stream))), Some(config))
            .await
        {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::Error::Http(response)) if response.status() == StatusCode::UNAUTHORIZED => {
                Err(ConnectError::CredentialRefused)
            }
            Err(tungstenite::Error::Http(response)) => {
                Err(ConnectError::Failed(format!("the App Server responded with {}", response.status())))
            }
            Err(error) => Err(failed(&error)),
        }
    }

    fn authorization(&self) -> Result<Option<HeaderValue>, ConnectError> {
        self.bearer.authorization().map_err(|problem| ConnectError::Failed(format!("the bearer {problem}")))
    }

    fn url(&self, path: &str) -> Result<Uri, http::Error> {
        let scheme = if self.is_tls { "https" } else { "http" };
        Uri::builder().scheme(scheme).authority(self.authority.clone()).path_and_query(path).build()
    }

    /// Whether its `/readyz` responds with success.
    pub(super) async fn is_reachable(&self) -> bool {
        if let Some((at, is_there)) = *self.health.lock().unwrap_or_else(PoisonError::into_inner)
            && at.elapsed() < HEALTH_LIFETIME
        {
            return is_there;
        }
        let is_there = tokio::time::timeout(HEALTH_TIMEOUT, self.check_health()).await.unwrap_or(false);
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), is_there));
        is_there
    }

    async fn check_health(&self) -> bool {
        let Ok(url) = self.url("/readyz") else { return false };
        // A client of its own for each check: none of its connections is kept.
        let client: Client<_, Empty<Bytes>> =
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(self.connector.clone());
        client.get(url).await.is_ok_and(|response| response.status().is_success())
    }
}
