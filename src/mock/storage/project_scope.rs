//! The project in which something is created.

use http::HeaderMap;
use serde_json::Value;

use crate::{
    access::Permit,
    error::{ApiError, Code},
    mock::validation::body::Fields,
    model::Project,
};

/// The project in which something is created.
pub(in crate::mock) struct ProjectScope {
    pub(in crate::mock) project: Project,
    /// The project as records show it; `None` for the default project if the request does not name it.
    pub(in crate::mock) shown: Option<String>,
}

impl ProjectScope {
    /// Reads the project from the body, or else from the headers.
    pub(in crate::mock) fn of(headers: &HeaderMap, permit: &Permit, fields: &Fields<'_>) -> Result<Self, ApiError> {
        let named: Option<&str> = fields.optional("project_id")?;
        let project = match named {
            None => permit.project().clone(),
            Some(text) => {
                let rule = |rule: &str| fields.at("project_id").breaks_rule(rule, &Value::from(text));
                let project: Project = text.parse().map_err(rule)?;
                if !permit.reaches(project.as_str()) {
                    return Err(ApiError::letta(Code::NotFound, format!("Project with ID {project} not found")));
                }
                project
            }
        };
        let by_header = headers.contains_key("x-project-id") || headers.contains_key("x-project");
        let is_shown = named.is_some() || by_header || project.as_str() != Project::DEFAULT;
        Ok(Self { shown: is_shown.then(|| project.to_string()), project })
    }
}
