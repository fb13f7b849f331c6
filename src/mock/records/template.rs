//! Templates of the hosted service: agents in versions, from which other agents are created.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Record, timestamp::Timestamp};
use crate::entropy;

/// A template.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct Template {
    pub(in crate::mock) id: String,
    pub(in crate::mock) name: String,
    /// The slug of its project.
    pub(in crate::mock) project: String,
    pub(in crate::mock) description: Option<String>,
    /// The agent file of the working copy, as text: a body may be nested as deep as the parser allows, so storing it
    /// any deeper would make it unreadable.
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

/// Agents that were created together from a version of a template.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct Deployment {
    pub(in crate::mock) id: String,
    pub(in crate::mock) template_id: String,
    /// The id of the version; `None` for the working copy.
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
    /// Creates a template without versions.
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

    /// Saves the working copy as the newest version.
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

    /// Replaces the working copy.
    pub(in crate::mock) fn set_current(&mut self, file: String) {
        self.current = file;
        self.updated_at = Timestamp::now();
    }

    /// The template as clients see it, without absent fields.
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
