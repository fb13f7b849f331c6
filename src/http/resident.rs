//! The mock as an App Server within the process.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::Backend;
use crate::{
    access::{Owned, Permit},
    app_server::{Answer, AppServers, Lookup, PROTOCOL, Reflection, Resident, ServerInfo},
    config::Settings,
    error::ApiError,
    mock::Mock,
    world,
};

/// How many frames of a client wait for the mock.
const QUEUE: usize = 64;

/// The mock's App Server, where there is a mock.
pub(super) fn of(backend: &Backend, settings: &Settings) -> Option<AppServers> {
    match backend {
        Backend::Mock(mock) => Some(AppServers::resident(Arc::new(MockedServer(mock.clone())), settings)),
        Backend::Gateway(_) => None,
    }
}

struct MockedServer(Mock);

impl fmt::Debug for MockedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MockedServer")
    }
}

impl Resident for MockedServer {
    fn open(&self, permit: &Permit) -> (mpsc::Sender<String>, mpsc::Receiver<String>) {
        let (socket, frames) = self.0.app_server(permit.clone());
        let (sender, mut sent) = mpsc::channel::<String>(QUEUE);
        tokio::spawn(world::inherit(async move {
            while let Some(frame) = sent.recv().await {
                socket.receive(&frame).await;
            }
        }));
        (sender, frames)
    }

    fn look_up(&self, lookup: Lookup) -> BoxFuture<'static, Result<Answer, ApiError>> {
        let mock = self.0.clone();
        Box::pin(async move {
            Ok(match lookup {
                Lookup::Owner { conversation } => Answer::Owner(mock.owner(Owned::Conversation(&conversation)).await?),
                // The mock has no sub-agents.
                Lookup::Reflection { .. } => Answer::Reflection(Reflection::Off),
                Lookup::Info => Answer::Info(ServerInfo {
                    backend: "local".into(),
                    letta_code_version: PROTOCOL.into(),
                    protocol_version: 1,
                    capabilities: ["conversation_management", "memory_management", "runtime_start"]
                        .map(|name| (name.to_owned(), true))
                        .into(),
                }),
            })
        })
    }
}
