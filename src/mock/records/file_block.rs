//! Files of an agent's folders as blocks of its memory: read-only, and created on demand.

use serde::Serialize;

use super::{File, Folder, attachment_id, open_files::Touched, timestamp::Timestamp};

/// A file as an agent sees it.
#[derive(Clone, Debug)]
pub(in crate::mock) struct FileBlock {
    pub(in crate::mock) file_id: String,
    pub(in crate::mock) folder_id: String,
    /// `folder/file`.
    pub(in crate::mock) label: String,
    pub(in crate::mock) is_open: bool,
    pub(in crate::mock) last_accessed_at: Timestamp,
    /// The part of the text that the agent sees; empty if the file is closed.
    pub(in crate::mock) value: String,
    /// The most characters that the agent sees of a file.
    pub(in crate::mock) limit: i64,
}

/// A file as the clients of an agent see it. The order of the keys is Letta's.
#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "Letta's blocks have them")]
pub(super) struct WireFileBlock<'a> {
    value: &'a str,
    limit: i64,
    project_id: (),
    template_name: (),
    is_template: bool,
    template_id: (),
    base_template_id: (),
    deployment_id: (),
    entity_id: (),
    preserve_on_migration: bool,
    label: &'a str,
    read_only: bool,
    description: (),
    metadata: serde_json::Map<String, serde_json::Value>,
    hidden: (),
    id: Option<String>,
    created_by_id: (),
    last_updated_by_id: (),
    tags: [&'a str; 0],
    file_id: &'a str,
    source_id: &'a str,
    is_open: bool,
    last_accessed_at: Timestamp,
}

impl FileBlock {
    /// A file without its text: closed, or not read yet.
    pub(in crate::mock) fn new(folder: &Folder, file: &File, touched: Option<&Touched>, limit: i64) -> Self {
        Self {
            file_id: file.id.clone(),
            folder_id: folder.id.clone(),
            label: format!("{}/{}", folder.name, file.name),
            is_open: touched.is_some_and(|touched| touched.is_open),
            last_accessed_at: touched.map_or(file.created_at, |touched| touched.last_accessed_at),
            value: String::new(),
            limit,
        }
    }

    /// Its approximate size in bytes.
    pub(in crate::mock) fn size(&self) -> usize {
        const MEMBERS: usize = 600;
        MEMBERS + self.label.len() + self.value.len()
    }

    /// The block as clients see it. Its id is derived from the ids of the agent and the file, as the id of the
    /// attachment is.
    pub(super) fn wire(&self, agent_id: &str) -> WireFileBlock<'_> {
        let id = attachment_id(agent_id, &self.file_id);
        WireFileBlock {
            value: &self.value,
            limit: self.limit,
            project_id: (),
            template_name: (),
            is_template: false,
            template_id: (),
            base_template_id: (),
            deployment_id: (),
            entity_id: (),
            preserve_on_migration: false,
            label: &self.label,
            read_only: true,
            description: (),
            metadata: serde_json::Map::new(),
            hidden: (),
            id: id.map(|id| id.replacen("file_agent", "block", 1)),
            created_by_id: (),
            last_updated_by_id: (),
            tags: [],
            file_id: &self.file_id,
            source_id: &self.folder_id,
            is_open: self.is_open,
            last_accessed_at: self.last_accessed_at,
        }
    }
}
