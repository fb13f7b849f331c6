//! Folders; older clients call them sources.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{ACTOR, ORGANIZATION, Record, model::EmbeddingConfig, timestamp::Timestamp};
use crate::{entropy, error::ApiError, mock::validation::body::Fields};

/// A folder as it is stored. Its files are documents of their own; agents are linked to it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct Folder {
    pub(in crate::mock) id: String,
    pub(in crate::mock) name: String,
    pub(in crate::mock) description: Option<String>,
    pub(in crate::mock) instructions: Option<String>,
    pub(in crate::mock) metadata: Option<Map<String, Value>>,
    pub(in crate::mock) embedding: EmbeddingConfig,
    pub(in crate::mock) created_at: Timestamp,
    pub(in crate::mock) updated_at: Timestamp,
}

/// The default embedding model of a folder.
const DEFAULT_EMBEDDING: &str = "openai/text-embedding-3-small";

const CREATE: &[&str] =
    &["name", "description", "instructions", "metadata", "embedding", "embedding_chunk_size", "embedding_config"];
const CHANGE: &[&str] = &["name", "description", "instructions", "metadata", "embedding_config"];

impl Record for Folder {
    const KIND: &'static str = "source";
    const NAME: &'static str = "Folder";

    fn id(&self) -> &str {
        &self.id
    }
}

impl Folder {
    /// Creates a folder from the fields of a request.
    pub(in crate::mock) fn create(fields: &Fields<'_>) -> Result<Self, ApiError> {
        fields.only(CREATE)?;
        Self::of_file(fields)
    }

    /// Creates a folder from the fields of an agent file, which has more of them.
    pub(in crate::mock) fn of_file(fields: &Fields<'_>) -> Result<Self, ApiError> {
        let name = fields.required("name")?;
        let mut embedding = None;
        EmbeddingConfig::change(&mut embedding, fields)?;
        let embedding = match embedding {
            Some(embedding) => embedding,
            None => EmbeddingConfig::named(DEFAULT_EMBEDDING, fields)?,
        };
        let now = Timestamp::now();
        let mut folder = Self {
            id: entropy::letta_id(Self::KIND),
            name,
            description: None,
            instructions: None,
            metadata: None,
            embedding,
            created_at: now,
            updated_at: now,
        };
        folder.apply(fields)?;
        Ok(folder)
    }

    /// Checks the types of the fields of a change.
    pub(in crate::mock) fn check(fields: &Fields<'_>) -> Result<(), ApiError> {
        fields.only(CHANGE)?;
        EmbeddingConfig::check(fields)?;
        fields.optional::<&str>("name")?;
        fields.optional::<&str>("description")?;
        fields.optional::<&str>("instructions")?;
        fields.optional::<Fields<'_>>("metadata").map(drop)
    }

    /// Applies a change. Absent fields stay as they are.
    pub(in crate::mock) fn change(&mut self, fields: &Fields<'_>) -> Result<(), ApiError> {
        Self::check(fields)?;
        self.apply(fields)?;
        self.updated_at = Timestamp::now();
        Ok(())
    }

    fn apply(&mut self, fields: &Fields<'_>) -> Result<(), ApiError> {
        self.name = fields.optional("name")?.unwrap_or_else(|| self.name.clone());
        self.description = fields.optional("description")?.or(self.description.take());
        self.instructions = fields.optional("instructions")?.or(self.instructions.take());
        self.metadata = fields.optional::<&Map<_, _>>("metadata")?.cloned().or(self.metadata.take());
        let mut embedding = Some(self.embedding.clone());
        EmbeddingConfig::change(&mut embedding, fields)?;
        self.embedding = embedding.unwrap_or_else(|| self.embedding.clone());
        Ok(())
    }

    /// The folder as clients see it. The order of the keys is Letta's.
    pub(in crate::mock) fn wire(&self) -> Value {
        json!({
            "name": self.name,
            "description": self.description,
            "instructions": self.instructions,
            "metadata": self.metadata,
            "id": self.id,
            "embedding_config": self.embedding.config,
            "organization_id": ORGANIZATION,
            "created_by_id": ACTOR,
            "last_updated_by_id": ACTOR,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        })
    }

    /// The folder as a source, for older clients.
    pub(in crate::mock) fn wire_as_source(&self) -> Value {
        let mut source = self.wire();
        source["vector_db_provider"] = json!("native");
        source
    }
}
