//! Export and import of agents as agent files.

use std::sync::Arc;

use http::{HeaderValue, Response, header};
use serde_json::{Value, json};

use crate::{
    access::{Call, Operation},
    error::{ApiError, Code},
    mock::{
        agents::file::{self, Export, History, Import, invalid_argument},
        records::{Agent, Conversation, DEFAULT_CONVERSATION},
        resources::{
            models::handles,
            routes::{HandlerResult, Routes},
        },
        state::State,
        storage::{not_found, project_scope::ProjectScope},
        validation::{
            body::{Fields, Location, Read, TextMap},
            form::Form,
        },
    },
    reply::Reply,
    request::{body::Body, json},
    store::transaction,
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ExportAgent, export)
        .on(Operation::ExportAgentWithSkills, export_with_skills)
        .on(Operation::ImportAgent, import)
}

async fn export(state: Arc<State>, call: Call) -> HandlerResult {
    call.query.integer("max_steps")?;
    if call.query.boolean("use_legacy_format")?.unwrap_or(false) {
        return Err(invalid_argument("The legacy format is no longer supported"));
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
                let rule = "a skill needs files that include SKILL.md, or a source_url";
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
    // Indented, because people read these files.
    let text = serde_json::to_vec_pretty(&file).map_err(ApiError::internal)?;
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(Reply::Passed(response))
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
        history: if form.flag("strip_messages")?.unwrap_or(false) { History::Empty } else { History::FromFile },
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
    let imported = transaction!(state.store, tx => {
        file::import(tx, view, &scope, &file, &import, &budget).await
    })?;
    Ok(Reply::ok(json!({"agent_ids": imported.agent_ids})))
}

/// Reads an agent file. Some programs write it as a JSON string that contains the JSON.
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

/// Reads secrets, a field of the form that contains JSON.
fn secrets(text: Option<&str>) -> Result<Vec<(String, String)>, ApiError> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let value: Value =
        json::from_slice(text.as_bytes()).map_err(|_| invalid_argument("secrets must be a JSON object"))?;
    let TextMap(secrets) = TextMap::read(&value, &Location::body().at("secrets"))?;
    Ok(secrets)
}
