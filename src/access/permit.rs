//! Proof that the guard admitted a request, and who its caller is.

use std::sync::Arc;

use http::HeaderName;

use crate::{
    credentials::{ClientToken, VerifiedKey},
    model::Project,
};

/// A caller, identified by its bearer.
#[derive(Clone, Debug)]
pub enum Bearer {
    /// An API key.
    ApiKey(Arc<VerifiedKey>),
    /// A client token.
    ClientToken(Arc<ClientToken>),
}

/// Who sent a request.
#[derive(Clone, Debug)]
pub enum Caller {
    /// The holder of an API key, acting in a project.
    ApiKey {
        /// The key.
        key: Arc<VerifiedKey>,
        /// The project in which this request creates and lists.
        project: Project,
        /// The request's headers that name the project.
        named_by: &'static [HeaderName],
    },
    /// The holder of a client token.
    ClientToken(Arc<ClientToken>),
}

/// Proof that a request was admitted: only the guard creates one.
#[derive(Clone, Debug)]
pub struct Permit {
    caller: Caller,
}

impl Permit {
    pub(super) fn new(caller: Caller) -> Self {
        Self { caller }
    }

    /// The caller.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The project in which this request creates and lists.
    #[must_use]
    pub fn project(&self) -> &Project {
        match &self.caller {
            Caller::ApiKey { project, .. } => project,
            Caller::ClientToken(token) => &token.project,
        }
    }

    /// The headers by which an API key's request names its project; empty if it names none.
    #[must_use]
    pub(crate) fn project_headers(&self) -> &'static [HeaderName] {
        match &self.caller {
            Caller::ApiKey { named_by, .. } => named_by,
            Caller::ClientToken(_) => &[],
        }
    }

    /// Whether the caller may see what belongs to `project`. What it may not see does not exist for it.
    #[must_use]
    pub fn reaches(&self, project: &str) -> bool {
        match &self.caller {
            Caller::ApiKey { key, .. } => key.project.as_ref().is_none_or(|only| only.as_str() == project),
            Caller::ClientToken(token) => token.project.as_str() == project,
        }
    }

    /// The client token, if the caller holds one.
    #[must_use]
    pub fn client_token(&self) -> Option<&ClientToken> {
        match &self.caller {
            Caller::ClientToken(token) => Some(token),
            Caller::ApiKey { .. } => None,
        }
    }
}
