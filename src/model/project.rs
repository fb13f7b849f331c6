//! Projects: the namespaces that keys, tokens and agents belong to.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, LazyLock},
};

use serde::{Deserialize, Serialize};

/// A project's id, which is also its slug: 1 to 64 characters of `[A-Za-z0-9._-]`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Project(Arc<str>);

impl Project {
    /// The project of a request that names none.
    pub(crate) const DEFAULT: &'static str = "default";

    /// The project as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Shared, because most tokens belong to it.
static DEFAULT: LazyLock<Project> = LazyLock::new(|| Project(Project::DEFAULT.into()));

impl Default for Project {
    fn default() -> Self {
        DEFAULT.clone()
    }
}

impl FromStr for Project {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == Self::DEFAULT {
            return Ok(Self::default());
        }
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
        if fits { Ok(Self(text.into())) } else { Err("must be 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'") }
    }
}

impl TryFrom<String> for Project {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Project> for String {
    fn from(project: Project) -> Self {
        (*project.0).into()
    }
}

impl fmt::Display for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
