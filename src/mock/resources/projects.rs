//! Projects: the list that the hosted service shows. What a project is, `model::Project` says.

use std::sync::Arc;

use http::StatusCode;
use serde_json::json;

use super::{HandlerResult, Routes};
use crate::{
    access::{Call, Operation},
    error::{ApiError, Code},
    mock::{
        pagination::cursor::Window,
        records::{ProjectEntry, Record, project_slug},
        state::State,
        storage::documents::{View, insert},
        validation::body::Fields,
    },
    model::Project,
    reply::Reply,
    store::{DocumentFilter, transaction},
};

const DEFAULT_LIMIT: usize = 20;
/// What all entries belong to, so that they can be listed; each is kept in the project that it describes, so that a key
/// limited to one project sees no other.
const LIST: &str = "projects";

pub(super) fn mount(routes: Routes) -> Routes {
    routes.on(Operation::ListProjects, list).on(Operation::CreateProject, create).state_only(
        Operation::DeleteProject,
        delete,
        "The entry goes; what was made in the project stays.",
    )
}

async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let window = Window::read(&call.query, DEFAULT_LIMIT)?;
    let name = call.query.first("name").map(str::to_lowercase);
    let mut entries = entries(state.view(&call.permit)).await?;
    // The project that is meant when none is named needs no creating.
    let own = call.permit.project();
    if !entries.iter().any(|entry| entry.id == own.as_str()) {
        entries.insert(0, ProjectEntry::of(own, own.as_str()));
    }
    entries.retain(|entry| name.as_ref().is_none_or(|name| entry.name.to_lowercase().contains(name)));
    let (projects, has_next_page) = window.cut(entries);
    Ok(Reply::ok(json!({"projects": projects, "hasNextPage": has_next_page})))
}

async fn create(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    let name: &str = fields.required("name")?;
    if !(3..=50).contains(&name.chars().count()) {
        return Err(fields.at("name").breaks_rule("it has 3 to 50 characters", &name.into()));
    }
    let wanted = project_slug(name);
    let entry = transaction!(state.store, tx => {
        tx.lock_names(LIST).await?;
        let mut slug = wanted.clone();
        let mut number = 1;
        while slug == Project::DEFAULT || tx.document(ProjectEntry::KIND, &slug).await?.is_some() {
            number += 1;
            slug = format!("{wanted}-{number}");
        }
        let project: Project = slug.parse().map_err(ApiError::internal)?;
        if !call.permit.reaches(project.as_str()) {
            return Err(ApiError::letta(Code::InvalidRequest, "This API key is limited to its project and makes no other"));
        }
        let entry = ProjectEntry::of(&project, name);
        insert(tx, project.as_str(), Some(LIST), &entry).await?;
        Ok(entry)
    })?;
    Ok(Reply::Json(StatusCode::CREATED, json!(entry)))
}

async fn delete(state: Arc<State>, call: Call) -> HandlerResult {
    let id = call.param("projectId");
    let view = state.view(&call.permit);
    transaction!(state.store, tx => {
        let entry = view.get_for_update::<ProjectEntry>(tx, id).await?;
        tx.delete_document(ProjectEntry::KIND, &entry.record.id).await?;
        Ok(())
    })?;
    Ok(Reply::ok(json!({"success": true})))
}

async fn entries(view: View<'_>) -> Result<Vec<ProjectEntry>, ApiError> {
    let entries = view.list::<ProjectEntry>(&DocumentFilter::of_parent(ProjectEntry::KIND, LIST)).await?;
    Ok(entries.into_iter().map(|entry| entry.record).collect())
}
