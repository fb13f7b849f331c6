//! Reads the upstreams from the settings: where each is, which projects it serves, and whether its settings are valid.

use std::{collections::HashMap, fmt, fs, path::PathBuf, time::Duration};

use http::Uri;

use crate::{
    config::{NamedUpstream, Secret, Settings},
    model::Project,
};

/// The name of the upstream of `upstream_url` in `/readyz`.
pub(super) const DEFAULT: &str = "default";

/// Why an upstream cannot be used, in one sentence that names the setting.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UpstreamError(pub(super) String);

/// How the gateway reaches one of its upstreams.
#[derive(Clone, Debug)]
pub(super) struct UpstreamOptions {
    /// Its name in the configuration file. `None` for the upstream of `upstream_url`.
    pub(super) name: Option<String>,
    /// The projects that it serves. Empty for the upstream that serves all other projects.
    pub(super) projects: Vec<Project>,
    /// Whether the server keeps only one project, so that everything on it belongs to that project.
    pub(super) is_exclusive: bool,
    /// Its base URL: scheme and authority.
    pub(super) url: String,
    /// The gateway's own credential there.
    pub(super) api_key: Option<Secret>,
    /// A file of PEM certificates to trust in addition to the system's.
    pub(super) ca_file: Option<PathBuf>,
    /// How long connecting may take.
    pub(super) connect_timeout: Duration,
    /// How long the head of a response may take.
    pub(super) first_byte_timeout: Duration,
    /// How long a response may pause between two pieces of its body.
    pub(super) idle_timeout: Duration,
}

impl UpstreamOptions {
    /// All upstreams of the settings. Reads the files that hold credentials.
    ///
    /// # Errors
    /// When a file cannot be read, or settings of upstreams contradict each other.
    pub(super) fn all(settings: &Settings) -> Result<Vec<Self>, UpstreamError> {
        let mut all = Vec::new();
        if let Some(url) = settings.upstream_url.clone() {
            let mut options = Self::new(settings, None, url);
            options.api_key = match (&settings.upstream_api_key, &settings.upstream_api_key_file) {
                (Some(key), _) => Some(key.clone()),
                (None, Some(path)) => Some(options.read_key(path)?),
                (None, None) => None,
            };
            all.push(options);
        } else if settings.upstream_api_key.is_some() || settings.upstream_api_key_file.is_some() {
            return Err(UpstreamError("upstream_api_key needs upstream_url, which is not set".into()));
        }
        let mut names = Vec::new();
        let mut served = HashMap::new();
        for entry in &settings.upstreams {
            let mut options = Self::new(settings, Some(entry.name.clone()), entry.url.clone());
            options.check_name(&names)?;
            names.push(&entry.name);
            options.projects = options.parse_projects(entry, &mut served)?;
            options.api_key = match (&entry.api_key, &entry.api_key_file) {
                (Some(_), Some(_)) => {
                    return Err(options.error("api_key", "and api_key_file exclude each other: remove one"));
                }
                (Some(key), None) => Some(key.clone()),
                (None, Some(path)) => Some(options.read_key(path)?),
                (None, None) => None,
            };
            options.ca_file = entry.ca_file.clone().or(options.ca_file);
            all.push(options);
        }
        let servers: Vec<_> = all.iter().map(|options| server(&options.url)).collect();
        for (options, own) in all.iter_mut().zip(&servers) {
            // A server with two names keeps the projects of both.
            let has_one_name = servers.iter().filter(|server| *server == own).count() == 1;
            options.is_exclusive = has_one_name && options.projects.len() == 1;
        }
        Ok(all)
    }

    fn new(settings: &Settings, name: Option<String>, url: String) -> Self {
        let shared = &settings.upstream;
        Self {
            name,
            projects: Vec::new(),
            is_exclusive: false,
            url,
            api_key: None,
            ca_file: shared.ca_file.clone(),
            connect_timeout: shared.connect_timeout,
            first_byte_timeout: shared.first_byte_timeout,
            idle_timeout: shared.idle_timeout,
        }
    }

    /// An error about a setting of this upstream. `problem` must not contain a secret.
    pub(super) fn error(&self, setting: &str, problem: impl fmt::Display) -> UpstreamError {
        UpstreamError(match &self.name {
            None => format!("upstream_{setting} {problem}"),
            Some(name) => format!("{setting} of the upstream {name:?} {problem}"),
        })
    }

    fn check_name(&self, others: &[&String]) -> Result<(), UpstreamError> {
        let name = self.name.as_deref().unwrap_or_default();
        // Names are shown next to projects, and have the same form.
        if let Err(rule) = name.parse::<Project>() {
            return Err(self.error("name", rule));
        }
        if name == DEFAULT {
            return Err(self.error("name", "is reserved for upstream_url: choose another"));
        }
        if others.iter().any(|other| *other == name) {
            return Err(self.error("name", "is used twice: choose another"));
        }
        Ok(())
    }

    fn parse_projects(
        &self,
        entry: &NamedUpstream,
        served: &mut HashMap<Project, String>,
    ) -> Result<Vec<Project>, UpstreamError> {
        if entry.projects.is_empty() {
            return Err(self.error("projects", "must name at least one project"));
        }
        let mut projects = Vec::new();
        for text in &entry.projects {
            let project: Project =
                text.parse().map_err(|rule| self.error("projects", format_args!("contains {text:?}, which {rule}")))?;
            if let Some(other) = served.insert(project.clone(), entry.name.clone()) {
                let problem = format!("names {project}, which the upstream {other:?} already serves");
                return Err(self.error("projects", problem));
            }
            projects.push(project);
        }
        Ok(projects)
    }

    fn read_key(&self, path: &PathBuf) -> Result<Secret, UpstreamError> {
        let text = fs::read_to_string(path)
            .map_err(|error| self.error("api_key_file", format_args!("cannot be read: {}: {error}", path.display())))?;
        Ok(text.into())
    }
}

/// What identifies a server: scheme, host and port.
fn server(url: &str) -> Option<(String, String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?.to_owned();
    let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    Some((scheme, uri.host()?.to_ascii_lowercase(), port))
}
