//! Agents as files: exported and imported.

use std::sync::Arc;

use http::{HeaderValue, Response, header};
use serde_json::{Value, json};

use crate::{
    access::{Call, Operation},
    error::{ApiError, Code},
    mock::{
        agents::{
            create::unusable,
            file::{self, Export, History, Import},
        },
        records::{Agent, Conversation, DEFAULT_CONVERSATION},
        resources::{HandlerResult, Routes, models::handles},
        state::State,
        storage::{documents::not_found, project_scope::ProjectScope},
        validation::{
            body::{Fields, Location, Read, TextMap},
            form::Form,
        },
    },
    reply::Reply,
    request::{body::Body, json},
    store::transaction,
};

pub(in crate::mock) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ExportAgent, export)
        .on(Operation::ExportAgentWithSkills, export_with_skills)
        .on(Operation::ImportAgent, import)
}

async fn export(state: Arc<State>, call: Call) -> HandlerResult {
    call.query.integer("max_steps")?;
    if call.query.boolean("use_legacy_format")?.unwrap_or(false) {
        return Err(unusable("The legacy format is no longer supported"));
    }
    let without_messages = call.query.boolean("scrub_messages")?.unwrap_or(false);
    let conversation_id = call.query.first("conversation_id").map(str::to_owned);
    write(state, call, conversation_id, without_messages, Vec::new()).await
}

async fn export_with_skills(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let (mut conversation_id, mut without_messages, mut skills) = (None, false, Vec::new());
    if let Some(fields) = Fields::of_optional_body(&body)? {
        conversation_id = fields.optional("conversation_id")?;
        without_messages = fields.optional("scrub_messages")?.unwrap_or(false);
        for skill in fields.optional::<Vec<Fields<'_>>>("skills")?.unwrap_or_default() {
            let name: &str = skill.required("name")?;
            let source_url: Option<&str> = skill.optional("source_url")?;
            let files = skill.optional::<TextMap>("files")?.and(skill.value("files"));
            if source_url.is_none() && files.is_none_or(|files| files.get("SKILL.md").is_none()) {
                let rule = "a skill needs files with SKILL.md among them, or a source_url";
                return Err(skill.location().breaks_rule(rule, &Value::Object(skill.map().clone())));
            }
            skills.push(json!({"name": name, "files": files, "source_url": source_url}));
        }
    }
    write(state, call, conversation_id, without_messages, skills).await
}

async fn write(
    state: Arc<State>,
    call: Call,
    conversation_id: Option<String>,
    without_messages: bool,
    skills: Vec<Value>,
) -> HandlerResult {
    let view = state.view(&call.permit);
    let agent = view.get::<Agent>(call.param("agent_id")).await?;
    let conversation = match conversation_id.filter(|id| id != DEFAULT_CONVERSATION) {
        None => None,
        Some(id) => Some(view.get::<Conversation>(&id).await?.record),
    };
    if let Some(conversation) = conversation.as_ref().filter(|found| found.agent_id != agent.record.id) {
        return Err(not_found::<Conversation>(&conversation.id));
    }
    let (id, context) = match &conversation {
        Some(conversation) => (conversation.id.as_str(), &conversation.context),
        None => (DEFAULT_CONVERSATION, &agent.record.context),
    };
    let options = Export { conversation_id: id, context, without_messages, alone: false, skills };
    let file = file::export(view, &agent, options).await?;
    // People read these files, so they are written over several lines.
    let text = serde_json::to_vec_pretty(&file).map_err(ApiError::internal)?;
    let mut answer = Response::new(Body::from(text));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(Reply::Passed(answer))
}

async fn import(state: Arc<State>, mut call: Call) -> HandlerResult {
    let form = Form::read(&mut call).await?;
    let upload = form.file("file")?;
    let text = |current, former| form.text(current).or_else(|| form.text(former)).map(str::to_owned);
    let by_header = call.headers.get("x-override-embedding-model").and_then(|value| value.to_str().ok());
    let import = Import {
        name: text("name", "override_name"),
        with_suffix: form.flag("append_copy_suffix")?.unwrap_or(true),
        overrides_tools: form.flag("override_existing_tools")?.unwrap_or(true),
        history: if form.flag("strip_messages")?.unwrap_or(false) { History::Nothing } else { History::Written },
        model: text("model", "override_model_handle"),
        embedding: text("embedding", "override_embedding_handle").or_else(|| by_header.map(str::to_owned)),
        secrets: secrets(text("secrets", "env_vars_json").as_deref())?,
        ..Import::default()
    };
    let file = read_file(&upload.bytes)?;
    let project = json!({"project_id": form.text("project_id")});
    let scope = ProjectScope::of(&call.permit, &Fields::of_body(&project)?)?;
    handles::check_model(&state, &call.permit, import.model.as_deref()).await?;
    handles::check_embedding(&state, &call.permit, import.embedding.as_deref()).await?;
    let view = state.view(&call.permit);
    let budget = state.budget(upload.bytes.len(), 1);
    let made = transaction!(state.store, tx => {
        let made = file::import(tx, view, &scope, &file, &import, &budget).await?;
        Ok(made)
    })?;
    Ok(Reply::ok(json!({"agent_ids": made.agent_ids})))
}

/// The JSON of a file. Some programs have written it as a text within JSON.
fn read_file(bytes: &[u8]) -> Result<Value, ApiError> {
    let read = |bytes| {
        let corrupted = |_| ApiError::letta(Code::InvalidRequest, "Corrupted agent file format.");
        json::from_slice::<Value>(bytes).map_err(corrupted)
    };
    match read(bytes)? {
        Value::String(text) => read(text.as_bytes()),
        file => Ok(file),
    }
}

/// Secrets, which are JSON within the form.
fn secrets(text: Option<&str>) -> Result<Vec<(String, String)>, ApiError> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let value: Value = json::from_slice(text.as_bytes()).map_err(|_| unusable("secrets must be a JSON object"))?;
    let TextMap(secrets) = TextMap::read(&value, &Location::body().at("secrets"))?;
    Ok(secrets)
}
