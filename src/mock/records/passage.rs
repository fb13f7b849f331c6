//! Passages: pieces of text that are found again, in an archive or in a file.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ACTOR, ORGANIZATION, Record, model::EmbeddingConfig, timestamp::Timestamp};
use crate::{
    access::Written,
    entropy,
    error::ApiError,
    mock::{
        budget::Budget,
        text::{embedding, without_repeats},
        validation::body::Fields,
    },
};

/// A passage as it is stored. Its vector follows from its text.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct Passage {
    pub(in crate::mock) id: String,
    /// The archive it stands in; a passage of a file has none.
    pub(in crate::mock) archive_id: Option<String>,
    pub(in crate::mock) source_id: Option<String>,
    pub(in crate::mock) file_id: Option<String>,
    pub(in crate::mock) file_name: Option<String>,
    pub(in crate::mock) text: String,
    pub(in crate::mock) tags: Vec<String>,
    pub(in crate::mock) metadata: Map<String, Value>,
    pub(in crate::mock) embedding: Option<EmbeddingConfig>,
    pub(in crate::mock) created_at: Timestamp,
    pub(in crate::mock) updated_at: Timestamp,
}

/// What is to be stored as a passage.
#[derive(Clone, Debug)]
pub(in crate::mock) struct NewPassage {
    pub(in crate::mock) text: String,
    pub(in crate::mock) tags: Vec<String>,
    pub(in crate::mock) metadata: Map<String, Value>,
    /// When it says it was created; none: now.
    pub(in crate::mock) created_at: Option<Timestamp>,
}

impl Record for Passage {
    const KIND: &'static str = "passage";
    const NAME: &'static str = "Passage";

    fn id(&self) -> &str {
        &self.id
    }
}

impl NewPassage {
    /// What a request's fields say.
    pub(in crate::mock) fn read(fields: &Fields<'_>) -> Result<Self, ApiError> {
        Ok(Self {
            text: fields.required("text")?,
            tags: fields.optional("tags")?.map(without_repeats).unwrap_or_default(),
            metadata: fields.optional::<&Map<String, Value>>("metadata")?.cloned().unwrap_or_default(),
            created_at: fields.optional("created_at")?,
        })
    }

    /// A text without more.
    pub(in crate::mock) fn of_text(text: &str) -> Self {
        Self { text: text.to_owned(), tags: Vec::new(), metadata: Map::new(), created_at: None }
    }

    /// The passage, which belongs nowhere yet.
    pub(in crate::mock) fn into_passage(self, embedding: Option<EmbeddingConfig>) -> Passage {
        let now = Timestamp::now();
        Passage {
            id: entropy::letta_id(Passage::KIND),
            archive_id: None,
            source_id: None,
            file_id: None,
            file_name: None,
            text: self.text,
            tags: self.tags,
            metadata: self.metadata,
            embedding,
            created_at: self.created_at.unwrap_or(now),
            updated_at: now,
        }
    }
}

impl Passage {
    /// The passage as clients see it.
    pub(in crate::mock) fn wire(&self) -> WirePassage<'_> {
        let vector = self.embedding.as_ref().map(|embedding| embedding::of(&self.text, embedding.dimensions()));
        WirePassage {
            created_by_id: ACTOR,
            last_updated_by_id: ACTOR,
            created_at: self.created_at,
            updated_at: self.updated_at,
            is_deleted: false,
            organization_id: ORGANIZATION,
            archive_id: self.archive_id.as_deref(),
            source_id: self.source_id.as_deref(),
            file_id: self.file_id.as_deref(),
            file_name: self.file_name.as_deref(),
            metadata: &self.metadata,
            tags: &self.tags,
            id: &self.id,
            text: &self.text,
            embedding: vector.map(|vector| vector.into_iter().map(f64::from).collect()),
            embedding_config: self.embedding.as_ref().map(|embedding| &embedding.config),
        }
    }
}

/// Passages as clients see them, written one by one: a vector takes far more room than its text.
///
/// # Errors
/// When they are more than an answer is made of.
pub(in crate::mock) fn write_passages<'a>(
    passages: impl IntoIterator<Item = &'a Passage>,
    budget: &Budget,
) -> Result<Written, ApiError> {
    let mut written = Written::default();
    written.push("[");
    for (number, passage) in passages.into_iter().enumerate() {
        if number > 0 {
            written.push(",");
        }
        write_passage(&passage.wire(), &mut written, budget)?;
    }
    written.push("]");
    Ok(written)
}

/// Writes one of them, or something that holds it.
pub(in crate::mock) fn write_passage(
    passage: &impl Serialize,
    written: &mut Written,
    budget: &Budget,
) -> Result<(), ApiError> {
    /// What a vector counts as. It takes more, but little of that is copied.
    const VECTOR: usize = 8 * 1024;
    budget.charge(VECTOR)?;
    serde_json::to_writer(written, passage).map_err(ApiError::internal)
}

/// A passage as clients see it. The order of the keys is Letta's.
#[derive(Debug, Serialize)]
pub(in crate::mock) struct WirePassage<'a> {
    created_by_id: &'static str,
    last_updated_by_id: &'static str,
    created_at: Timestamp,
    updated_at: Timestamp,
    is_deleted: bool,
    organization_id: &'static str,
    archive_id: Option<&'a str>,
    source_id: Option<&'a str>,
    file_id: Option<&'a str>,
    file_name: Option<&'a str>,
    metadata: &'a Map<String, Value>,
    tags: &'a [String],
    id: &'a str,
    text: &'a str,
    embedding: Option<Vec<f64>>,
    embedding_config: Option<&'a Map<String, Value>>,
}
