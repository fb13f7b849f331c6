//! TLS before a recording upstream, with HTTP/1.1 or HTTP/2, under a certificate authority of its own.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use hyper::{Request, Version, body::Incoming, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer},
};

use super::{Program, UPSTREAM_KEY, Upstream};

/// What terminates TLS and hands everything to the recording upstream, frame by frame.
#[derive(Debug)]
pub(crate) struct TlsFront {
    address: SocketAddr,
    folder: TempDir,
    versions: Arc<Mutex<Vec<Version>>>,
}

impl TlsFront {
    /// Offers these protocols (RFC 7301), such as `h2` and `http/1.1`.
    pub(crate) async fn before(upstream: &Upstream, protocols: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(certified(&folder, protocols)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let versions: Arc<Mutex<Vec<Version>>> = Arc::default();
        let (seen, behind) = (Arc::clone(&versions), upstream.authority());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                socket.set_nodelay(true).unwrap();
                let (acceptor, seen, behind) = (acceptor.clone(), Arc::clone(&seen), behind.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(socket).await else { return };
                    // A connection of its own for each request, so that one that is dropped is dropped behind, too.
                    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
                    let service = service_fn(move |request| {
                        seen.lock().unwrap().push(request.version());
                        pass(client.clone(), behind.clone(), request)
                    });
                    let _ =
                        auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, folder, versions }
    }

    /// Hands on the bytes of each connection as they are.
    pub(crate) async fn pipe(behind: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(certified(&folder, &[])));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, behind) = (listener.local_addr().unwrap(), behind.to_owned());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, behind) = (acceptor.clone(), behind.clone());
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(socket).await else { return };
                    let Ok(mut behind) = TcpStream::connect(behind).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut behind).await;
                });
            }
        });
        Self { address, folder, versions: Arc::default() }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// The certificate of the authority that vouches for this server.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A program that is to be a gateway before this, and trusts it.
    pub(crate) fn before_program(&self, program: Program) -> Program {
        let program = program.argument("--upstream").argument(&self.url());
        program
            .env("GATELET_UPSTREAM_API_KEY", UPSTREAM_KEY)
            .env("GATELET_UPSTREAM__CA_FILE", self.ca_file().to_str().unwrap())
    }

    /// The protocol version of every request since this was asked last.
    pub(crate) fn take_versions(&self) -> Vec<Version> {
        std::mem::take(&mut self.versions.lock().unwrap())
    }
}

/// A key and a certificate for this machine's name, not its address; the authority's goes to a file.
fn certified(folder: &TempDir, protocols: &[&str]) -> ServerConfig {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    fs::write(folder.path().join("ca.pem"), authority.self_signed(&authority_key).unwrap().pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = ["localhost".to_owned()];
    let issuer = Issuer::new(authority, authority_key);
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    config
}

async fn pass(
    client: Client<HttpConnector, Incoming>,
    behind: String,
    mut request: Request<Incoming>,
) -> Result<hyper::Response<Incoming>, hyper_util::client::legacy::Error> {
    let target = request.uri().path_and_query().unwrap().clone();
    // HTTP/2 names the host in a field of its own (RFC 9113, section 8.3.1).
    if let Some(authority) = request.uri().authority() {
        let host = authority.as_str().parse().unwrap();
        request.headers_mut().insert(hyper::header::HOST, host);
    }
    *request.uri_mut() = format!("http://{behind}{target}").parse().unwrap();
    *request.version_mut() = Version::HTTP_11;
    let mut answer = client.request(request).await?;
    // It belongs to the connection behind, and HTTP/2 has none (RFC 9113, section 8.2.2).
    answer.headers_mut().remove(hyper::header::CONNECTION);
    *answer.version_mut() = Version::default();
    Ok(answer)
}
