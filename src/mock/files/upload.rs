//! The media type and the text of an uploaded file.

use crate::{
    error::{ApiError, Code},
    mock::validation::form::Upload,
};

/// Media types that Letta accepts from clients in addition to those that it derives from endings.
const ALIASES: &[&str] = &["application/jsonl", "application/xml", "text/markdown"];

/// The media types of file endings, as in Letta. A client's media type is refused unless it is here or above.
const ENDINGS: &[(&str, &str)] = &[
    ("bash", "text/x-shellscript"),
    ("bat", "text/x-batch"),
    ("c", "text/x-c"),
    ("cfg", "text/x-conf"),
    ("cmd", "text/x-batch"),
    ("conf", "text/x-conf"),
    ("cpp", "text/x-c++"),
    ("cs", "text/x-csharp"),
    ("css", "text/css"),
    ("csv", "text/csv"),
    ("cxx", "text/x-c++"),
    ("dockerfile", "text/x-dockerfile"),
    ("go", "text/x-go"),
    ("h", "text/x-c"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("ini", "text/x-ini"),
    ("java", "text/x-java-source"),
    ("js", "text/javascript"),
    ("json", "application/json"),
    ("jsonl", "application/x-jsonlines"),
    ("jsx", "text/x-jsx"),
    ("ksh", "text/plain"),
    ("kt", "text/x-kotlin"),
    ("less", "text/x-less"),
    ("m", "text/x-objective-c"),
    ("markdown", "text/markdown"),
    ("md", "text/x-markdown"),
    ("mjs", "text/javascript"),
    ("pdf", "application/pdf"),
    ("php", "text/x-php"),
    ("ps1", "text/x-powershell"),
    ("py", "text/x-python"),
    ("r", "text/x-r"),
    ("rb", "text/x-ruby"),
    ("rs", "text/x-rust"),
    ("sass", "text/x-sass"),
    ("scala", "text/x-scala"),
    ("scss", "text/x-scss"),
    ("sh", "text/x-shellscript"),
    ("sql", "text/x-sql"),
    ("srt", "text/plain"),
    ("swift", "text/x-swift"),
    ("text", "text/plain"),
    ("toml", "application/toml"),
    ("ts", "text/x-typescript"),
    ("tsx", "text/x-tsx"),
    ("txt", "text/plain"),
    ("vue", "text/x-vue"),
    ("xml", "text/xml"),
    ("xpdl", "application/xml"),
    ("yaml", "text/x-yaml"),
    ("yml", "text/x-yaml"),
];

/// The media type of a file: by the name under which it is stored, or else as the client says.
///
/// # Errors
/// 415 if neither the client's media type nor the ending of the original file name is known.
pub(in crate::mock) fn media_type(upload: &Upload, name: &str) -> Result<String, ApiError> {
    let given = upload.media_type.as_deref();
    let is_known =
        given.is_some_and(|given| ALIASES.contains(&given) || ENDINGS.iter().any(|(_, known)| *known == given));
    if !is_known && upload.name.as_deref().and_then(by_ending).is_none() {
        let given: String = given.unwrap_or("unknown").chars().take(100).collect();
        let name: String = name.chars().take(100).collect();
        let detail = format!("Unsupported file type: {name} is {given}");
        return Err(ApiError::letta(Code::UnsupportedMediaType, detail));
    }
    Ok(by_ending(name).or(given).unwrap_or("unknown").to_owned())
}

fn by_ending(name: &str) -> Option<&'static str> {
    let ending = name.rsplit_once('.')?.1.to_ascii_lowercase();
    ENDINGS.iter().find(|(known, _)| *known == ending).map(|(_, media_type)| *media_type)
}

/// The text of a file. For a file that is not text, a sentence that says so.
pub(in crate::mock) fn text(bytes: &[u8], media_type: &str) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text).to_owned(),
        Err(_) if media_type.starts_with("text/") => String::from_utf8_lossy(bytes).into_owned(),
        Err(_) => format!("[{} bytes of {media_type}; the mock reads only text]", bytes.len()),
    }
}

/// Splits a text into passages of about `characters` characters, between words if possible.
pub(in crate::mock) fn pieces(text: &str, characters: usize) -> Vec<&str> {
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
pub(in crate::mock) fn numbered(name: &str, number: usize) -> String {
    match name.rsplit_once('.') {
        Some((base, ending)) if !base.is_empty() => format!("{base}_({number}).{ending}"),
        _ => format!("{name}_({number})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_its_name_says_or_the_client() {
        for (said, uploaded, name, expected) in [
            (Some("text/plain"), "a.bin", "a.bin", Some("text/plain")),
            (Some("text/plain"), "a.txt", "a.jsx", Some("text/x-jsx")),
            (Some("application/octet-stream"), "a.md", "a.md", Some("text/x-markdown")),
            (Some("application/octet-stream"), "a.md", "a", Some("application/octet-stream")),
            (Some("image/png"), "a.txt", "a.txt", Some("text/plain")),
            (None, "A.PDF", "A.PDF", Some("application/pdf")),
            (Some("image/png"), "a.png", "a.txt", None),
            (Some("text/rtf"), "a", "a", None),
            (None, "a", "a", None),
            (None, "", "", None),
        ] {
            let upload = Upload {
                name: Some(uploaded.to_owned()),
                media_type: said.map(str::to_owned),
                bytes: bytes::Bytes::new(),
            };
            assert_eq!(media_type(&upload, name).ok().as_deref(), expected, "{said:?} {uploaded} {name}");
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
