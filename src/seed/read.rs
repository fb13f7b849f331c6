//! Reads the tables of seeds: their form and their fields, not what Letta's own rules say about the values.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::{Map, Value};

use super::{
    mistake::Mistake,
    source::{Source, dotted, escaped},
    tables::{IMPORTED_AGENT, Row, Table},
};
use crate::world::ClockRequest;

/// What the files of a seed hold, as far as they are read.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) clock: Option<ClockRequest>,
    pub(super) script: Option<PathBuf>,
    pub(super) entries: Vec<Entry>,
    /// The agent files that tables name.
    pub(super) agent_files: Vec<PathBuf>,
}

/// A table of a seed.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) table: Table,
    pub(super) row: &'static Row,
    pub(super) reference: Option<String>,
    /// The fields as they are written, without `ref` and files.
    pub(super) fields: Map<String, Value>,
    /// The agent file to import.
    pub(super) agent_file: Option<Vec<u8>>,
    /// The files of a folder.
    pub(super) files: Vec<File>,
    source: Arc<Source>,
    pointer: String,
}

/// A file of a folder.
#[derive(Debug)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

impl Reader {
    /// Reads a seed. Files that it names are in `folder`; without one, it must not name any.
    pub(super) fn read(&mut self, source: Source, folder: Option<&Path>) -> Result<(), Mistake> {
        let source = Arc::new(source);
        let Value::Object(root) = source.parse()? else {
            return Err(source.mistake("", "a seed is a table with clock, script and lists of tables"));
        };
        for (name, value) in root {
            let pointer = format!("/{}", escaped(&name));
            match name.as_str() {
                "clock" => self.read_clock(&source, value)?,
                "script" => self.read_script(&source, &value, folder)?,
                name => {
                    let Some(table) = Table::ALL.into_iter().find(|table| table.row().name == name) else {
                        let known = Table::ALL.map(|table| table.row().name).join(", ");
                        let problem = format!("{name}: a seed has no such table; it has clock, script, {known}");
                        return Err(source.mistake(&pointer, &problem));
                    };
                    let Value::Array(tables) = value else {
                        let problem = format!("{name} must be a list of tables: [[{name}]] in TOML, an array in JSON");
                        return Err(source.mistake(&pointer, &problem));
                    };
                    for (index, value) in tables.into_iter().enumerate() {
                        self.read_table(&source, table, index, value, folder)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds an agent file that no table names.
    pub(super) fn add_agent_file(&mut self, name: String, reference: String, bytes: Vec<u8>) {
        self.entries.push(Entry {
            table: Table::Agent,
            row: &IMPORTED_AGENT,
            reference: Some(reference),
            fields: Map::new(),
            agent_file: Some(bytes),
            files: Vec::new(),
            source: Arc::new(Source::whole_file(name)),
            pointer: String::new(),
        });
    }

    fn read_clock(&mut self, source: &Source, value: Value) -> Result<(), Mistake> {
        let mistake = |problem: &str| source.mistake("/clock", &format!("clock: {problem}"));
        let clock = serde_json::from_value(value).map_err(|error| mistake(&error.to_string()))?;
        if self.clock.replace(clock).is_some() {
            return Err(mistake("another file of the seed sets the clock too"));
        }
        Ok(())
    }

    fn read_script(&mut self, source: &Source, value: &Value, folder: Option<&Path>) -> Result<(), Mistake> {
        let mistake = |problem: &str| source.mistake("/script", &format!("script: {problem}"));
        let path = value.as_str().ok_or_else(|| mistake("must be the path of a script"))?;
        let folder = folder.ok_or_else(|| mistake(NO_FILES))?;
        if self.script.replace(folder.join(path)).is_some() {
            return Err(mistake("another file of the seed names a script too"));
        }
        Ok(())
    }

    fn read_table(
        &mut self,
        source: &Arc<Source>,
        table: Table,
        index: usize,
        value: Value,
        folder: Option<&Path>,
    ) -> Result<(), Mistake> {
        let pointer = format!("/{}/{index}", table.row().name);
        let Value::Object(mut fields) = value else {
            let problem = format!("{} must be a list of tables", table.row().name);
            return Err(source.mistake(&pointer, &problem));
        };
        // In JSON, null means absent, as in Letta's bodies.
        fields.retain(|_, value| !value.is_null());
        let reference = fields.shift_remove("ref");
        let is_imported = table == Table::Agent && (fields.contains_key("file") || fields.contains_key("agent_file"));
        let row = if is_imported { &IMPORTED_AGENT } else { table.row() };
        let source = Arc::clone(source);
        let mut entry =
            Entry { table, row, reference: None, fields, agent_file: None, files: Vec::new(), source, pointer };
        entry.read_reference(reference)?;
        entry.check_fields()?;
        if let Some(path) = entry.read_file(folder)? {
            self.agent_files.push(path);
        }
        match table {
            Table::Agent | Table::Archive => entry.check_conversation()?,
            Table::Folder => entry.read_files(folder)?,
            Table::Token => entry.check_token()?,
            _ => {}
        }
        self.entries.push(entry);
        Ok(())
    }
}

const NO_FILES: &str = "files are read only for a seed that is given by --seed";

impl Entry {
    /// A mistake in one of its fields; `field` is a pointer from the table, empty for the table itself.
    pub(super) fn mistake(&self, field: &str, problem: &str) -> Mistake {
        let named = self.named();
        let problem = match dotted(field).as_str() {
            "" => format!("{named}: {problem}"),
            field => format!("{named}: {field}: {problem}"),
        };
        self.source.mistake(&format!("{}{field}", self.pointer), &problem)
    }

    /// What it is, for sentences: `agent "helper"`, or `agent 2` without a ref.
    pub(super) fn named(&self) -> String {
        match (&self.reference, self.pointer.rsplit_once('/').and_then(|(_, index)| index.parse::<usize>().ok())) {
            (Some(reference), _) => format!("{} \"{reference}\"", self.row.name),
            (None, Some(index)) => format!("{} {}", self.row.name, index + 1),
            (None, None) => self.row.name.to_owned(),
        }
    }

    /// Where it is written, for sentences.
    pub(super) fn place(&self) -> String {
        self.source.place(&self.pointer)
    }

    /// Its texts that are ids or refs: the pointer, the text, and what it names.
    pub(super) fn references(&self) -> Vec<(String, &str, Table)> {
        let mut found = Vec::new();
        for (field, table) in self.row.references {
            match self.fields.get(*field) {
                Some(Value::String(text)) => found.push((format!("/{field}"), text.as_str(), *table)),
                Some(Value::Array(items)) => found.extend(
                    items
                        .iter()
                        .enumerate()
                        .filter_map(|(index, item)| Some((format!("/{field}/{index}"), item.as_str()?, *table))),
                ),
                _ => {}
            }
        }
        if self.table == Table::Token
            && let Some(Value::Array(policy)) = self.fields.get("policy")
        {
            found.extend(policy.iter().enumerate().filter_map(|(index, item)| {
                Some((format!("/policy/{index}/id"), item.get("id")?.as_str()?, Table::Agent))
            }));
        }
        found
    }

    fn read_reference(&mut self, reference: Option<Value>) -> Result<(), Mistake> {
        const LONGEST: usize = 64;
        let Some(reference) = reference else { return Ok(()) };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        match reference {
            Value::String(text) if (1..=LONGEST).contains(&text.len()) && text.bytes().all(is_plain) => {
                self.reference = Some(text);
                Ok(())
            }
            _ => Err(self.mistake("/ref", "must be 1 to 64 letters, digits, '-', '_' or '.'")),
        }
    }

    /// Refuses fields that neither Letta nor the seed knows: Letta ignores some, and a typo must not pass.
    fn check_fields(&self) -> Result<(), Mistake> {
        let row = self.row;
        let is_known = |name: &str| row.fields.contains(&name) || row.own.contains(&name);
        if let Some(name) = self.fields.keys().find(|name| !is_known(name)) {
            return Err(self.mistake(&format!("/{}", escaped(name)), &format!("{} has no such field", row.one)));
        }
        for (list, known) in row.nested {
            let Some(Value::Array(items)) = self.fields.get(*list) else { continue };
            for (index, item) in items.iter().enumerate() {
                let unknown =
                    item.as_object().and_then(|item| item.keys().find(|name| !known.contains(&name.as_str())));
                if let Some(name) = unknown {
                    let problem = format!("there is no such field here; the fields are {}", known.join(", "));
                    return Err(self.mistake(&format!("/{list}/{index}/{}", escaped(name)), &problem));
                }
            }
        }
        Ok(())
    }

    /// Reads the file of a tool or an agent. Returns the path of an agent file.
    fn read_file(&mut self, folder: Option<&Path>) -> Result<Option<PathBuf>, Mistake> {
        if let Some(file) = self.fields.shift_remove("agent_file") {
            if self.fields.contains_key("file") {
                return Err(self.mistake("/file", "give either file or agent_file"));
            }
            if !file.is_object() {
                return Err(self.mistake("/agent_file", "must be the content of an agent file"));
            }
            self.agent_file = Some(file.to_string().into_bytes());
            return Ok(None);
        }
        let Some(file) = self.fields.shift_remove("file") else { return Ok(None) };
        let Value::String(file) = file else { return Err(self.mistake("/file", "must be a path")) };
        let Some(folder) = folder else {
            let instead = if self.table == Table::Agent { "agent_file" } else { "source_code" };
            return Err(self.mistake("/file", &format!("{NO_FILES}; give {instead} instead")));
        };
        let path = folder.join(&file);
        let unreadable = |error| self.mistake("/file", &unreadable(&path, &error));
        if self.table == Table::Agent {
            self.agent_file = Some(fs::read(&path).map_err(unreadable)?);
            return Ok(Some(path));
        }
        if self.fields.contains_key("source_code") {
            return Err(self.mistake("/file", "give either file or source_code"));
        }
        let text = fs::read_to_string(&path).map_err(unreadable)?;
        if path.extension().is_some_and(|extension| extension == "ts") {
            self.fields.entry("source_type").or_insert_with(|| "typescript".into());
        }
        self.fields.insert("source_code".into(), text.into());
        Ok(None)
    }

    /// Reads the files of a folder.
    fn read_files(&mut self, folder: Option<&Path>) -> Result<(), Mistake> {
        let Some(files) = self.fields.shift_remove("files") else { return Ok(()) };
        let Value::Array(files) = files else {
            return Err(self.mistake("/files", "must be a list of paths or of tables with name and text"));
        };
        for (index, file) in files.into_iter().enumerate() {
            let pointer = format!("/files/{index}");
            let file = match (&file, &file["name"], &file["text"]) {
                (Value::String(path), ..) => {
                    let Some(folder) = folder else {
                        return Err(self.mistake(&pointer, &format!("{NO_FILES}; give name and text instead")));
                    };
                    let path = folder.join(path);
                    let bytes = fs::read(&path).map_err(|error| self.mistake(&pointer, &unreadable(&path, &error)))?;
                    File { name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(), bytes }
                }
                (_, Value::String(name), Value::String(text)) => {
                    File { name: name.clone(), bytes: text.clone().into() }
                }
                _ => return Err(self.mistake(&pointer, "must be a path, or a table with name and text")),
            };
            if file.name.is_empty() || file.name.contains(['/', '\\', '"']) || file.name.contains(char::is_control) {
                return Err(self.mistake(&format!("{pointer}/name"), "must be a file name without quotes and slashes"));
            }
            self.files.push(file);
        }
        Ok(())
    }

    fn check_conversation(&self) -> Result<(), Mistake> {
        if self.fields.contains_key("messages") && self.fields.contains_key("initial_message_sequence") {
            return Err(self.mistake("/messages", "give either messages or initial_message_sequence"));
        }
        if self.fields.get("archive").is_some_and(|archive| !archive.is_string()) {
            return Err(self.mistake("/archive", "must be the ref of an archive"));
        }
        let Some(passages) = self.fields.get("passages") else { return Ok(()) };
        let Value::Array(passages) = passages else {
            return Err(self.mistake("/passages", "must be a list of texts or of tables"));
        };
        match passages.iter().position(|passage| !passage.is_string() && !passage.is_object()) {
            Some(index) => Err(self.mistake(&format!("/passages/{index}"), "must be a text or a table")),
            None => Ok(()),
        }
    }

    fn check_token(&self) -> Result<(), Mistake> {
        let has = |name: &str| self.fields.contains_key(name);
        if self.reference.is_none() {
            return Err(self.mistake("/ref", "a token needs a ref, by which it is found"));
        }
        match (has("policy"), has("agent"), has("access")) {
            (true, false, false) | (false, true, true) => {}
            (true, ..) => return Err(self.mistake("/policy", "give either policy, or agent and access")),
            (false, true, false) => return Err(self.mistake("", "access: must be given with agent")),
            (false, ..) => return Err(self.mistake("", "agent: must be given, with access, or else a policy")),
        }
        if has("agent") && !self.fields["agent"].is_string() {
            return Err(self.mistake("/agent", "must be the ref of an agent"));
        }
        if has("expires_at") && has("expires_in") {
            return Err(self.mistake("/expires_in", "give either expires_at or expires_in"));
        }
        self.expires_in().map(drop)
    }

    /// How long a token lives, if the seed says it so.
    pub(super) fn expires_in(&self) -> Result<Option<Duration>, Mistake> {
        let Some(value) = self.fields.get("expires_in") else { return Ok(None) };
        let duration = value.as_str().and_then(|text| humantime::parse_duration(text).ok());
        let duration = duration.filter(|duration| !duration.is_zero());
        duration.map(Some).ok_or_else(|| self.mistake("/expires_in", "must be a duration such as \"5m\""))
    }
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}
