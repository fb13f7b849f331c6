//! A TCP proxy that can go silent, as a network does when it fails.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// A proxy before a database.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    silent: Arc<watch::Sender<bool>>,
}

impl Proxy {
    /// A proxy to the server that a URL names.
    pub(crate) async fn before(url: &str) -> Self {
        let target = authority(url).rsplit('@').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let silent = Arc::new(watch::Sender::new(false));
        let state = Arc::clone(&silent);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (target, state) = (target.clone(), Arc::clone(&state));
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(target).await else { return };
                    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                    tokio::join!(pump(near_in, far_out, state.subscribe()), pump(far_in, near_out, state.subscribe()));
                });
            }
        });
        Self { address, silent }
    }

    /// The same URL, by way of the proxy.
    pub(crate) fn url(&self, url: &str) -> String {
        let authority = authority(url);
        let user = authority.rsplit_once('@').map_or(String::new(), |(user, _)| format!("{user}@"));
        url.replace(authority, &format!("{user}{}", self.address))
    }

    /// Stops passing bytes on; connections stay open.
    pub(crate) fn silence(&self) {
        self.silent.send_replace(true);
    }

    /// Passes bytes on again, also those that were held back.
    pub(crate) fn resume(&self) {
        self.silent.send_replace(false);
    }
}

fn authority(url: &str) -> &str {
    url.split("://").nth(1).unwrap().split('/').next().unwrap()
}

async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut silent: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if silent.wait_for(|silent| !silent).await.is_err() || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
