//! Applies seeds: one call for each table, handled as if it had arrived over HTTP.

use http::{HeaderValue, Request, header};
use http_body_util::BodyExt;
use memchr::memmem;
use serde_json::{Map, Value, json};

use super::{
    Seed,
    mistake::{Mistake, SeedError},
    read::Entry,
    source::escaped,
    tables::Table,
};
use crate::{
    access::{Operation, RequestContext},
    clock::{self, Millis},
    error::{ApiError, Code},
    http::App,
    request::body::Body,
    world::{Backwards, ClockSettings, Expiry},
};

/// What a seed created.
#[derive(Clone, Debug, Default)]
pub(crate) struct Applied {
    /// The ids of what has a ref, by ref.
    pub(crate) refs: Map<String, Value>,
    /// The tokens, by ref, each as `{"token": ..., "id": ...}`.
    pub(crate) tokens: Map<String, Value>,
}

impl Applied {
    /// As responses show it.
    pub(crate) fn to_json(&self) -> Value {
        json!({"refs": self.refs, "tokens": self.tokens})
    }
}

impl Seed {
    /// Creates everything in a world. With an error, some of it has been created: the caller drops the world.
    ///
    /// # Errors
    /// The first table that a handler refuses.
    pub(crate) async fn apply(&self, app: &App, key: &str) -> Result<Applied, SeedError> {
        Box::pin(create(app, key, Map::new(), self.entries.iter())).await
    }

    /// Whether it has tokens.
    #[must_use]
    pub(crate) fn issues_tokens(&self) -> bool {
        self.entries.iter().any(|entry| entry.table == Table::Token)
    }

    /// Issues its tokens anew in a world that has everything else of it; `refs` are the ids of that. Returns the tokens only.
    ///
    /// # Errors
    /// The first token that the handler refuses.
    pub(crate) async fn issue_tokens(
        &self,
        app: &App,
        key: &str,
        refs: &Map<String, Value>,
    ) -> Result<Applied, SeedError> {
        let tokens = self.entries.iter().filter(|entry| entry.table == Table::Token);
        let mut applied = Box::pin(create(app, key, refs.clone(), tokens)).await?;
        applied.refs.retain(|name, _| applied.tokens.contains_key(name));
        Ok(applied)
    }
}

/// Creates what some tables say.
async fn create(
    app: &App,
    key: &str,
    refs: Map<String, Value>,
    entries: impl Iterator<Item = &Entry>,
) -> Result<Applied, SeedError> {
    let authorization =
        HeaderValue::try_from(format!("Bearer {key}")).map_err(|error| SeedError::Failed(ApiError::internal(error)))?;
    let mut applying = Applying { app, authorization, applied: Applied { refs, ..Applied::default() } };
    // The expiries of a seed are instants of its own clock.
    let as_meant = app.world.as_ref().filter(|world| world.reads_expiry_as_meant());
    let read_expiry = |expiry| {
        as_meant
            .map_or(Ok(()), |world| world.set_clock(ClockSettings { expiry, ..world.clock_settings() }))
            .map_err(|Backwards| SeedError::Failed(ApiError::internal("the clock went back while a seed was applied")))
    };
    read_expiry(Expiry::Literal)?;
    for entry in entries {
        applying.create(entry).await?;
    }
    read_expiry(Expiry::AsMeant)?;
    Ok(applying.applied)
}

/// A seed that is being applied.
struct Applying<'a> {
    app: &'a App,
    authorization: HeaderValue,
    applied: Applied,
}

/// The body of a call.
enum Content {
    Json(Value),
    Form(Form),
}

const INITIAL_MESSAGES: &str = "initial_message_sequence";

impl Applying<'_> {
    async fn create(&mut self, entry: &Entry) -> Result<(), SeedError> {
        let mut fields = self.resolved(entry);
        let passages = fields.shift_remove("passages");
        let archive = fields.shift_remove("archive");
        let content = match &entry.agent_file {
            Some(file) => Content::Form(Form::new(&import_options(&fields), "seed.af", file)),
            None => Content::Json(Value::Object(self.body(entry, fields)?)),
        };
        let created = self.call(entry.row.operation, &[], content).await.map_err(|error| refusal(entry, "", error))?;
        let id = self.id_of(entry, &created)?;
        if let Some(Value::String(archive)) = archive {
            let parameters = [("{agent_id}", id.as_str()), ("{archive_id}", archive.as_str())];
            let attached = self.call(Operation::AttachArchiveToAgent, &parameters, Content::Json(Value::Null)).await;
            attached.map_err(|error| refusal(entry, "/archive", error))?;
        }
        let (operation, parameter) = match entry.table {
            Table::Archive => (Operation::CreatePassageInArchive, "{archive_id}"),
            _ => (Operation::CreatePassage, "{agent_id}"),
        };
        let passages = match passages {
            Some(Value::Array(passages)) => passages,
            _ => Vec::new(),
        };
        for (index, passage) in passages.into_iter().enumerate() {
            let body = if passage.is_string() { json!({"text": passage}) } else { passage };
            let stored = self.call(operation, &[(parameter, &id)], Content::Json(body)).await;
            stored.map_err(|error| refusal(entry, &format!("/passages/{index}"), error))?;
        }
        for (index, file) in entry.files.iter().enumerate() {
            let form = Content::Form(Form::new(&[], &file.name, &file.bytes));
            let stored = self.call(Operation::UploadFileToFolder, &[("{folder_id}", &id)], form).await;
            stored.map_err(|error| refusal(entry, &format!("/files/{index}"), error))?;
        }
        if let Some(reference) = &entry.reference {
            if entry.table == Table::Token {
                let token = json!({"token": created["token"], "id": id});
                self.applied.tokens.insert(reference.clone(), token);
            }
            self.applied.refs.insert(reference.clone(), id.into());
        }
        Ok(())
    }

    /// The fields of a table, with ids in the place of refs.
    fn resolved(&self, entry: &Entry) -> Map<String, Value> {
        let mut fields = Value::Object(entry.fields.clone());
        for (pointer, reference, _) in entry.references() {
            if let (Some(id), Some(place)) = (self.applied.refs.get(reference), fields.pointer_mut(&pointer)) {
                *place = id.clone();
            }
        }
        match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }

    /// The body of Letta's call: fields that only seeds have are written as Letta's.
    fn body(&self, entry: &Entry, mut fields: Map<String, Value>) -> Result<Map<String, Value>, Mistake> {
        if let Some(messages) = fields.shift_remove("messages") {
            fields.insert(INITIAL_MESSAGES.into(), messages);
        }
        if entry.table == Table::Token {
            if let (Some(agent), Some(access)) = (fields.shift_remove("agent"), fields.shift_remove("access")) {
                fields.insert("policy".into(), json!([{"type": "agent", "id": agent, "access": access}]));
            }
            fields.shift_remove("expires_in");
            if let Some(lifetime) = entry.expires_in()? {
                let lifetime = Millis::try_from(lifetime.as_millis()).unwrap_or(Millis::MAX);
                let expires_at = self.app.tokens.clock.now_millis().saturating_add(lifetime);
                fields.insert("expires_at".into(), clock::format_millis(expires_at).into());
            }
        }
        Ok(fields)
    }

    /// The id of what a call has created.
    fn id_of(&self, entry: &Entry, created: &Value) -> Result<String, SeedError> {
        let id = match (entry.table, &entry.agent_file) {
            (Table::Token, _) => {
                let token = created["token"].as_str().unwrap_or_default();
                self.app.tokens.keyring.recognize(token).ok().map(|token| token.id.to_string())
            }
            (_, Some(_)) => created["agent_ids"][0].as_str().map(str::to_owned),
            (_, None) => created["id"].as_str().map(str::to_owned),
        };
        id.ok_or_else(|| SeedError::Failed(ApiError::internal(format!("{} has no id", entry.named()))))
    }

    /// Makes a call as the API key and returns its JSON.
    async fn call(
        &self,
        operation: Operation,
        parameters: &[(&str, &str)],
        content: Content,
    ) -> Result<Value, ApiError> {
        let row = operation.row();
        let path = parameters.iter().fold(row.template.to_owned(), |path, (name, value)| path.replace(name, value));
        let (content_type, bytes) = match content {
            Content::Json(value) => ("application/json".to_owned(), value.to_string().into_bytes()),
            Content::Form(Form { boundary, bytes }) => (format!("multipart/form-data; boundary={boundary}"), bytes),
        };
        let request = Request::builder()
            .method(row.method.clone())
            .uri(path)
            .header(header::HOST, "gatelet")
            .header(header::AUTHORIZATION, self.authorization.clone())
            .header(header::CONTENT_TYPE, content_type)
            .body(())
            .map_err(ApiError::internal)?;
        let mut known = RequestContext::default();
        let respond = self.app.respond(request.into_parts().0, Body::from(bytes), &mut known);
        let (response, _) = match &self.app.world {
            // Each call is a request of its own, from whose place the ids that it draws are derived.
            Some(world) => world.enter(respond).await?,
            None => respond.await?,
        };
        let bytes = response.into_body().collect().await.map_err(ApiError::internal)?.to_bytes();
        serde_json::from_slice(&bytes).map_err(ApiError::internal)
    }
}

/// The refusal of a call. `field` is a pointer to the field of the table that the call was made for; empty: the table.
fn refusal(entry: &Entry, field: &str, error: ApiError) -> SeedError {
    if error.status().is_server_error() {
        return SeedError::Failed(error);
    }
    let message = error.message();
    if error.code() == Code::ValidationFailed
        && let Some((place, problem)) = message.strip_prefix("body.").and_then(|message| message.split_once(": "))
    {
        let place = place.split('.').fold(String::new(), |place, segment| place + "/" + &escaped(segment));
        let place = match place.strip_prefix(&format!("/{INITIAL_MESSAGES}")) {
            Some(rest) if entry.fields.contains_key("messages") => format!("/messages{rest}"),
            _ => place,
        };
        return entry.mistake(&format!("{field}{place}"), problem).into();
    }
    let problem = ["INVALID_ARGUMENT: ", "CONFLICT: "].iter().find_map(|code| message.strip_prefix(code));
    let problem = problem.unwrap_or(message);
    if entry.table == Table::Token {
        let (field, problem) = token_field(entry, problem);
        return entry.mistake(&field, &problem).into();
    }
    entry.mistake(field, problem).into()
}

/// The field that a refusal of a token begins with, as the seed writes it, and the rest of the sentence:
/// `policy[0].access[1] must be ...`.
fn token_field(entry: &Entry, sentence: &str) -> (String, String) {
    let Some((field, rule)) = sentence.split_once(' ') else { return (String::new(), sentence.to_owned()) };
    let pointer = format!("/{}", field.replace('[', "/").replace("].", "/").replace(']', ""));
    let pointer = match pointer.strip_prefix("/policy/0/") {
        Some("id") if entry.fields.contains_key("agent") => "/agent".to_owned(),
        Some(rest) if entry.fields.contains_key("agent") => format!("/{rest}"),
        _ => pointer,
    };
    let name = pointer.split('/').nth(1).unwrap_or_default();
    if entry.row.fields.contains(&name) || entry.row.own.contains(&name) {
        return (pointer, rule.to_owned());
    }
    (String::new(), sentence.to_owned())
}

/// The fields of the form that imports an agent file. Letta adds a suffix to the names in it unless told otherwise; the
/// agent of a seed has the name that its file says.
fn import_options(fields: &Map<String, Value>) -> Vec<(&str, String)> {
    let mut texts = vec![("append_copy_suffix", "false".to_owned())];
    for (name, value) in fields {
        texts.retain(|(present, _)| present != name);
        texts.push((name, value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
    }
    texts
}

/// A multipart form (RFC 7578) with one file.
struct Form {
    boundary: String,
    bytes: Vec<u8>,
}

impl Form {
    fn new(texts: &[(&str, String)], name: &str, file: &[u8]) -> Self {
        let is_free = |boundary: &String| {
            let is_in = |text: &[u8]| memmem::find(text, boundary.as_bytes()).is_some();
            !is_in(file) && !texts.iter().any(|(_, text)| is_in(text.as_bytes()))
        };
        let boundary = (0..=u32::MAX).map(|number| format!("gatelet-seed-{number}")).find(is_free).unwrap_or_default();
        let mut bytes = Vec::with_capacity(file.len() + 1024);
        for (name, text) in texts {
            let head = format!("Content-Disposition: form-data; name=\"{name}\"");
            bytes.extend_from_slice(format!("--{boundary}\r\n{head}\r\n\r\n{text}\r\n").as_bytes());
        }
        // The ending of the name says more, if the mock knows it.
        let head =
            format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: text/plain");
        bytes.extend_from_slice(format!("--{boundary}\r\n{head}\r\n\r\n").as_bytes());
        bytes.extend_from_slice(file);
        bytes.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        Self { boundary, bytes }
    }
}
