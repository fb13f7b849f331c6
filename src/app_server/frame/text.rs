//! The forms of ids, paths and texts in frames.

/// Whether this is the id of a conversation: `default`, or any that the server makes.
pub(super) fn is_conversation_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(is_id_byte)
}

/// Whether this is the id of a message, run or item.
pub(super) fn is_id(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| is_id_byte(byte) || matches!(byte, b':' | b'.'))
}

fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// Whether this is the hash of a commit. Git takes other texts for options.
pub(super) fn is_revision(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Whether this is the path of a Markdown file or image in an agent's memory: no dot files, nothing outside, and neither
/// code (`mods`) nor instructions (`skills`).
pub(super) fn is_memory_path(path: &str) -> bool {
    let mut segments: Vec<&str> = path.split('/').collect();
    let Some(file) = segments.pop() else { return false };
    let starts_well = |text: &str| text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let is_folder = |text: &&str| starts_well(text) && text.bytes().all(is_id_byte);
    let is_file =
        starts_well(file) && file.bytes().all(|byte| is_id_byte(byte) || byte == b'.') && !file.contains("..");
    let (stem, extension) = file.rsplit_once('.').unwrap_or_default();
    path.len() <= 512
        && segments.iter().all(is_folder)
        && is_file
        && !stem.is_empty()
        && matches!(extension, "md" | "png" | "jpg" | "jpeg" | "gif" | "webp")
        && !matches!(segments.first(), Some(&("mods" | "skills")))
}

/// The tags with which the harness speaks to the model, and reports what its own tasks found.
const TAGS: [&str; 2] = ["<system-reminder", "<task-notification"];

/// Where the first tag of the harness begins.
pub(super) fn harness_tag(text: &str) -> Option<usize> {
    memchr::memchr_iter(b'<', text.as_bytes()).find(|start| {
        TAGS.iter().any(|tag| {
            text.as_bytes()[*start..].get(..tag.len()).is_some_and(|found| found.eq_ignore_ascii_case(tag.as_bytes()))
        })
    })
}

/// The longest id that a page may give a message, in characters.
pub(super) const LONGEST_MESSAGE_ID: usize = 128;

/// The ids that one token's pages give their messages are kept apart from those of others by a prefix, since the server
/// runs a message only once for each id. The prefix also tells whose a queued message is.
#[derive(Clone, Debug)]
pub(super) struct MessageIds(String);

const PREFIX: &str = "gl-";
const PREFIX_LENGTH: usize = PREFIX.len() + 32 + 1;

impl MessageIds {
    pub(super) fn of(token: uuid::Uuid) -> Self {
        Self(format!("{PREFIX}{}-", token.simple()))
    }

    /// The id under which the server gets a message.
    pub(super) fn inward(&self, id: &str) -> String {
        // What was forwarded is forwarded unchanged if it is checked once more.
        if id.starts_with(&self.0) { id.to_owned() } else { format!("{}{id}", self.0) }
    }

    /// The id under which the token's page sent a message; `None` if another caller sent it.
    pub(super) fn outward<'a>(&self, id: &'a str) -> Option<&'a str> {
        id.strip_prefix(&self.0)
    }
}

/// An id without the prefix of any token.
pub(super) fn without_prefix(id: &str) -> &str {
    let is_prefix = |prefix: &str| {
        prefix.starts_with(PREFIX)
            && prefix.ends_with('-')
            && prefix[PREFIX.len()..PREFIX_LENGTH - 1].bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    if id.is_char_boundary(PREFIX_LENGTH) && id.get(..PREFIX_LENGTH).is_some_and(is_prefix) {
        &id[PREFIX_LENGTH..]
    } else {
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_path_names_a_text_or_image_inside() {
        for path in ["MEMORY.md", "system/human.md", "a/b_c/d-1.png", "_x.md", "notes.2026.md", "x.webp"] {
            assert!(is_memory_path(path), "{path}");
        }
        for path in [
            "",
            ".md",
            "a",
            "a.txt",
            "a.MD",
            ".git/config",
            ".git/x.md",
            "a/.x.md",
            "../a.md",
            "a/../b.md",
            "a/..md",
            "a..md",
            "/a.md",
            "a//b.md",
            "a/",
            "-a.md",
            "-x/a.md",
            "a b.md",
            "a.b/c.md",
            "mods/a.md",
            "skills/x/a.md",
            "a\\b.md",
            "é.md",
            "a.md\n",
            "a\0.md",
            "--output=x.md",
            "a.md/b",
        ] {
            assert!(!is_memory_path(path), "{path:?}");
        }
        assert!(!is_memory_path(&format!("{}.md", "a".repeat(600))));
    }

    #[test]
    fn a_revision_is_a_hash_and_no_option() {
        assert!(is_revision("382192e") && is_revision(&"0".repeat(64)));
        for text in ["", "382192", "HEAD", "--output=proof", "382192E", "382192e~1", &"0".repeat(65)] {
            assert!(!is_revision(text), "{text}");
        }
    }

    #[test]
    fn a_tag_of_the_harness_is_found_however_it_is_written() {
        for text in ["<system-reminder>", "a <SYSTEM-reminder x='1'>", "<<task-notification>", "é<task-notification"] {
            assert!(harness_tag(text).is_some(), "{text}");
        }
        for text in ["", "<", "<system>", "system-reminder", "</system-reminder>", "< system-reminder>"] {
            assert!(harness_tag(text).is_none(), "{text}");
        }
        assert_eq!(harness_tag("ab<task-notification>"), Some(2));
    }

    #[test]
    fn the_ids_of_messages_are_kept_apart() {
        let (ours, theirs) = (MessageIds::of(uuid::Uuid::from_u128(1)), MessageIds::of(uuid::Uuid::from_u128(2)));
        let inward = ours.inward("cm-1");
        assert_ne!(inward, theirs.inward("cm-1"));
        assert_eq!(ours.inward(&inward), inward);
        assert_eq!((ours.outward(&inward), theirs.outward(&inward), ours.outward("cm-1")), (Some("cm-1"), None, None));
        assert_eq!((without_prefix(&inward), without_prefix("cm-1")), ("cm-1", "cm-1"));
        for id in ["gl-", "é", &"é".repeat(30), &format!("gl-{}-", "g".repeat(32))] {
            assert_eq!(without_prefix(id), id);
        }
    }
}
