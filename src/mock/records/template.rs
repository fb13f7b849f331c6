//! Templates of the hosted service: agents written down, in versions, from which others are made.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Record, timestamp::Timestamp};
use crate::entropy;

/// A template.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct Template {
    pub(in crate::mock) id: String,
    pub(in crate::mock) name: String,
    /// The project that it belongs to; its id is its slug.
    pub(in crate::mock) project: String,
    pub(in crate::mock) description: Option<String>,
    /// The agent file that is worked on, as text: what a body may hold at its depth must not be stored any deeper.
    pub(in crate::mock) current: String,
    /// The number of the newest version.
    pub(in crate::mock) latest: i64,
    pub(in crate::mock) created_at: Timestamp,
    pub(in crate::mock) updated_at: Timestamp,
}

/// A version of a template; it belongs to the template.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct TemplateVersion {
    pub(in crate::mock) id: String,
    pub(in crate::mock) template_id: String,
    pub(in crate::mock) number: i64,
    pub(in crate::mock) message: Option<String>,
    pub(in crate::mock) created_at: Timestamp,
    /// The agent file, as text.
    pub(in crate::mock) file: String,
}

/// Agents that were made together from a version of a template.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct Deployment {
    pub(in crate::mock) id: String,
    pub(in crate::mock) template_id: String,
    /// The version's id; none: what was worked on then.
    pub(in crate::mock) version_id: Option<String>,
    pub(in crate::mock) agent_ids: Vec<String>,
}

impl Record for Template {
    const KIND: &'static str = "template";
    const NAME: &'static str = "Template";

    fn id(&self) -> &str {
        &self.id
    }
}

impl Record for TemplateVersion {
    const KIND: &'static str = "template_version";
    const NAME: &'static str = "Template version";

    fn id(&self) -> &str {
        &self.id
    }
}

impl Record for Deployment {
    const KIND: &'static str = "deployment";
    const NAME: &'static str = "Deployment";

    fn id(&self) -> &str {
        &self.id
    }
}

impl Template {
    /// A new template, without a version.
    pub(in crate::mock) fn new(project: &str, name: String, current: String) -> Self {
        let now = Timestamp::now();
        Self {
            id: entropy::uuid(),
            name,
            project: project.to_owned(),
            description: None,
            current,
            latest: 0,
            created_at: now,
            updated_at: now,
        }
    }

    /// Makes what is worked on the newest version.
    pub(in crate::mock) fn save(&mut self, message: Option<String>) -> TemplateVersion {
        self.latest += 1;
        self.updated_at = Timestamp::now();
        TemplateVersion {
            id: entropy::uuid(),
            template_id: self.id.clone(),
            number: self.latest,
            message,
            created_at: self.updated_at,
            file: self.current.clone(),
        }
    }

    /// Puts another file in the place of what is worked on.
    pub(in crate::mock) fn set_current(&mut self, file: String) {
        self.current = file;
        self.updated_at = Timestamp::now();
    }

    /// The template as clients see it. What is not said is not there.
    pub(in crate::mock) fn wire(&self) -> Value {
        let mut wire = json!({
            "name": self.name,
            "id": self.id,
            "project_id": self.project,
            "project_slug": self.project,
            "latest_version": self.latest.to_string(),
            "template_deployment_slug": format!("{}/{}:{}", self.project, self.name, self.latest),
            "updated_at": self.updated_at,
        });
        if let Some(description) = &self.description {
            wire["description"] = description.as_str().into();
        }
        wire
    }
}

impl TemplateVersion {
    /// The version as clients see it.
    pub(in crate::mock) fn wire(&self, latest: i64) -> Value {
        let mut wire = json!({
            "version": self.number.to_string(),
            "created_at": self.created_at,
            "is_latest": self.number == latest,
        });
        if let Some(message) = &self.message {
            wire["message"] = message.as_str().into();
        }
        wire
    }
}
