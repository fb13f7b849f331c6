//! The project in which something is created.

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
    /// Reads the project from the body, or else takes that of the request.
    pub(in crate::mock) fn of(permit: &Permit, fields: &Fields<'_>) -> Result<Self, ApiError> {
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
        let is_named = named.is_some() || !permit.project_headers().is_empty();
        let is_shown = is_named || project.as_str() != Project::DEFAULT;
        Ok(Self { shown: is_shown.then(|| project.to_string()), project })
    }
}
