//! Files in folders. The text of a file is a document of its own, so that lists need not read it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ORGANIZATION, Record, timestamp::Timestamp};

/// A file.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct File {
    pub(in crate::mock) id: String,
    pub(in crate::mock) folder_id: String,
    /// Its name, unique within the folder.
    pub(in crate::mock) name: String,
    /// The name it was uploaded with.
    pub(in crate::mock) original_name: String,
    pub(in crate::mock) media_type: String,
    /// In bytes.
    pub(in crate::mock) size: i64,
    /// The number of its passages.
    pub(in crate::mock) chunks: i64,
    pub(in crate::mock) created_at: Timestamp,
}

/// The text of a file; it has the file's id and belongs to it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct FileText {
    pub(in crate::mock) id: String,
    pub(in crate::mock) text: String,
}

/// The most that an agent sees of a file; it has the file's id and belongs to it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct FileView {
    pub(in crate::mock) id: String,
    pub(in crate::mock) shown: String,
}

/// How long a file is shown as being parsed, and then as being embedded, in milliseconds. Nothing happens in that time:
/// clients poll, and see the states that a real server shows.
const PARSING_MILLIS: i64 = 100;
const EMBEDDING_MILLIS: i64 = 100;

impl Record for File {
    const KIND: &'static str = "file";
    const NAME: &'static str = "File";

    fn id(&self) -> &str {
        &self.id
    }
}

impl Record for FileText {
    const KIND: &'static str = "file_text";
    const NAME: &'static str = "File";

    fn id(&self) -> &str {
        &self.id
    }
}

impl Record for FileView {
    const KIND: &'static str = "file_view";
    const NAME: &'static str = "File";

    fn id(&self) -> &str {
        &self.id
    }
}

impl File {
    /// The time from the upload until a file is ready, in milliseconds.
    pub(super) const PROCESSING_MILLIS: i64 = PARSING_MILLIS + EMBEDDING_MILLIS;

    /// The file as clients see it, under `name`, with its text if `text` is given. The order of the keys is Letta's.
    pub(in crate::mock) fn wire(&self, name: &str, text: Option<&str>) -> Value {
        let (status, total, embedded) = match self.created_at.elapsed_millis() {
            ..PARSING_MILLIS => ("parsing", None, None),
            PARSING_MILLIS..Self::PROCESSING_MILLIS => ("embedding", Some(self.chunks), Some(0)),
            _ => ("completed", Some(self.chunks), Some(self.chunks)),
        };
        json!({
            "source_id": self.folder_id,
            "file_name": name,
            "original_file_name": self.original_name,
            "file_path": null,
            "file_type": self.media_type,
            "file_size": self.size,
            "file_creation_date": null,
            "file_last_modified_date": null,
            "processing_status": status,
            "error_message": null,
            "total_chunks": total,
            "chunks_embedded": embedded,
            "content": text,
            "id": self.id,
            "organization_id": ORGANIZATION,
            "created_at": self.created_at,
            "updated_at": self.created_at,
        })
    }
}
