//! A reverse proxy that checks nothing: hyper's server and hyper-util's pooled client, and no more between them than the
//! upstream's address.

use std::{io, net::SocketAddr};

use http::{Request, Uri, uri};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::net::TcpListener;

use crate::Failure;

pub(crate) async fn serve(listen: SocketAddr, upstream: SocketAddr) -> Result<serde_json::Value, Failure> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    // As many unused connections are kept as there are.
    let client: Client<_, Incoming> =
        Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
    let authority = uri::Authority::try_from(upstream.to_string())?;
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (client, authority) = (client.clone(), authority.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            let addressed = address(request.uri(), authority.clone());
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

fn address(received: &Uri, authority: uri::Authority) -> Result<Uri, uri::InvalidUriParts> {
    let mut parts = uri::Parts::default();
    parts.scheme = Some(uri::Scheme::HTTP);
    parts.authority = Some(authority);
    parts.path_and_query = Some(received.path_and_query().cloned().unwrap_or(uri::PathAndQuery::from_static("/")));
    Uri::from_parts(parts)
}
