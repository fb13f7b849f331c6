//! What an uploaded file is, and what it says.

use super::multipart::Upload;
use crate::error::{ApiError, Code};

/// What is read beside `text/*`.
const MEDIA_TYPES: &[&str] = &[
    "application/javascript",
    "application/json",
    "application/jsonl",
    "application/pdf",
    "application/rtf",
    "application/sql",
    "application/toml",
    "application/typescript",
    "application/x-javascript",
    "application/x-ndjson",
    "application/x-python-code",
    "application/x-sh",
    "application/x-typescript",
    "application/x-yaml",
    "application/xhtml+xml",
    "application/xml",
    "application/yaml",
];

/// What is known by its name when the client does not say what it is.
const ENDINGS: &[(&str, &str)] = &[
    ("c", "text/x-c"),
    ("cpp", "text/x-c++"),
    ("css", "text/css"),
    ("csv", "text/csv"),
    ("go", "text/x-go"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("java", "text/x-java"),
    ("js", "text/javascript"),
    ("json", "application/json"),
    ("jsonl", "application/jsonl"),
    ("log", "text/plain"),
    ("md", "text/markdown"),
    ("pdf", "application/pdf"),
    ("php", "text/x-php"),
    ("py", "text/x-python"),
    ("rb", "text/x-ruby"),
    ("rs", "text/x-rust"),
    ("sh", "application/x-sh"),
    ("sql", "application/sql"),
    ("toml", "application/toml"),
    ("ts", "application/typescript"),
    ("txt", "text/plain"),
    ("xml", "application/xml"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
];

/// What a file is: as the client says, or as its name does where the client says nothing.
pub(super) fn media_type(upload: &Upload, name: &str) -> Result<String, ApiError> {
    let said = upload.media_type.as_deref().filter(|said| *said != "application/octet-stream");
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
    let known = ENDINGS.iter().find(|(known, _)| *known == ending).map(|(_, media_type)| *media_type);
    match said.or(known) {
        Some(media_type) if media_type.starts_with("text/") || MEDIA_TYPES.contains(&media_type) => {
            Ok(media_type.to_owned())
        }
        other => {
            let shown: String = other.or(upload.media_type.as_deref()).unwrap_or("unknown").chars().take(100).collect();
            let name: String = name.chars().take(100).collect();
            let detail = format!("Unsupported file type: {name} is {shown}");
            Err(ApiError::letta(Code::UnsupportedMediaType, detail))
        }
    }
}

/// What a file says. Of what is no text, the mock reads nothing, and says so in its place.
pub(super) fn text(bytes: &[u8], media_type: &str) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text).to_owned(),
        Err(_) if media_type.starts_with("text/") => String::from_utf8_lossy(bytes).into_owned(),
        Err(_) => format!("[{} bytes of {media_type}; the mock reads texts only]", bytes.len()),
    }
}

/// A text in pieces of about so many characters, cut between words where there are any.
pub(super) fn pieces(text: &str, characters: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let most = rest.char_indices().nth(characters.max(1)).map_or(rest.len(), |(index, _)| index);
        let (beginning, _) = rest.split_at(most);
        let cut = if most == rest.len() { most } else { beginning.rfind(char::is_whitespace).unwrap_or(most) };
        let (piece, remaining) = rest.split_at(if cut == 0 { most } else { cut });
        pieces.push(piece.trim_end());
        rest = remaining.trim_start();
    }
    pieces
}

/// `note.txt` becomes `note_(1).txt`.
pub(super) fn numbered(name: &str, number: usize) -> String {
    match name.rsplit_once('.') {
        Some((base, ending)) if !base.is_empty() => format!("{base}_({number}).{ending}"),
        _ => format!("{name}_({number})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(media_type: Option<&str>) -> Upload {
        Upload { name: None, media_type: media_type.map(str::to_owned), bytes: bytes::Bytes::new() }
    }

    #[test]
    fn a_file_is_what_the_client_says_or_its_name() {
        for (said, name, expected) in [
            (Some("text/plain"), "a.bin", Some("text/plain")),
            (Some("application/octet-stream"), "a.md", Some("text/markdown")),
            (None, "A.PDF", Some("application/pdf")),
            (Some("image/png"), "a.txt", None),
            (None, "a", None),
            (None, "", None),
        ] {
            assert_eq!(media_type(&upload(said), name).ok().as_deref(), expected, "{said:?} {name}");
        }
    }

    #[test]
    fn pieces_are_the_text_without_the_space_between() {
        for (text, expected) in [
            ("", vec![]),
            ("   ", vec![]),
            ("short", vec!["short"]),
            ("one two three", vec!["one", "two", "three"]),
            ("äöüßabcdef", vec!["äöüßa", "bcdef"]),
            ("a b c d", vec!["a b", "c d"]),
        ] {
            assert_eq!(pieces(text, 5), expected, "{text}");
        }
        assert_eq!(pieces("ab", 0), ["a", "b"]);
    }

    #[test]
    fn what_is_no_text_is_named() {
        assert_eq!(text("\u{feff}ä".as_bytes(), "text/plain"), "ä");
        assert_eq!(text(b"\xff", "text/plain"), "\u{fffd}");
        assert!(text(b"\xff", "application/pdf").contains("1 bytes of application/pdf"));
    }

    #[test]
    fn numbers_stand_before_the_ending() {
        for (name, expected) in
            [("a.txt", "a_(2).txt"), ("a.tar.gz", "a.tar_(2).gz"), ("a", "a_(2)"), (".env", ".env_(2)")]
        {
            assert_eq!(numbered(name, 2), expected);
        }
    }
}
