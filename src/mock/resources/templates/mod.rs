//! Templates: made, listed, changed, saved in versions and rolled back. Each route exists with the project in its path and
//! without, where the request's project is meant.

pub(super) mod agents;

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::{HandlerResult, Routes};
use crate::{
    access::{Call, Operation},
    error::{ApiError, Code},
    mock::{
        agents::file::{self, Export},
        pagination::{cursor::Window, list::Listing},
        records::{Agent, DEFAULT_CONVERSATION, Record, Template, TemplateVersion, claims, project_slug},
        state::State,
        storage::documents::{Stored, View, claim, holder, insert, release, update},
        validation::body::Fields,
    },
    model::Project,
    reply::Reply,
    store::{DocumentFilter, Tx, transaction},
};

const AGENTS_STAY: &str = "Agents that were made from it earlier stay as they are.";

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ListTemplates, list)
        .on(Operation::CreateTemplate, create)
        .on(Operation::CreateTemplateNoProject, create)
        .on(Operation::ListTemplateVersions, versions)
        .state_only(Operation::SaveTemplateVersion, save, AGENTS_STAY)
        .state_only(Operation::SaveTemplateVersionNoProject, save, AGENTS_STAY)
        .on(Operation::DeleteTemplate, delete)
        .on(Operation::DeleteTemplateNoProject, delete)
        .on(Operation::UpdateCurrentTemplateFromAgentFile, update_from_file)
        .on(Operation::UpdateCurrentTemplateFromAgentFileNoProject, update_from_file)
        .on(Operation::UpdateTemplateDescription, describe)
        .on(Operation::RenameTemplate, rename)
        .on(Operation::RollbackTemplate, roll_back)
        .on(Operation::RollbackTemplateNoProject, roll_back)
        .on(Operation::ForkTemplate, fork)
}

const DEFAULT_LIMIT: usize = 20;

/// The project in the path, or the one that the request acts in.
pub(super) fn project(call: &Call) -> Result<Project, ApiError> {
    let Some(named) = call.params.find("project_id") else { return Ok(call.permit.project().clone()) };
    let project = named.parse::<Project>().ok().filter(|project| call.permit.reaches(project.as_str()));
    project.ok_or_else(|| missing("Project", named))
}

/// The name in the path; where the path names a version, `name:version` taken apart.
pub(super) fn name(call: &Call) -> (&str, Option<&str>) {
    if let Some(named) = call.params.find("template_version") {
        return match named.rsplit_once(':') {
            Some((name, version)) => (name, Some(version)),
            None => (named, None),
        };
    }
    (call.params.find("template_name").unwrap_or_else(|| call.param("name")), None)
}

/// The template in the path.
pub(super) async fn find(view: View<'_>, call_name: &str, project: &Project) -> Result<Stored<Template>, ApiError> {
    let found = match holder(view.store(), claims::TEMPLATE, project.as_str(), call_name).await? {
        Some(id) => view.find::<Template>(&id).await?,
        None => None,
    };
    found.ok_or_else(|| missing("Template", call_name))
}

/// The version of a template that a word names; none: what is worked on.
pub(super) async fn version(
    view: View<'_>,
    template: &Template,
    word: Option<&str>,
) -> Result<Option<TemplateVersion>, ApiError> {
    let number = match word {
        Some("current") => return Ok(None),
        None | Some("latest") => template.latest,
        Some(word) => word.parse().map_err(|_| missing("Version", word))?,
    };
    let versions = DocumentFilter::of_parent(TemplateVersion::KIND, &template.id);
    let versions = Listing::<TemplateVersion>::of(versions).all(view, |version| version.number == number).await?;
    let found = versions.into_iter().next().map(|version| version.record);
    found.map(Some).ok_or_else(|| missing("Version", &number.to_string()))
}

pub(super) fn missing(class: &str, name: &str) -> ApiError {
    let name: String = name.chars().take(100).collect();
    ApiError::letta(Code::NotFound, format!("{class} {name} not found"))
}

fn refused(problem: impl Into<Value>) -> ApiError {
    ApiError::letta(Code::InvalidRequest, problem)
}

async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let query = &call.query;
    let window = Window::read(query, DEFAULT_LIMIT)?;
    let by_creation = query.one_of("sort_by", &["updated_at", "created_at"])? == Some("created_at");
    let exact = query.boolean("exact")?.unwrap_or(false);
    let (id, version) = (query.first("template_id"), query.first("version"));
    let name = query.first("name").map(str::to_lowercase);
    let search = query.first("search").map(str::to_lowercase);
    let named = query.first("project_id").or(query.first("project_slug"));
    let project = named.unwrap_or(call.permit.project().as_str());
    let accepts = |template: &Template| {
        let present = template.name.to_lowercase();
        let fits = |wanted: &String| if exact { present == *wanted } else { present.contains(wanted.as_str()) };
        id.is_none_or(|id| template.id == id)
            && version.is_none_or(|version| template.latest.to_string() == version)
            && name.as_ref().is_none_or(fits)
            && search.as_ref().is_none_or(|text| present.contains(text.as_str()))
    };
    let documents = DocumentFilter::of_project(Template::KIND, project);
    let mut templates = Listing::<Template>::of(documents).all(state.view(&call.permit), accepts).await?;
    templates.reverse();
    if !by_creation {
        templates.sort_by_key(|template| std::cmp::Reverse(template.record.updated_at));
    }
    let (templates, has_next_page) = window.cut(templates);
    let templates: Vec<Value> = templates.iter().map(|template| template.record.wire()).collect();
    Ok(Reply::ok(json!({"templates": templates, "has_next_page": has_next_page})))
}

/// From an agent or from an agent file. The first version is saved at once.
async fn create(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    let project = project(&call)?;
    let view = state.view(&call.permit);
    let wanted: Option<String> = fields.optional("name")?;
    fields.required::<&str>("type")?;
    let (file, name) = match fields.one_of("type", &["agent", "agent_file"])? {
        Some("agent") => {
            let agent = view.get::<Agent>(fields.required("agent_id")?).await?;
            let context = &agent.record.context;
            let options = Export {
                conversation_id: DEFAULT_CONVERSATION,
                context,
                without_messages: true,
                alone: true,
                skills: Vec::new(),
            };
            let file = file::export(view, &agent, options).await?;
            (file.to_string(), project_slug(&agent.record.name))
        }
        _ => {
            fields.optional::<bool>("update_existing_tools")?;
            let file = checked_file(&fields, "agent_file")?;
            (file, "template".to_owned())
        }
    };
    let template = transaction!(state.store, tx => {
        let name = wanted.as_ref().unwrap_or(&name).clone();
        store(tx, &project, Template::new(project.as_str(), name, file.clone()), wanted.is_some()).await
    })?;
    Ok(Reply::Json(StatusCode::CREATED, template.wire()))
}

/// Stores a new template with its first version. A name that is taken is refused where it was asked for, else changed.
async fn store(tx: &mut Tx, project: &Project, mut template: Template, asked: bool) -> Result<Template, ApiError> {
    check_name(&template.name)?;
    let base = template.name.clone();
    let mut number = 1;
    while claim(tx, claims::TEMPLATE, project.as_str(), &template.name, &template.id).await?.is_some() {
        if asked {
            return Err(refused(format!("A template with the name '{base}' already exists")));
        }
        number += 1;
        template.name = format!("{base}-{number}");
    }
    let version = template.save(None);
    insert(tx, project.as_str(), None, &template).await?;
    insert(tx, project.as_str(), Some(&template.id), &version).await?;
    Ok(template)
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.len() <= 200 && name.bytes().all(fits) {
        return Ok(());
    }
    Err(refused("A template's name has 1 to 200 characters of a-z, A-Z, 0-9, _ and -"))
}

/// An agent file in a request, which must at least name agents.
fn checked_file(fields: &Fields<'_>, name: &str) -> Result<String, ApiError> {
    let file: Fields<'_> = fields.required(name)?;
    file.required::<Vec<Fields<'_>>>("agents")?;
    Ok(Value::Object(file.map().clone()).to_string())
}

async fn versions(state: Arc<State>, call: Call) -> HandlerResult {
    let window = Window::read(&call.query, DEFAULT_LIMIT)?;
    let view = state.view(&call.permit);
    let template = find(view, name(&call).0, &project(&call)?).await?.record;
    let versions = DocumentFilter::of_parent(TemplateVersion::KIND, &template.id);
    let mut versions = Listing::<TemplateVersion>::of(versions).all(view, |_| true).await?;
    versions.reverse();
    let total = versions.len();
    let (versions, has_next_page) = window.cut(versions);
    let versions: Vec<Value> = versions.iter().map(|version| version.record.wire(template.latest)).collect();
    Ok(Reply::ok(json!({"versions": versions, "has_next_page": has_next_page, "total_count": total})))
}

async fn save(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let mut message = None;
    if let Some(fields) = Fields::of_optional_body(&body)? {
        message = fields.optional("message")?;
        for flag in [
            "preserve_environment_variables_on_migration",
            "preserve_core_memories_on_migration",
            "preserve_sources_on_migration",
            "migrate_agents",
        ] {
            fields.optional::<bool>(flag)?;
        }
        fields.one_of("block_reconciliation_strategy", &["reconcile-all", "preserve-deleted"])?;
    }
    let view = state.view(&call.permit);
    let project = project(&call)?;
    let id = find(view, name(&call).0, &project).await?.record.id;
    let template = transaction!(state.store, tx => {
        let mut template = view.get_for_update::<Template>(tx, &id).await?.record;
        let version = template.save(message.clone());
        insert(tx, project.as_str(), Some(&template.id), &version).await?;
        update(tx, &template).await?;
        Ok(template)
    })?;
    Ok(Reply::ok(template.wire()))
}

async fn delete(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let id = find(view, name(&call).0, &project(&call)?).await?.record.id;
    transaction!(state.store, tx => {
        let template = view.get_for_update::<Template>(tx, &id).await?.record;
        Ok(tx.delete_document(Template::KIND, &template.id).await?)
    })?;
    Ok(Reply::ok(json!({"success": true})))
}

async fn update_from_file(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    fields.optional::<bool>("update_existing_tools")?;
    let saves_first = fields.optional::<bool>("save_existing_changes")?.unwrap_or(false);
    let file = checked_file(&fields, "agent_file_json")?;
    let view = state.view(&call.permit);
    let project = project(&call)?;
    let id = find(view, name(&call).0, &project).await?.record.id;
    transaction!(state.store, tx => {
        let mut template = view.get_for_update::<Template>(tx, &id).await?.record;
        if saves_first {
            let version = template.save(None);
            insert(tx, project.as_str(), Some(&template.id), &version).await?;
        }
        template.set_current(file.clone());
        update(tx, &template).await
    })?;
    Ok(Reply::ok(json!({"success": true})))
}

async fn describe(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    let description: Option<String> = fields.optional("description")?;
    let view = state.view(&call.permit);
    let id = find(view, name(&call).0, &project(&call)?).await?.record.id;
    transaction!(state.store, tx => {
        let mut template = view.get_for_update::<Template>(tx, &id).await?.record;
        template.description.clone_from(&description);
        update(tx, &template).await
    })?;
    Ok(Reply::ok(json!({"success": true})))
}

async fn rename(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let new_name: String = Fields::of_body(&body)?.required("new_name")?;
    check_name(&new_name)?;
    let view = state.view(&call.permit);
    let project = project(&call)?;
    let id = find(view, name(&call).0, &project).await?.record.id;
    transaction!(state.store, tx => {
        let mut template = view.get_for_update::<Template>(tx, &id).await?.record;
        if new_name == template.name {
            return Ok(());
        }
        release(tx, claims::TEMPLATE, project.as_str(), &template.name).await?;
        if claim(tx, claims::TEMPLATE, project.as_str(), &new_name, &template.id).await?.is_some() {
            return Err(ApiError::conflict(format!("A template with the name '{new_name}' already exists")));
        }
        template.name.clone_from(&new_name);
        update(tx, &template).await
    })?;
    Ok(Reply::ok(json!({"success": true})))
}

/// What was saved as a version is worked on again.
async fn roll_back(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let word: String = Fields::of_body(&body)?.required("version")?;
    if ["current", "dev"].contains(&word.as_str()) {
        return Err(refused(format!("One cannot roll back to '{word}'")));
    }
    let view = state.view(&call.permit);
    let project = project(&call)?;
    let named = find(view, name(&call).0, &project).await?.record;
    let version = version(view, &named, Some(&word)).await?;
    transaction!(state.store, tx => {
        let mut template = view.get_for_update::<Template>(tx, &named.id).await?.record;
        if let Some(version) = &version {
            template.set_current(version.file.clone());
        }
        update(tx, &template).await
    })?;
    Ok(Reply::ok(json!({"success": true})))
}

async fn fork(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let wanted: Option<String> = match Fields::of_optional_body(&body)? {
        Some(fields) => fields.optional("name")?,
        None => None,
    };
    let view = state.view(&call.permit);
    let project = project(&call)?;
    let (called, word) = name(&call);
    let source = find(view, called, &project).await?.record;
    let file = match version(view, &source, word).await? {
        Some(version) => version.file,
        None => source.current,
    };
    let template = transaction!(state.store, tx => {
        let name = wanted.clone().unwrap_or_else(|| format!("{}-fork", source.name));
        store(tx, &project, Template::new(project.as_str(), name, file.clone()), wanted.is_some()).await
    })?;
    Ok(Reply::ok(template.wire()))
}
