//! A reverse proxy that checks nothing: hyper's server, Gatelet's upstream client, and no more between them than a URI.

use std::{io, net::SocketAddr, time::Duration};

use http::{Request, Uri};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpListener;

use crate::Failure;

pub(crate) async fn serve(listen: SocketAddr, upstream: SocketAddr) -> Result<serde_json::Value, Failure> {
    // The client is made as `gateway/upstream.rs` makes it.
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(Duration::from_secs(5)));
    let tls = ClientConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(connector);
    let client: Client<_, Incoming> = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(15))
        .build(connector);
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let client = client.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let addressed = address(request.uri(), upstream);
            let client = client.clone();
            async move {
                *request.uri_mut() = addressed.map_err(io::Error::other)?;
                client.request(request).await.map_err(io::Error::other)
            }
        });
        tokio::spawn(async move {
            // A connection that fails is missed by whoever counts its answers.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn address(uri: &Uri, upstream: SocketAddr) -> Result<Uri, http::Error> {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    Uri::builder().scheme("http").authority(upstream.to_string()).path_and_query(target).build()
}
