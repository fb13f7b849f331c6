//! Reads seeds from files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Seed, mistake::Mistake, mistake::SeedError, read::Reader, source::Source};

/// What a file of a seed is, by the ending of its name.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Form {
    Toml,
    Json,
    /// One of Letta's agent files.
    Agent,
}

impl Form {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "toml" => Some(Self::Toml),
            "json" => Some(Self::Json),
            "af" => Some(Self::Agent),
            _ => None,
        }
    }
}

impl Seed {
    /// Reads a seed from a file, or from the TOML, JSON and agent files of a folder, in the order of their names.
    ///
    /// # Errors
    /// The first mistake, with its file, line and field; or that a file cannot be read.
    pub(crate) fn load(path: &Path) -> Result<Self, SeedError> {
        let unreadable = |error| unreadable(path, &error);
        let files = if fs::metadata(path).map_err(unreadable)?.is_dir() {
            let mut files = Vec::new();
            for file in fs::read_dir(path).map_err(unreadable)? {
                let file = file.map_err(unreadable)?.path();
                files.extend(Form::of(&file).filter(|_| file.is_file()).map(|form| (file, form)));
            }
            files.sort_by(|(one, _), (other, _)| one.cmp(other));
            if files.is_empty() {
                let sentence = format!("the folder {} has no .toml, .json or .af files", path.display());
                return Err(Mistake { sentence, at: String::new() }.into());
            }
            files
        } else {
            vec![(path.to_owned(), Form::of(path).unwrap_or(Form::Toml))]
        };
        let mut reader = Reader::default();
        for (file, form) in files.iter().filter(|(_, form)| *form != Form::Agent) {
            let text = fs::read_to_string(file).map_err(|error| self::unreadable(file, &error))?;
            let name = file.display().to_string();
            let source = match form {
                Form::Json => Source::json_file(name, text),
                _ => Source::toml_file(name, text),
            };
            reader.read(source, Some(file.parent().unwrap_or(Path::new(""))))?;
        }
        // Last, because a table that names an agent file imports it with the table's fields.
        let named: Vec<PathBuf> = reader.agent_files.iter().filter_map(|path| path.canonicalize().ok()).collect();
        for (file, _) in files.iter().filter(|(_, form)| *form == Form::Agent) {
            if file.canonicalize().is_ok_and(|path| named.contains(&path)) {
                continue;
            }
            let bytes = fs::read(file).map_err(|error| self::unreadable(file, &error))?;
            let reference = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            reader.add_agent_file(file.display().to_string(), reference, bytes);
        }
        Self::of(reader)
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> SeedError {
    Mistake { sentence: format!("cannot read the seed {}: {error}", path.display()), at: String::new() }.into()
}
