//! Reads the App Servers from the settings: where each is, which projects it serves, and whether its settings are valid.

use std::{collections::HashSet, fmt, fs, path::PathBuf};

use http::{Uri, uri::Authority};

use super::bearer::Bearer;
use crate::{
    config::{NamedAppServer, Secret, Settings},
    model::Project,
};

/// The name of the App Server of `app_server_url` in `/readyz`.
const DEFAULT: &str = "default";

/// The path of a URL without one, as the official client has it.
const DEFAULT_PATH: &str = "/ws";

const URL_RULE: &str =
    "must be ws:// or wss:// with a host and at most a port and a path, such as ws://127.0.0.1:4500/ws";

/// Why an App Server cannot be used, in one sentence that names the setting.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AppServerError(pub(super) String);

/// How one App Server is reached.
#[derive(Debug)]
pub(super) struct Options {
    /// Its name in the configuration file, or `default`.
    pub(super) name: String,
    /// The projects that it serves. Empty for the server of all other projects.
    pub(super) projects: Vec<Project>,
    /// Whether it is reached with TLS.
    pub(super) is_tls: bool,
    /// Its host and port.
    pub(super) authority: Authority,
    /// The path of its socket.
    pub(super) path: String,
    /// The gate's own credential there.
    pub(super) bearer: Bearer,
    /// A file of PEM certificates to trust in addition to the system's.
    pub(super) ca_file: Option<PathBuf>,
}

/// One App Server, as the settings write it.
struct Written<'a> {
    /// `None` for that of `app_server_url`.
    name: Option<&'a str>,
    url: &'a str,
    token: Option<&'a Secret>,
    token_file: Option<&'a PathBuf>,
    jwt_secret_file: Option<&'a PathBuf>,
}

impl Options {
    /// All App Servers of the settings. Reads the files that hold credentials.
    ///
    /// # Errors
    /// When a file cannot be read, or settings contradict each other.
    pub(super) fn all(settings: &Settings) -> Result<Vec<Self>, AppServerError> {
        let mut all = Vec::new();
        let (token, token_file) = (settings.app_server_token.as_ref(), settings.app_server_token_file.as_ref());
        let jwt_secret_file = settings.app_server_jwt_secret_file.as_ref();
        if let Some(url) = &settings.app_server_url {
            let written = Written { name: None, url, token, token_file, jwt_secret_file };
            all.push(written.read(Vec::new(), settings.upstream.ca_file.clone())?);
        } else if token.is_some() || token_file.is_some() || jwt_secret_file.is_some() {
            return Err(AppServerError(
                "app_server_token and app_server_jwt_secret_file need app_server_url, which is not set".into(),
            ));
        }
        let (mut names, mut served) = (HashSet::new(), HashSet::new());
        for entry in &settings.app_servers {
            let written = Written {
                name: Some(&entry.name),
                url: &entry.url,
                token: entry.token.as_ref(),
                token_file: entry.token_file.as_ref(),
                jwt_secret_file: entry.jwt_secret_file.as_ref(),
            };
            // Names are shown next to projects, and have the same form.
            if let Err(rule) = entry.name.parse::<Project>() {
                return Err(written.error("name", rule));
            }
            if entry.name == DEFAULT {
                return Err(written.error("name", "is reserved for app_server_url: choose another"));
            }
            if !names.insert(&entry.name) {
                return Err(written.error("name", "is used twice: choose another"));
            }
            let projects = projects(&written, entry, &mut served)?;
            let ca_file = entry.ca_file.clone().or_else(|| settings.upstream.ca_file.clone());
            all.push(written.read(projects, ca_file)?);
        }
        Ok(all)
    }

    /// An error about the whole server. `problem` must not contain a secret.
    pub(super) fn error(&self, problem: impl fmt::Display) -> AppServerError {
        AppServerError(format!("the App Server {:?}: {problem}", self.name))
    }
}

impl Written<'_> {
    fn read(&self, projects: Vec<Project>, ca_file: Option<PathBuf>) -> Result<Options, AppServerError> {
        let (is_tls, authority, path) = parse(self.url).ok_or_else(|| self.error("url", URL_RULE))?;
        let name = self.name.unwrap_or(DEFAULT).to_owned();
        Ok(Options { name, projects, is_tls, authority, path, bearer: self.bearer()?, ca_file })
    }

    fn bearer(&self) -> Result<Bearer, AppServerError> {
        let given = [self.token.is_some(), self.token_file.is_some(), self.jwt_secret_file.is_some()];
        if given.iter().filter(|is_given| **is_given).count() > 1 {
            return Err(self.error("token", "and its files exclude each other: leave one"));
        }
        match (self.token, self.token_file, self.jwt_secret_file) {
            (Some(token), ..) => Bearer::fixed(token.reveal()).map_err(|rule| self.error("token", rule)),
            (_, Some(path), _) => {
                Bearer::fixed(&self.content("token_file", path)?).map_err(|rule| self.error("token_file", rule))
            }
            (.., Some(path)) => Bearer::signing(&self.content("jwt_secret_file", path)?)
                .map_err(|rule| self.error("jwt_secret_file", rule)),
            _ => Ok(Bearer::None),
        }
    }

    fn content(&self, setting: &str, path: &PathBuf) -> Result<String, AppServerError> {
        fs::read_to_string(path)
            .map_err(|error| self.error(setting, format_args!("cannot be read: {}: {error}", path.display())))
    }

    /// An error about a setting of this server. `problem` must not contain a secret.
    fn error(&self, setting: &str, problem: impl fmt::Display) -> AppServerError {
        AppServerError(match self.name {
            None => format!("app_server_{setting} {problem}"),
            Some(name) => format!("{setting} of the App Server {name:?} {problem}"),
        })
    }
}

fn projects(
    written: &Written<'_>,
    entry: &NamedAppServer,
    served: &mut HashSet<Project>,
) -> Result<Vec<Project>, AppServerError> {
    if entry.projects.is_empty() {
        return Err(written.error("projects", "must name at least one project"));
    }
    entry
        .projects
        .iter()
        .map(|text| {
            let project: Project = text
                .parse()
                .map_err(|rule| written.error("projects", format_args!("contains {text:?}, which {rule}")))?;
            if !served.insert(project.clone()) {
                let problem = format!("names {project}, which is served already");
                return Err(written.error("projects", problem));
            }
            Ok(project)
        })
        .collect()
}

/// Whether a URL is one with TLS, its authority, and its path.
fn parse(url: &str) -> Option<(bool, Authority, String)> {
    // The parser drops a fragment, and ignores a malformed port.
    let uri: Uri = Some(url).filter(|url| !url.contains('#'))?.parse().ok()?;
    let parts = uri.into_parts();
    let is_tls = match parts.scheme?.as_str() {
        "ws" => false,
        "wss" => true,
        _ => return None,
    };
    let authority = parts.authority.filter(|authority| !authority.as_str().contains('@'))?;
    let is_port_valid = authority.port().is_some() || authority.as_str() == authority.host();
    let path = parts.path_and_query?;
    let path = match (path.path(), path.query()) {
        (_, Some(_)) => return None,
        ("" | "/", None) => DEFAULT_PATH,
        (path, None) => path,
    };
    (is_port_valid && !authority.host().is_empty()).then(|| (is_tls, authority, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_scheme_a_host_and_no_query() {
        let read = |url| parse(url).map(|(is_tls, authority, path)| (is_tls, authority.to_string(), path));
        let whole = |is_tls, authority: &str, path: &str| Some((is_tls, authority.to_owned(), path.to_owned()));
        assert_eq!(read("ws://127.0.0.1:4500/ws"), whole(false, "127.0.0.1:4500", "/ws"));
        assert_eq!(read("wss://app.internal"), whole(true, "app.internal", "/ws"));
        assert_eq!(read("ws://[::1]:4500/"), whole(false, "[::1]:4500", "/ws"));
        assert_eq!(read("ws://app:80/custom/path"), whole(false, "app:80", "/custom/path"));
        for url in [
            "http://app/ws",
            "ws:///ws",
            "ws://user@app/ws",
            "ws://app/ws?token=x",
            "ws://app/ws#x",
            "ws://app:x/ws",
            "/ws",
            "",
        ] {
            assert_eq!(read(url), None, "{url}");
        }
    }
}
