//! One upstream: its connections, its credential, its time limits.

use std::{
    fmt,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header, uri::PathAndQuery};
use http_body_util::{BodyExt, Limited};
use hyper_rustls::{HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use serde_json::Value;
use tokio::{net::TcpStream, task::AbortHandle};
use tower::{ServiceExt, util::BoxCloneSyncService};

use super::{
    connections::{Connections, IDLE_TIMEOUT, Timeouts},
    error::{failed, interrupted, timed_out, unreachable},
    field_extractor::FieldExtractor,
    headers,
    http1::ResponseError,
    options::{UpstreamError, UpstreamOptions},
    response,
    upstream_request::UpstreamRequest,
};
use crate::{
    config::Secret,
    error::ApiError,
    request::{
        body::{Body, BodyError},
        waits,
    },
    tls,
};

/// How long one look-up may take. A client's request waits for it.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a health check may take.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the result of a health check is reused.
const HEALTH_LIFETIME: Duration = Duration::from_secs(1);

const URL_RULE: &str =
    "must be http:// or https:// with a host and nothing after it, such as https://letta.internal:8283";
const KEY_RULE: &str = "must be visible ASCII text";

/// The largest response to a look-up, in bytes. Little of it is kept. A hundred agents, each as large as client tokens can
/// make it, take a third of this.
const MAX_LOOK_UP_BYTES: usize = 64 * 1024 * 1024;

/// The result of a look-up.
#[derive(Debug)]
pub(super) enum LookupResult {
    /// The fields that [`FieldExtractor`] keeps.
    Found(Value),
    /// The upstream responded with 404.
    NotFound,
    /// The upstream refused the request, which proves nothing.
    Refused,
}

/// One Letta server. Cheap to clone.
#[derive(Clone)]
pub(super) struct Upstream(Arc<UpstreamState>);

struct UpstreamState {
    transport: Transport,
    scheme: http::uri::Scheme,
    authority: http::uri::Authority,
    credential: Option<HeaderValue>,
    timeouts: Timeouts,
    /// The latest health check.
    health_check: Mutex<Option<HealthCheck>>,
}

/// A health check, which may still be running.
struct HealthCheck {
    started: Instant,
    task: AbortHandle,
    is_healthy: Shared<BoxFuture<'static, bool>>,
}

type TlsConnector = BoxCloneSyncService<Uri, MaybeHttpsStream<TokioIo<TcpStream>>, BodyError>;

/// How the upstream is reached.
enum Transport {
    /// HTTP/1.1 without TLS.
    Plain(Connections),
    /// TLS, with HTTP/2 or HTTP/1.1, whichever the upstream selects (RFC 7301).
    Tls(Box<Client<TlsConnector, Body>>),
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({}://{})", self.0.scheme, self.0.authority)
    }
}

impl Upstream {
    pub(super) fn new(options: &UpstreamOptions) -> Result<Self, UpstreamError> {
        let (scheme, authority) = parse_base_url(&options.url).ok_or_else(|| options.error("url", URL_RULE))?;
        let bearer = |key: &Secret| bearer_header(key.reveal()).ok_or_else(|| options.error("api_key", KEY_RULE));
        let credential = options.api_key.as_ref().map(bearer).transpose()?;
        let timeouts = Timeouts { first_byte: options.first_byte_timeout, idle: options.idle_timeout };
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(options.connect_timeout));
        let transport = if scheme == http::uri::Scheme::HTTPS {
            let connector = HttpsConnectorBuilder::new()
                .with_tls_config(tls::client_config(options.ca_file.as_deref()).map_err(UpstreamError)?)
                .https_only()
                .enable_all_versions()
                .wrap_connector(connector);
            let timeout = options.connect_timeout;
            // The TCP connector's timeout does not include the TLS handshake.
            let connector = connector.map_future(move |connecting| async move {
                let connected = tokio::time::timeout(timeout, connecting).await;
                connected.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
            });
            // The client retries requests that were not sent because a pooled connection had been closed.
            let client = Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_TIMEOUT)
                .build(BoxCloneSyncService::new(connector));
            Transport::Tls(Box::new(client))
        } else {
            let connections = Connections::new(connector, &authority, credential.as_ref(), timeouts);
            Transport::Plain(connections.map_err(|_| options.error("url", URL_RULE))?)
        };
        Ok(Self(Arc::new(UpstreamState {
            transport,
            scheme,
            authority,
            credential,
            timeouts,
            health_check: Mutex::default(),
        })))
    }

    /// Sends a request. The response has only headers that clients may receive; dropping its body cancels it.
    ///
    /// # Errors
    /// 502 when the upstream cannot be reached or refuses the gateway's credential; 504 when it does not respond in time.
    pub(super) async fn send(&self, request: UpstreamRequest) -> Result<Response<Body>, ApiError> {
        // The target is written into the request line, so whatever built it, it must not contain a line end or a space.
        if !request.target.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ApiError::internal("an invalid request target was built"));
        }
        let mut response = self.exchange(request).await?;
        self.hide_address(response.headers_mut());
        if matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return response::check_refusal(response).await;
        }
        Ok(response)
    }

    /// Reduces a `Location` at the upstream to its path, which leads to Gatelet and does not reveal the upstream.
    fn hide_address(&self, headers: &mut HeaderMap) {
        let Some(location) = headers.get_mut(header::LOCATION) else { return };
        let target = location.to_str().ok().and_then(|text| text.parse::<Uri>().ok());
        if let Some(target) = target.filter(|target| target.authority() == Some(&self.0.authority))
            && let Some(path) = target.path_and_query()
            && let Ok(path) = HeaderValue::from_str(path.as_str())
        {
            *location = path;
        }
    }

    /// Fetches JSON with the gateway's own credential. No user agent is sent: Letta then responds as to a current client,
    /// which receives an agent's blocks, tools and secrets only on request.
    ///
    /// # Errors
    /// Those of [`Upstream::send`], and 502 when the response makes no sense.
    pub(super) async fn look_up(&self, target: &str) -> Result<LookupResult, ApiError> {
        let result = async {
            let response = self.send(UpstreamRequest::get(target)).await?;
            match response.status().as_u16() {
                200 => {}
                404 => return Ok(LookupResult::NotFound),
                400 | 410 | 422 => return Ok(LookupResult::Refused),
                status => return Err(failed(format!("a look-up received status {status}"))),
            }
            let mut body = Limited::new(response.into_body(), MAX_LOOK_UP_BYTES);
            let mut extractor = FieldExtractor::new();
            while let Some(frame) = body.frame().await {
                if let Some(bytes) = frame.map_err(interrupted)?.data_ref() {
                    extractor.read(bytes).map_err(failed)?;
                }
            }
            extractor.finish().map(LookupResult::Found).map_err(failed)
        };
        waits::wait(pin!(tokio::time::timeout(LOOK_UP_TIMEOUT, result))).await.map_err(|_| timed_out())?
    }

    /// Whether the upstream passes its health check. Callers share the result of a running or recent check, and a check
    /// runs to its end even if they leave. So many calls cause at most one request a second.
    pub(super) async fn is_reachable(&self) -> bool {
        let is_healthy = {
            let mut latest = self.0.health_check.lock().unwrap_or_else(PoisonError::into_inner);
            match &*latest {
                Some(check) if check.started.elapsed() < HEALTH_LIFETIME || !check.task.is_finished() => {
                    check.is_healthy.clone()
                }
                _ => {
                    let upstream = self.clone();
                    let task = tokio::spawn(async move { upstream.check_health().await });
                    let handle = task.abort_handle();
                    let is_healthy = task.map(|result| result.unwrap_or(false)).boxed().shared();
                    let started = Instant::now();
                    *latest = Some(HealthCheck { started, task: handle, is_healthy: is_healthy.clone() });
                    is_healthy
                }
            }
        };
        is_healthy.await
    }

    async fn check_health(&self) -> bool {
        let result = tokio::time::timeout(HEALTH_TIMEOUT, self.exchange(UpstreamRequest::get("/v1/health/"))).await;
        matches!(result, Ok(Ok(response)) if response.status().is_success())
    }

    /// Sends a request and waits for the head of its response.
    async fn exchange(&self, request: UpstreamRequest) -> Result<Response<Body>, ApiError> {
        match &self.0.transport {
            Transport::Plain(connections) => connections.send(request).await.map_err(|error| match error {
                ResponseError::TimedOut => timed_out(),
                error => unreachable(error.into()),
            }),
            Transport::Tls(client) => {
                let Timeouts { first_byte, idle } = self.0.timeouts;
                let response = tokio::time::timeout(first_byte, client.request(self.to_http(request)?)).await;
                let mut response = response.map_err(|_| timed_out())?.map_err(|error| unreachable(error.into()))?;
                headers::clean(response.headers_mut());
                Ok(response.map(|body| Body::paced(body, idle)))
            }
        }
    }

    /// A request for the library's client. The credential is set last, and replaces any other.
    fn to_http(&self, upstream: UpstreamRequest) -> Result<Request<Body>, ApiError> {
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(self.0.scheme.clone());
        uri.authority = Some(self.0.authority.clone());
        uri.path_and_query = Some(PathAndQuery::from_maybe_shared(upstream.target).map_err(ApiError::internal)?);
        let mut request = Request::new(upstream.body);
        *request.method_mut() = upstream.method;
        *request.uri_mut() = Uri::from_parts(uri).map_err(ApiError::internal)?;
        for (name, value) in upstream.headers.iter() {
            request.headers_mut().append(name, value.clone());
        }
        match &self.0.credential {
            Some(credential) => drop(request.headers_mut().insert(header::AUTHORIZATION, credential.clone())),
            None => drop(request.headers_mut().remove(header::AUTHORIZATION)),
        }
        Ok(request)
    }
}

fn parse_base_url(url: &str) -> Option<(http::uri::Scheme, http::uri::Authority)> {
    // The parser drops a fragment, and ignores a malformed port.
    let uri: Uri = Some(url.trim_end_matches('/')).filter(|url| !url.contains('#'))?.parse().ok()?;
    let parts = uri.into_parts();
    let is_base = parts.path_and_query.is_none_or(|path| path.as_str() == "/");
    let scheme = parts.scheme.filter(|scheme| matches!(scheme.as_str(), "http" | "https"))?;
    let authority = parts.authority.filter(|authority| !authority.as_str().contains('@'))?;
    let is_port_valid = authority.port().is_some() || authority.as_str() == authority.host();
    (is_base && is_port_valid).then_some((scheme, authority))
}

fn bearer_header(key: &str) -> Option<HeaderValue> {
    let key = key.trim();
    let is_visible = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
    let mut value = HeaderValue::try_from(format!("Bearer {key}")).ok().filter(|_| is_visible)?;
    value.set_sensitive(true);
    Some(value)
}
