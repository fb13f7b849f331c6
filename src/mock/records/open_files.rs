//! The files of its folders that an agent has accessed, and which of them are open, in whole or in part.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{File, Record, timestamp::Timestamp};
use crate::mock::text::window::Lines;

/// The files that an agent has accessed; all other files of its folders are closed. The record has the agent's id and
/// is deleted with it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(in crate::mock) struct OpenFiles {
    pub(in crate::mock) id: String,
    pub(in crate::mock) touched: Vec<Touched>,
}

/// A file that an agent has accessed.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct Touched {
    pub(in crate::mock) file_id: String,
    pub(in crate::mock) folder_id: String,
    /// `folder/file`, as the agent sees it.
    pub(in crate::mock) name: String,
    pub(in crate::mock) is_open: bool,
    pub(in crate::mock) last_accessed_at: Timestamp,
    /// The lines at which it was opened; `None` for its beginning.
    #[serde(default)]
    pub(in crate::mock) lines: Option<Lines>,
}

/// The visible parts of files that were opened at other lines than their beginning, by file id. The record has the
/// agent's id and is deleted with it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(in crate::mock) struct OpenParts {
    pub(in crate::mock) id: String,
    pub(in crate::mock) shown: HashMap<String, String>,
}

impl Record for OpenParts {
    const KIND: &'static str = "open_parts";
    const NAME: &'static str = "Files";

    fn id(&self) -> &str {
        &self.id
    }
}

impl Record for OpenFiles {
    const KIND: &'static str = "open_files";
    const NAME: &'static str = "Files";

    fn id(&self) -> &str {
        &self.id
    }
}

impl OpenFiles {
    /// The entry of a file.
    pub(in crate::mock) fn of(&self, file_id: &str) -> Option<&Touched> {
        self.touched.iter().find(|touched| touched.file_id == file_id)
    }

    /// Opens a file at its beginning. Where more than `most` are open then, those that were touched longest ago are
    /// closed; returns their names.
    pub(in crate::mock) fn open(&mut self, file: &File, folder_name: &str, most: i64) -> Vec<String> {
        self.open_at(None, file, folder_name, most)
    }

    /// The same at some of its lines.
    pub(in crate::mock) fn open_at(
        &mut self,
        lines: Option<Lines>,
        file: &File,
        folder_name: &str,
        most: i64,
    ) -> Vec<String> {
        self.touched.retain(|touched| touched.file_id != file.id);
        self.touched.push(Touched {
            file_id: file.id.clone(),
            folder_id: file.folder_id.clone(),
            name: format!("{folder_name}/{}", file.name),
            is_open: true,
            last_accessed_at: Timestamp::now(),
            lines,
        });
        // The last touched is the last in the list.
        let open = self.touched.iter().filter(|touched| touched.is_open).count();
        let too_many = open.saturating_sub(usize::try_from(most.max(1)).unwrap_or(usize::MAX));
        let oldest = self.touched.iter_mut().filter(|touched| touched.is_open).take(too_many);
        oldest.map(Touched::close).collect()
    }

    /// Closes a file, if it is open.
    pub(in crate::mock) fn close(&mut self, file_id: &str) {
        if let Some(touched) = self.touched.iter_mut().find(|touched| touched.file_id == file_id) {
            touched.last_accessed_at = Timestamp::now();
            touched.close();
        }
    }

    /// Closes all files and returns the names of those that were open.
    pub(in crate::mock) fn close_all(&mut self) -> Vec<String> {
        self.touched.iter_mut().filter(|touched| touched.is_open).map(Touched::close).collect()
    }
}

impl Touched {
    fn close(&mut self) -> String {
        self.is_open = false;
        self.lines = None;
        self.name.clone()
    }
}

/// The id of an agent's attachment to a file. It is derived from both ids, so that it needs no row; applied to an
/// agent's id and an attachment's, it yields the file's id again. `None` if one of the two is not an id.
pub(in crate::mock) fn attachment_id(agent_id: &str, file_id: &str) -> Option<String> {
    joined(agent_id, "agent-", file_id, "file-").map(|uuid| format!("file_agent-{uuid}"))
}

/// The id of the file of an agent's attachment.
pub(in crate::mock) fn attached_file_id(agent_id: &str, attachment_id: &str) -> Option<String> {
    joined(agent_id, "agent-", attachment_id, "file_agent-").map(|uuid| format!("file-{uuid}"))
}

fn joined(left: &str, left_prefix: &str, right: &str, right_prefix: &str) -> Option<Uuid> {
    /// The fixed bits of a version 4 uuid, and their values.
    const FIXED: u128 = 0xf000_c000_0000_0000_0000;
    const VERSION_4: u128 = 0x4000_8000_0000_0000_0000;
    let uuid = |id: &str, prefix| Uuid::try_parse(id.strip_prefix(prefix)?).ok().map(|uuid| uuid.as_u128());
    let mixed = uuid(left, left_prefix)? ^ uuid(right, right_prefix)?;
    Some(Uuid::from_u128((mixed & !FIXED) | VERSION_4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{access::is_letta_id, entropy};

    fn file(name: &str) -> File {
        File {
            id: format!("file-{name}"),
            folder_id: "source-1".into(),
            name: name.into(),
            original_name: name.into(),
            media_type: "text/plain".into(),
            size: 0,
            chunks: 0,
            created_at: Timestamp::now(),
        }
    }

    #[test]
    fn what_was_touched_longest_ago_makes_room() {
        let mut files = OpenFiles::default();
        assert_eq!(files.open(&file("a"), "f", 2), [] as [&str; 0]);
        assert_eq!(files.open(&file("b"), "f", 2), [] as [&str; 0]);
        assert_eq!(files.open(&file("a"), "f", 2), [] as [&str; 0], "it was open already");
        assert_eq!(files.open(&file("c"), "f", 2), ["f/b"]);
        files.close("file-a");
        assert_eq!(files.open(&file("b"), "f", 2), [] as [&str; 0]);
        assert_eq!(files.close_all(), ["f/c", "f/b"]);
        assert_eq!(files.close_all(), [] as [&str; 0]);
        assert_eq!(files.open(&file("a"), "f", 0), [] as [&str; 0], "one is always open");
    }

    #[test]
    fn an_attachments_id_leads_back_to_its_file() {
        for _ in 0..100 {
            let (agent, file) = (entropy::letta_id("agent"), entropy::letta_id("file"));
            let attachment = attachment_id(&agent, &file).unwrap();
            assert!(is_letta_id(&attachment, "file_agent"), "{attachment}");
            assert_eq!(attached_file_id(&agent, &attachment), Some(file));
        }
        assert_eq!(attached_file_id("agent-1", "file_agent-2"), None);
    }
}
