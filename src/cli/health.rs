//! `gatelet health`, for a HEALTHCHECK in an image without curl.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use http::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;

use super::{CliError, Common, Output, banner};
use crate::request::body::Body;

/// How long the server may take to respond.
const TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The server's base URL [default: the address it is configured to listen on]
    #[arg(long)]
    url: Option<Uri>,
}

pub(super) async fn run(common: &Common, arguments: Arguments, output: &Output) -> Result<ExitCode, CliError> {
    let url = match arguments.url {
        Some(url) => url,
        None => banner::url(common.settings(&[])?.0.listen).parse()?,
    };
    let status = tokio::time::timeout(TIMEOUT, readiness(&url))
        .await
        .map_err(|_| format!("{url} did not respond within {TIMEOUT:?}"))?
        .map_err(|error| format!("{url} does not respond: {error}"))?;
    if status == StatusCode::OK {
        output.print("ready", || json!({"ready": true, "url": url.to_string()}))
    } else {
        Err(format!("{url} is not ready: /readyz responds with {}", status.as_u16()).into())
    }
}

async fn readiness(url: &Uri) -> Result<StatusCode, CliError> {
    if url.scheme_str() != Some("http") {
        return Err("only http:// URLs can be checked".into());
    }
    let authority = url.authority().ok_or("the URL names no host")?;
    let host = authority.host().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let host_header = authority.as_str().rsplit('@').next().unwrap_or_default();
    let request = Request::get("/readyz").header(header::HOST, host_header).body(Body::Empty)?;
    Ok(sender.send_request(request).await?.status())
}
