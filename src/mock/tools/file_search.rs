//! The file tools: opening files, finding lines by a regular expression, finding passages by words.

use std::{
    collections::HashMap,
    fmt::Write,
    time::{Duration, Instant},
};

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use super::arguments::count;
use crate::{
    error::ApiError,
    mock::{
        budget::{Budget, Overspent, offload, written_length},
        records::{Agent, File, FileText, Folder, Passage, Record, links},
        storage::parse,
        text::{
            terms::Terms,
            window::{self, Lines},
        },
    },
    store::{DocumentFilter, Store},
};

/// The most bytes of a compiled regular expression, the most time of one search, and the most bytes of a line that are
/// searched. The worst case for one line is the product of the first and the last.
const MOST_REGEX_BYTES: usize = 256 * 1024;
const LONGEST_SEARCH: Duration = Duration::from_secs(1);
const LONGEST_LINE: usize = 64 * 1024;

/// The most matches that are shown at once.
const MATCHES: usize = 20;

/// The most lines that are shown before and after a match.
const MOST_CONTEXT: usize = 100;

/// The default and the greatest number of passages.
const PASSAGES: usize = 5;
const MOST_PASSAGES: usize = 100;

/// The most passages that are read at once.
const CHUNK: i64 = 500;

/// A file that a turn has opened.
#[derive(Clone, Debug)]
pub(in crate::mock) struct Opening {
    pub(in crate::mock) file: File,
    pub(in crate::mock) folder_name: String,
    /// Whether all other files are closed first.
    pub(in crate::mock) alone: bool,
    /// The lines at which it was opened, and the window on them; `None` for its beginning.
    pub(in crate::mock) part: Option<(Lines, String)>,
}

/// The files of an agent's folders.
#[derive(Debug)]
pub(super) struct FileSearch<'a> {
    store: &'a Store,
    files: Vec<Seen>,
    /// The most files that the agent opens at once.
    most_opened: usize,
}

/// A file under the name that the agent sees: `folder/file`.
#[derive(Debug)]
struct Seen {
    name: String,
    folder_name: String,
    file: File,
}

/// The result of a tool: a text, or an error message for the model.
type ToolResult<T = String> = Result<T, String>;

/// A file to be opened, its offset and its length.
type Asked<'a> = (&'a Seen, Option<usize>, Option<usize>);

impl<'a> FileSearch<'a> {
    /// The files of an agent, oldest first.
    pub(in crate::mock) async fn of(store: &'a Store, agent: &Agent) -> Result<Self, ApiError> {
        let mut folders = HashMap::new();
        for (_, document) in store.linked_documents(links::AGENT_FOLDER, &[&agent.id], Folder::KIND).await? {
            let folder = parse::<Folder>(document)?.record;
            folders.insert(folder.id, folder.name);
        }
        let documents = DocumentFilter::under_linked(File::KIND, links::AGENT_FOLDER, &agent.id);
        let mut files = Vec::new();
        for document in store.documents(&documents).await? {
            let file = parse::<File>(document)?.record;
            let folder_name = folders.get(&file.folder_id).cloned().unwrap_or_default();
            files.push(Seen { name: format!("{folder_name}/{}", file.name), folder_name, file });
        }
        Ok(Self { store, files, most_opened: usize::try_from(agent.max_files_open).unwrap_or_default() })
    }

    /// Opens files. Returns the text for the model, and the files.
    pub(in crate::mock) async fn open(
        &self,
        arguments: &Map<String, Value>,
        budget: &Budget,
    ) -> Result<ToolResult<(String, Vec<Opening>)>, ApiError> {
        let asked = match self.asked_for(arguments) {
            Ok(asked) => asked,
            Err(problem) => return Ok(Err(problem)),
        };
        let (mut told, mut openings) = (String::new(), Vec::new());
        let draft = budget.draft();
        let alone = arguments.get("close_all_others").and_then(Value::as_bool).unwrap_or_default();
        for (number, (seen, offset, length)) in asked.into_iter().enumerate() {
            let text = self.text(&seen.file).await?;
            let lines = text.lines().count();
            let first = offset.unwrap_or_default();
            if first > 0 && first >= lines {
                return Ok(Err(format!("{} has {lines} lines, so nothing can be shown from {first} on", seen.name)));
            }
            let gap = if told.is_empty() { "" } else { "\n\n" };
            // Writing to a string cannot fail.
            let _ = writeln!(told, "{gap}{} is open. It has {lines} lines:", seen.name);
            offload(text.len(), || number_lines(&text, first, length.unwrap_or(usize::MAX), &mut told, &draft))?;
            // As in Letta, a length alone changes nothing of what the agent sees.
            let part = offset.map(|offset| Lines {
                first: offset.saturating_add(1),
                last: length.map(|length| offset.saturating_add(length)),
            });
            let part =
                part.map(|lines| (lines, offload(text.len(), || window::part(&text, &seen.file.media_type, lines))));
            budget.charge(part.as_ref().map_or(0, |(_, shown)| written_length(shown)))?;
            let (file, folder_name) = (seen.file.clone(), seen.folder_name.clone());
            openings.push(Opening { file, folder_name, alone: alone && number == 0, part });
        }
        Ok(Ok((told, openings)))
    }

    /// The files that a call names, each with its offset and its length in lines.
    fn asked_for(&self, arguments: &Map<String, Value>) -> ToolResult<Vec<Asked<'_>>> {
        let requests = arguments.get("file_requests").and_then(Value::as_array).filter(|asked| !asked.is_empty());
        let requests = requests.ok_or("file_requests must be a list of at least one file")?;
        if requests.len() > self.most_opened {
            return Err(format!("at most {} files can be opened at once, not {}", self.most_opened, requests.len()));
        }
        requests
            .iter()
            .map(|request| {
                let name = request["file_name"].as_str().ok_or("each of file_requests needs a file_name")?;
                let number = |name: &str| match &request[name] {
                    Value::Null => Ok(None),
                    value => match value.as_u64().and_then(|number| usize::try_from(number).ok()) {
                        Some(number) => Ok(Some(number)),
                        None => Err(format!("{name} must be a count of lines")),
                    },
                };
                let length = number("length")?;
                if length == Some(0) {
                    return Err("length must be at least 1".to_owned());
                }
                Ok((self.find(name)?, number("offset")?, length))
            })
            .collect()
    }

    /// Finds a file by its name; without the folder's name if that is unambiguous.
    fn find(&self, name: &str) -> ToolResult<&Seen> {
        let mut found = self.files.iter().filter(|seen| seen.name == name || seen.file.name == name);
        match (found.next(), found.next()) {
            (Some(seen), None) => Ok(seen),
            (Some(_), Some(_)) => Err(format!("several folders have a file '{name}'; say which one: folder/{name}")),
            (None, _) => {
                let names = self.files.iter().map(|seen| seen.name.as_str()).collect::<Vec<_>>().join(", ");
                Err(format!("there is no file '{name}'; the files are: {names}"))
            }
        }
    }

    /// Finds lines by a regular expression.
    pub(in crate::mock) async fn grep(
        &self,
        arguments: &Map<String, Value>,
        budget: &Budget,
    ) -> Result<ToolResult, ApiError> {
        let asked = || -> ToolResult<(Regex, Option<Regex>, usize, usize)> {
            let pattern = arguments.get("pattern").and_then(Value::as_str).filter(|pattern| !pattern.is_empty());
            let pattern = regex("pattern", pattern.ok_or("pattern is missing")?)?;
            let include = match arguments.get("include") {
                None | Some(Value::Null) => None,
                Some(Value::String(include)) => Some(regex("include", include)?),
                Some(_) => return Err("include must be a string".to_owned()),
            };
            Ok((pattern, include, count(arguments, "context_lines", 1)?, count(arguments, "offset", 0)?))
        };
        let (pattern, include, context, offset) = match asked() {
            Ok(asked) => asked,
            Err(problem) => return Ok(Err(problem)),
        };
        let context = context.min(MOST_CONTEXT);
        let (mut found, mut shown, mut count) = (0_usize, String::new(), 0_usize);
        let (draft, begun) = (budget.draft(), Instant::now());
        for seen in self.files.iter().filter(|seen| include.as_ref().is_none_or(|include| include.is_match(&seen.name)))
        {
            let text = self.text(&seen.file).await?;
            let looked_at = offload(text.len(), || {
                for (number, line) in text.lines().enumerate() {
                    if begun.elapsed() > LONGEST_SEARCH {
                        return Ok(false);
                    }
                    if !pattern.is_match(beginning(line, LONGEST_LINE)) {
                        continue;
                    }
                    if (offset..offset.saturating_add(MATCHES)).contains(&found) {
                        let first = number.saturating_sub(context);
                        // Writing to a string cannot fail.
                        let _ = writeln!(shown, "\n\n{}, line {}:", seen.name, number + 1);
                        number_lines(&text, first, number - first + context + 1, &mut shown, &draft)?;
                        count += 1;
                    }
                    found += 1;
                }
                Ok::<_, Overspent>(true)
            })?;
            if !looked_at {
                return Ok(Err("the search takes too long; use a simpler pattern, or include fewer files".to_owned()));
            }
        }
        if count == 0 {
            return Ok(Ok(format!("No more matches; {found} in total.")));
        }
        let last = offset.saturating_add(count);
        let more = if last < found { format!("; continue with offset {last}") } else { String::new() };
        let head = format!("Matches {} to {last} of {found}{more}.", offset.saturating_add(1));
        shown.insert_str(0, &head);
        Ok(Ok(shown))
    }

    /// Finds passages by words.
    pub(in crate::mock) async fn search(
        &self,
        arguments: &Map<String, Value>,
        budget: &Budget,
    ) -> Result<ToolResult, ApiError> {
        let asked = || -> ToolResult<(Terms, usize)> {
            let query = arguments.get("query").and_then(Value::as_str).filter(|query| !query.trim().is_empty());
            Ok((Terms::of(query.ok_or("query is missing")?), count(arguments, "limit", PASSAGES)?))
        };
        let (terms, limit) = match asked() {
            Ok((terms, limit)) => (terms, limit.min(MOST_PASSAGES)),
            Err(problem) => return Ok(Err(problem)),
        };
        let mut found: Vec<(f64, String)> = Vec::new();
        for seen in &self.files {
            let mut passages = DocumentFilter::of_parent(Passage::KIND, &seen.file.id).limit(CHUNK);
            loop {
                let chunk = self.store.documents_chunk(&passages).await?;
                let Some(last) = chunk.last() else { break };
                passages = passages.after(last.seq);
                for document in chunk {
                    let text = parse::<Passage>(document)?.record.text;
                    let score = offload(text.len(), || terms.score(&text));
                    if score > 0.0 {
                        found.push((score, format!("{}:\n{text}", seen.name)));
                    }
                }
                // The sort is stable: of equal scores, the first passage of the first file stays first.
                found.sort_by(|left, right| right.0.total_cmp(&left.0));
                found.truncate(limit);
                budget.draft().charge(found.iter().map(|(_, shown)| shown.len()).sum())?;
            }
        }
        if found.is_empty() {
            return Ok(Ok("No passage matches.".to_owned()));
        }
        Ok(Ok(found.into_iter().map(|(_, shown)| shown).collect::<Vec<_>>().join("\n\n")))
    }

    /// The text of a file in numbered units, as agents know it.
    async fn text(&self, file: &File) -> Result<String, ApiError> {
        let document = self.store.document_if_small(FileText::KIND, &file.id).await?;
        let Some(document) = document else { return Ok(String::new()) };
        let text = parse::<FileText>(document)?.record.text;
        Ok(offload(text.len(), || window::whole(&text, &file.media_type)))
    }
}

/// Writes `count` lines of a text from line `first` on, with their numbers.
fn number_lines(text: &str, first: usize, count: usize, shown: &mut String, budget: &Budget) -> Result<(), Overspent> {
    /// The overhead of a line.
    const NUMBER: usize = 10;
    for (number, line) in text.lines().enumerate().skip(first).take(count) {
        budget.charge(NUMBER + written_length(line))?;
        let gap = if number == first { "" } else { "\n" };
        // Writing to a string cannot fail.
        let _ = write!(shown, "{gap}{}: {line}", number + 1);
    }
    Ok(())
}

/// The first `most` bytes of a text, cut at a character boundary.
fn beginning(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

fn regex(name: &str, pattern: &str) -> ToolResult<Regex> {
    let regex = RegexBuilder::new(pattern).case_insensitive(true).size_limit(MOST_REGEX_BYTES).build();
    regex.map_err(|error| format!("{name} is not a valid regular expression: {error}"))
}
