//! `GET /metrics`, on a listener of its own, because metrics are for the operator and web pages must not reach them.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tracing::debug;

use super::Exposition;

/// How long the head of a request may take to arrive, and how long a connection may stay open without one.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);

/// Serves metrics until it is dropped.
pub(crate) async fn serve(listener: TcpListener, exposition: Exposition) {
    let exposition = Arc::new(exposition);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(16 * 1024);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let exposition = Arc::clone(&exposition);
        let service = service_fn(move |request| {
            let response = respond(&request, &exposition);
            async { Ok::<_, Infallible>(response) }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "A connection for metrics ended with an error");
            }
        });
    }
}

fn respond(request: &Request<Incoming>, exposition: &Exposition) -> Response<Full<Bytes>> {
    let (status, media_type, text) = match (request.uri().path(), request.method()) {
        ("/metrics", &Method::GET | &Method::HEAD) => match exposition.text() {
            Ok(text) => (StatusCode::OK, super::CONTENT_TYPE, text),
            Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", String::new()),
        },
        ("/metrics", _) => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "This path accepts only GET.\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "text/plain", "The metrics are at /metrics.\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
