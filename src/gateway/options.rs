//! From settings to upstreams: which there are, whom each serves, and what is wrong with them.

use std::{collections::HashMap, fmt, fs, path::PathBuf, time::Duration};

use http::Uri;

use crate::{
    config::{NamedUpstream, Secret, Settings},
    model::Project,
};

/// What `/readyz` calls the upstream that `upstream_url` names.
pub(super) const DEFAULT: &str = "default";

/// Why an upstream cannot be used, in one sentence that names the setting.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UpstreamError(pub(super) String);

/// How the gateway reaches one of its upstreams.
#[derive(Clone, Debug)]
pub(super) struct UpstreamOptions {
    /// Its name in the configuration file; none: it is the one of `upstream_url`.
    pub(super) name: Option<String>,
    /// The projects it serves; none: all that no other serves.
    pub(super) projects: Vec<Project>,
    /// Whether it keeps nothing of any other project.
    pub(super) serves_alone: bool,
    /// Its base URL: scheme and authority.
    pub(super) url: String,
    /// The gateway's own credential there.
    pub(super) api_key: Option<Secret>,
    /// A file of PEM certificates to trust beside the system's.
    pub(super) ca_file: Option<PathBuf>,
    /// How long connecting may take.
    pub(super) connect_timeout: Duration,
    /// How long the head of an answer may take.
    pub(super) first_byte_timeout: Duration,
    /// How long an answer may pause between two frames.
    pub(super) idle_timeout: Duration,
}

impl UpstreamOptions {
    /// Every upstream that the settings name. Reads the files of credentials.
    ///
    /// # Errors
    /// When a file cannot be read, or what is said of one upstream contradicts itself or another.
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
            return Err(UpstreamError("upstream_api_key needs upstream_url, which is not given".into()));
        }
        let mut names = Vec::new();
        let mut served = HashMap::new();
        for entry in &settings.upstreams {
            let mut options = Self::new(settings, Some(entry.name.clone()), entry.url.clone());
            options.check_name(&names)?;
            names.push(&entry.name);
            options.projects = options.parse_projects(entry, &mut served)?;
            options.api_key = match (&entry.api_key, &entry.api_key_file) {
                (Some(_), Some(_)) => return Err(options.error("api_key", "excludes api_key_file: leave one out")),
                (Some(key), None) => Some(key.clone()),
                (None, Some(path)) => Some(options.read_key(path)?),
                (None, None) => None,
            };
            options.ca_file = entry.ca_file.clone().or(options.ca_file);
            all.push(options);
        }
        let places: Vec<_> = all.iter().map(|options| place(&options.url)).collect();
        for (options, own) in all.iter_mut().zip(&places) {
            // One server under two names keeps the projects of both.
            let is_only = places.iter().filter(|place| *place == own).count() == 1;
            options.serves_alone = is_only && options.projects.len() == 1;
        }
        Ok(all)
    }

    fn new(settings: &Settings, name: Option<String>, url: String) -> Self {
        let shared = &settings.upstream;
        Self {
            name,
            projects: Vec::new(),
            serves_alone: false,
            url,
            api_key: None,
            ca_file: shared.ca_file.clone(),
            connect_timeout: shared.connect_timeout,
            first_byte_timeout: shared.first_byte_timeout,
            idle_timeout: shared.idle_timeout,
        }
    }

    /// What is wrong with a setting of this upstream. Never given a value that could be a secret.
    pub(super) fn error(&self, setting: &str, problem: impl fmt::Display) -> UpstreamError {
        UpstreamError(match &self.name {
            None => format!("upstream_{setting} {problem}"),
            Some(name) => format!("{setting} of the upstream {name:?} {problem}"),
        })
    }

    fn check_name(&self, others: &[&String]) -> Result<(), UpstreamError> {
        let name = self.name.as_deref().unwrap_or_default();
        // It is shown where a project might be, so it has the form of one.
        if let Err(rule) = name.parse::<Project>() {
            return Err(self.error("name", rule));
        }
        if name == DEFAULT {
            return Err(self.error("name", "is that of upstream_url: choose another"));
        }
        if others.iter().any(|other| *other == name) {
            return Err(self.error("name", "is given twice: choose another"));
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
                text.parse().map_err(|rule| self.error("projects", format_args!("holds {text:?}, which {rule}")))?;
            if let Some(other) = served.insert(project.clone(), entry.name.clone()) {
                let problem = format!("names {project}, which the upstream {other:?} serves already");
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

/// What tells one server from another: scheme, host and port.
fn place(url: &str) -> Option<(String, String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?.to_owned();
    let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    Some((scheme, uri.host()?.to_ascii_lowercase(), port))
}
