//! The App Servers behind Gatelet, by project, and what their sockets share.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use hyper::upgrade::OnUpgrade;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    context::{AppServer, Context, NewSocket, Rules},
    control::Control,
    counters::Counters,
    frame::Limits,
    options::{AppServerError, Options},
    resident::Resident,
    session,
    upstream::{Remote, Upstream},
};
use crate::{
    access::{Feed, Guard},
    config::{ReflectionRule, Settings},
    error::{ApiError, Code},
    model::Project,
    world,
};

/// The shortest interval between two pings.
const MIN_PING_INTERVAL: Duration = Duration::from_millis(100);

/// Stands for "no limit"; longer times are cut to it, so that every deadline can be represented.
const FOREVER: Duration = Duration::from_hours(24 * 365);

/// The App Servers behind Gatelet. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AppServers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    servers: Vec<Arc<AppServer>>,
    /// The index of each project's server.
    by_project: HashMap<Project, usize>,
    /// The index of the server for all other projects.
    fallback: Option<usize>,
    rules: Rules,
    counters: Counters,
    sockets: TaskTracker,
    stopping: CancellationToken,
}

impl AppServers {
    /// The App Servers of the settings, or `None` if they name none. Connects to nothing yet.
    ///
    /// # Errors
    /// When a setting of an App Server is invalid. The error names the setting.
    pub(crate) fn from_settings(settings: &Settings) -> Result<Option<Self>, AppServerError> {
        let all = Options::all(settings)?;
        if all.is_empty() {
            return Ok(None);
        }
        let (mut servers, mut by_project, mut fallback) = (Vec::new(), HashMap::new(), None);
        for (index, mut options) in all.into_iter().enumerate() {
            let remote = Remote::new(&mut options, settings.upstream.connect_timeout)?;
            let upstream = Arc::new(Upstream::Remote(remote));
            if options.projects.is_empty() {
                fallback = Some(index);
            }
            by_project.extend(options.projects.into_iter().map(|project| (project, index)));
            let control = Control::new(options.name.clone(), Arc::clone(&upstream));
            servers.push(Arc::new(AppServer { name: options.name, upstream, control }));
        }
        if settings.app_server.ping_interval < MIN_PING_INTERVAL {
            return Err(AppServerError("app_server.ping_interval must be 100ms or more".into()));
        }
        Ok(Some(Self::sharing(servers, by_project, fallback, settings)))
    }

    /// One App Server within the process, for all projects.
    pub(crate) fn resident(resident: Arc<dyn Resident>, settings: &Settings) -> Self {
        let (name, upstream) = ("mock".to_owned(), Arc::new(Upstream::Resident(resident)));
        let control = Control::new(name.clone(), Arc::clone(&upstream));
        Self::sharing(vec![Arc::new(AppServer { name, upstream, control })], HashMap::new(), Some(0), settings)
    }

    fn sharing(
        servers: Vec<Arc<AppServer>>,
        by_project: HashMap<Project, usize>,
        fallback: Option<usize>,
        settings: &Settings,
    ) -> Self {
        let own = &settings.app_server;
        let rules = Rules {
            limits: Limits {
                runtimes: own.runtimes_per_socket,
                allow_reflection: own.reflection == ReflectionRule::Allow,
            },
            frame_bytes: own.frame_bytes,
            ping_interval: own.ping_interval.clamp(MIN_PING_INTERVAL, FOREVER),
            turn_grace: own.turn_grace.min(FOREVER),
            write_timeout: settings.limits.write_timeout.min(FOREVER),
            body_timeout: settings.limits.body_timeout.min(FOREVER),
        };
        Self(Arc::new(Shared {
            servers,
            by_project,
            fallback,
            rules,
            counters: Counters::new(),
            sockets: TaskTracker::new(),
            stopping: CancellationToken::new(),
        }))
    }

    fn server_for(&self, project: &Project) -> Result<&Arc<AppServer>, ApiError> {
        let index = self.0.by_project.get(project).copied().or(self.0.fallback);
        index.and_then(|index| self.0.servers.get(index)).ok_or_else(|| {
            ApiError::new(Code::NotFound, format!("No App Server for project {project} is configured in Gatelet."))
        })
    }

    /// Serves a socket in the background, once its handshake is done.
    ///
    /// # Errors
    /// 404 when the project has no App Server.
    pub(crate) fn serve(&self, socket: NewSocket, guard: &Arc<Guard>, feed: &Feed) -> Result<(), ApiError> {
        let server = Arc::clone(self.server_for(socket.permit.project())?);
        let Shared { counters, rules, stopping, .. } = &*self.0;
        let context = Context {
            guard: Arc::clone(guard),
            feed: feed.clone(),
            counters: counters.clone(),
            rules: *rules,
            stopping: stopping.clone(),
        };
        self.0.sockets.spawn(world::inherit(session::serve(socket, server, context)));
        Ok(())
    }

    /// Opens a socket only to close it with the word for a refusal, which the page of a genuine token may read.
    pub(crate) fn refuse(&self, id: String, connection: OnUpgrade, code: Code) {
        let counters = self.0.counters.clone();
        self.0.sockets.spawn(world::inherit(session::refuse(id, connection, code, counters)));
    }

    /// The name of every App Server, and whether it responds.
    pub(crate) async fn reachability(&self) -> Vec<(&str, bool)> {
        let checks = self.0.servers.iter().filter_map(|server| match &*server.upstream {
            Upstream::Remote(remote) => Some(async { (&*server.name, remote.is_reachable().await) }),
            // Where this process is, it is.
            Upstream::Resident(_) => None,
        });
        join_all(checks).await
    }

    /// The metrics of the sockets.
    #[must_use]
    pub(crate) fn counters(&self) -> Counters {
        self.0.counters.clone()
    }

    /// Closes all sockets of clients, and waits until the turns that they began have ended.
    pub(crate) async fn drain(&self) {
        self.0.stopping.cancel();
        self.0.sockets.close();
        self.0.sockets.wait().await;
    }
}
