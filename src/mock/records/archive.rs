//! Archives: collections of passages that agents can share.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ACTOR, ORGANIZATION, Record, agent::Agent, model::EmbeddingConfig, timestamp::Timestamp};
use crate::{entropy, error::ApiError, mock::validation::body::Fields};

/// An archive as it is stored. Its passages are documents of their own; agents are linked to it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct Archive {
    pub(in crate::mock) id: String,
    pub(in crate::mock) name: String,
    pub(in crate::mock) description: Option<String>,
    pub(in crate::mock) embedding: Option<EmbeddingConfig>,
    /// The agent for which it was created implicitly. It is deleted with that agent, unless other agents share it by
    /// then.
    pub(in crate::mock) owner: Option<String>,
    /// Whether a passage came with a creation time of its own, so that the order of insertion is not the order of
    /// creation.
    pub(in crate::mock) backdated: bool,
    pub(in crate::mock) created_at: Timestamp,
    pub(in crate::mock) updated_at: Timestamp,
}

/// The changes that a request makes to an archive.
#[derive(Clone, Debug)]
pub(in crate::mock) struct ArchiveChange {
    name: Option<String>,
    description: Option<String>,
}

impl Record for Archive {
    const KIND: &'static str = "archive";
    const NAME: &'static str = "Archive";

    fn id(&self) -> &str {
        &self.id
    }
}

impl Archive {
    /// Creates an archive from the fields of a request.
    pub(in crate::mock) fn create(fields: &Fields<'_>) -> Result<Self, ApiError> {
        let name = fields.required("name")?;
        let description = fields.optional("description")?;
        let mut embedding = None;
        EmbeddingConfig::change(&mut embedding, fields)?;
        Ok(Self { description, ..Self::named(name, embedding) })
    }

    /// The archive that is created with the first passage of an agent.
    pub(in crate::mock) fn of_agent(agent: &Agent) -> Self {
        let archive = Self::named(format!("{}'s Archive", agent.name), agent.embedding.clone());
        Self { owner: Some(agent.id.clone()), ..archive }
    }

    fn named(name: String, embedding: Option<EmbeddingConfig>) -> Self {
        let now = Timestamp::now();
        Self {
            id: entropy::letta_id(Self::KIND),
            name,
            description: None,
            embedding,
            owner: None,
            backdated: false,
            created_at: now,
            updated_at: now,
        }
    }

    /// Applies a change. Absent fields stay as they are.
    pub(in crate::mock) fn change(&mut self, change: ArchiveChange) {
        self.name = change.name.unwrap_or_else(|| std::mem::take(&mut self.name));
        self.description = change.description.or_else(|| self.description.take());
        self.updated_at = Timestamp::now();
    }

    /// The archive as clients see it. The order of the keys is Letta's.
    pub(in crate::mock) fn wire(&self) -> Value {
        json!({
            "created_by_id": ACTOR,
            "last_updated_by_id": ACTOR,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "name": self.name,
            "description": self.description,
            "organization_id": ORGANIZATION,
            "vector_db_provider": "native",
            "embedding_config": self.embedding.as_ref().map(|embedding| &embedding.config),
            "metadata": null,
            "id": self.id,
        })
    }
}

impl ArchiveChange {
    /// Reads the fields of a request.
    pub(in crate::mock) fn read(fields: &Fields<'_>) -> Result<Self, ApiError> {
        Ok(Self { name: fields.optional("name")?, description: fields.optional("description")? })
    }
}
