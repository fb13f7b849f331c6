//! One upstream: its connections, its credential, its time limits.

use std::{
    fmt,
    path::Path,
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
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde_json::Value;
use tokio::{net::TcpStream, task::AbortHandle};
use tower::{ServiceExt, util::BoxCloneSyncService};

use super::{
    connections::{Connections, LONGEST_IDLE, Timeouts},
    digest::Digest,
    error::{broken, failed, timed_out, unreachable},
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
};

/// How long the health check and look-ups may take: they stand before somebody's request.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(10);
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the outcome of a health check counts.
const PROBE_LIFETIME: Duration = Duration::from_secs(1);

const URL_RULE: &str =
    "must be http:// or https:// with a host and nothing after it, such as https://letta.internal:8283";
const KEY_RULE: &str = "must be visible ASCII text";

/// The largest answer to a look-up, of which little is kept: a hundred agents, each as large as client tokens can make it,
/// take a third of this.
const LOOK_UP_BYTES: usize = 64 * 1024 * 1024;

/// What a look-up found.
#[derive(Debug)]
pub(super) enum LookupResult {
    /// The thing itself: what [`Digest`] keeps of it.
    Thing(Value),
    /// 404: there is no such thing.
    Nothing,
    /// The upstream refuses the question, which proves nothing.
    Refusal,
}

/// One Letta server. Cheap to clone.
#[derive(Clone)]
pub(super) struct Upstream(Arc<UpstreamState>);

struct UpstreamState {
    transport: Transport,
    scheme: http::uri::Scheme,
    authority: http::uri::Authority,
    credential: Option<HeaderValue>,
    patience: Timeouts,
    /// The health check that was begun last.
    probe: Mutex<Option<Probe>>,
}

/// A health check, which may be under way.
struct Probe {
    begun: Instant,
    task: AbortHandle,
    outcome: Shared<BoxFuture<'static, bool>>,
}

type TlsConnector = BoxCloneSyncService<Uri, MaybeHttpsStream<TokioIo<TcpStream>>, BodyError>;

/// How the upstream is reached.
enum Transport {
    /// Over TCP alone, with HTTP/1.1.
    Plain(Connections),
    /// Over TLS, with HTTP/2 or HTTP/1.1 as the upstream chooses (RFC 7301).
    Tls(Box<Client<TlsConnector, Body>>),
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({}://{})", self.0.scheme, self.0.authority)
    }
}

impl Upstream {
    pub(super) fn new(options: &UpstreamOptions) -> Result<Self, UpstreamError> {
        let (scheme, authority) = parse(&options.url).ok_or_else(|| options.error("url", URL_RULE))?;
        let bearer = |key: &Secret| bearer(key.reveal()).ok_or_else(|| options.error("api_key", KEY_RULE));
        let credential = options.api_key.as_ref().map(bearer).transpose()?;
        let patience = Timeouts { first_byte: options.first_byte_timeout, idle: options.idle_timeout };
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(options.connect_timeout));
        let transport = if scheme == http::uri::Scheme::HTTPS {
            let connector = HttpsConnectorBuilder::new()
                .with_tls_config(tls(options.ca_file.as_deref())?)
                .https_only()
                .enable_all_versions()
                .wrap_connector(connector);
            let timeout = options.connect_timeout;
            // The limit of the TCP connector leaves out the handshake.
            let connector = connector.map_future(move |connecting| async move {
                let connected = tokio::time::timeout(timeout, connecting).await;
                connected.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
            });
            // Requests that were never sent, because a pooled connection had been closed, are sent again by the client.
            let client = Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(LONGEST_IDLE)
                .build(BoxCloneSyncService::new(connector));
            Transport::Tls(Box::new(client))
        } else {
            let connections = Connections::new(connector, &authority, credential.as_ref(), patience);
            Transport::Plain(connections.map_err(|_| options.error("url", URL_RULE))?)
        };
        Ok(Self(Arc::new(UpstreamState {
            transport,
            scheme,
            authority,
            credential,
            patience,
            probe: Mutex::default(),
        })))
    }

    /// Sends a request; dropping the answer's body closes it. The answer's headers are those that may be handed on.
    ///
    /// # Errors
    /// 502 when the upstream cannot be reached or refuses the gateway itself; 504 when it does not answer in time.
    pub(super) async fn send(&self, outgoing: UpstreamRequest) -> Result<Response<Body>, ApiError> {
        // Whatever went before: what is written out is one line.
        if !outgoing.target.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ApiError::internal("a request target was built that is none"));
        }
        let mut response = self.exchange(outgoing).await?;
        self.hide_address(response.headers_mut());
        if matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return response::check_refusal(response).await;
        }
        Ok(response)
    }

    /// Where the upstream names itself, a path is left: it leads to Gatelet again, and tells nobody where the upstream is.
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

    /// Fetches JSON with the gateway's own credential. No user agent is named: Letta takes that for a client of the present
    /// generation, which is shown no blocks, tools and secrets of an agent unless it asks for them.
    ///
    /// # Errors
    /// As [`Upstream::send`], and 502 when the answer makes no sense.
    pub(super) async fn look_up(&self, target: &str) -> Result<LookupResult, ApiError> {
        let answer = async {
            let response = self.send(UpstreamRequest::get(target)).await?;
            match response.status().as_u16() {
                200 => {}
                404 => return Ok(LookupResult::Nothing),
                400 | 410 | 422 => return Ok(LookupResult::Refusal),
                status => return Err(failed(format!("a look-up was answered with status {status}"))),
            }
            let mut body = Limited::new(response.into_body(), LOOK_UP_BYTES);
            let mut digest = Digest::new();
            while let Some(frame) = body.frame().await {
                if let Some(bytes) = frame.map_err(broken)?.data_ref() {
                    digest.read(bytes).map_err(failed)?;
                }
            }
            digest.finish().map(LookupResult::Thing).map_err(failed)
        };
        waits::wait(pin!(tokio::time::timeout(LOOK_UP_TIMEOUT, answer))).await.map_err(|_| timed_out())?
    }

    /// Whether the upstream answers its health check. Whoever asks while it is asked, or shortly after, shares the answer;
    /// and it is waited for whether or not they stay, so that nobody makes more than one request a second of many.
    pub(super) async fn is_reachable(&self) -> bool {
        let probe = {
            let mut latest = self.0.probe.lock().unwrap_or_else(PoisonError::into_inner);
            match &*latest {
                Some(probe) if probe.begun.elapsed() < PROBE_LIFETIME || !probe.task.is_finished() => {
                    probe.outcome.clone()
                }
                _ => {
                    let upstream = self.clone();
                    let task = tokio::spawn(async move { upstream.check_health().await });
                    let handle = task.abort_handle();
                    let outcome = task.map(|outcome| outcome.unwrap_or(false)).boxed().shared();
                    *latest = Some(Probe { begun: Instant::now(), task: handle, outcome: outcome.clone() });
                    outcome
                }
            }
        };
        probe.await
    }

    async fn check_health(&self) -> bool {
        let answer = tokio::time::timeout(HEALTH_TIMEOUT, self.exchange(UpstreamRequest::get("/v1/health/"))).await;
        matches!(answer, Ok(Ok(response)) if response.status().is_success())
    }

    /// Sends a request and waits for the head of its answer.
    async fn exchange(&self, outgoing: UpstreamRequest) -> Result<Response<Body>, ApiError> {
        match &self.0.transport {
            Transport::Plain(connections) => connections.send(outgoing).await.map_err(|failure| match failure {
                ResponseError::TimedOut => timed_out(),
                failure => unreachable(failure.into()),
            }),
            Transport::Tls(client) => {
                let Timeouts { first_byte, idle } = self.0.patience;
                let answer = tokio::time::timeout(first_byte, client.request(self.request(outgoing)?)).await;
                let mut response = answer.map_err(|_| timed_out())?.map_err(|error| unreachable(error.into()))?;
                headers::clean(response.headers_mut());
                Ok(response.map(|body| Body::paced(body, idle)))
            }
        }
    }

    /// A request for the library's client: the credential comes last, over whatever there was.
    fn request(&self, outgoing: UpstreamRequest) -> Result<Request<Body>, ApiError> {
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(self.0.scheme.clone());
        uri.authority = Some(self.0.authority.clone());
        uri.path_and_query = Some(PathAndQuery::from_maybe_shared(outgoing.target).map_err(ApiError::internal)?);
        let mut request = Request::new(outgoing.body);
        *request.method_mut() = outgoing.method;
        *request.uri_mut() = Uri::from_parts(uri).map_err(ApiError::internal)?;
        for (name, value) in outgoing.headers.iter() {
            request.headers_mut().append(name, value.clone());
        }
        match &self.0.credential {
            Some(credential) => drop(request.headers_mut().insert(header::AUTHORIZATION, credential.clone())),
            None => drop(request.headers_mut().remove(header::AUTHORIZATION)),
        }
        Ok(request)
    }
}

fn parse(url: &str) -> Option<(http::uri::Scheme, http::uri::Authority)> {
    // The parser cuts a fragment off, and takes a port that is none for the scheme's own.
    let uri: Uri = Some(url.trim_end_matches('/')).filter(|url| !url.contains('#'))?.parse().ok()?;
    let parts = uri.into_parts();
    let is_base = parts.path_and_query.is_none_or(|path| path.as_str() == "/");
    let scheme = parts.scheme.filter(|scheme| matches!(scheme.as_str(), "http" | "https"))?;
    let authority = parts.authority.filter(|authority| !authority.as_str().contains('@'))?;
    let is_sound = authority.port().is_some() || authority.as_str() == authority.host();
    (is_base && is_sound).then_some((scheme, authority))
}

fn bearer(key: &str) -> Option<HeaderValue> {
    let key = key.trim();
    let is_visible = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
    let mut value = HeaderValue::try_from(format!("Bearer {key}")).ok().filter(|_| is_visible)?;
    value.set_sensitive(true);
    Some(value)
}

/// Trusts the system's certificates and those of a file.
fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, UpstreamError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let problem = |error: &dyn fmt::Display| bad_certificates(&format_args!("{}: {error}", path.display()));
        let own = roots.len();
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| problem(&error))? {
            let certificate = certificate.map_err(|error| problem(&error))?;
            roots.add(certificate).map_err(|error| problem(&error))?;
        }
        if roots.len() == own {
            return Err(problem(&"there is none in PEM form"));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad_certificates(&error))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn bad_certificates(error: &dyn fmt::Display) -> UpstreamError {
    UpstreamError(format!("cannot read the certificates to trust: {error}"))
}
