//! The list of projects of the hosted service. For what a project is, see `model::Project`.

use std::sync::Arc;

use http::StatusCode;
use serde_json::json;

use super::{
    by_id,
    routes::{HandlerResult, Routes},
};
use crate::{
    access::{Call, Operation},
    error::{ApiError, Code},
    mock::{
        pagination::cursor::OffsetPage,
        records::{ProjectEntry, Record, project_slug},
        state::State,
        storage::{View, insert},
        validation::body::Fields,
    },
    model::Project,
    reply::Reply,
    store::{DocumentFilter, transaction},
};

const DEFAULT_LIMIT: usize = 20;
/// The parent of all entries, by which they are listed. Each entry is stored in the project that it describes, so that a
/// key limited to one project sees no other.
const LIST: &str = "projects";

pub(super) fn mount(routes: Routes) -> Routes {
    routes.on(Operation::ListProjects, list).on(Operation::CreateProject, create).state_only(
        Operation::DeleteProject,
        delete,
        "Deletes the entry, but not what was created in the project.",
    )
}

async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let window = OffsetPage::read(&call.query, DEFAULT_LIMIT)?;
    let name = call.query.first("name").map(str::to_lowercase);
    let mut entries = entries(state.view(&call.permit)).await?;
    // The project that the request acts in exists without having been created.
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
        return Err(fields.at("name").breaks_rule("the name must have 3 to 50 characters", &name.into()));
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
            return Err(ApiError::letta(Code::InvalidRequest, "This API key is limited to its project and cannot create others"));
        }
        let entry = ProjectEntry::of(&project, name);
        insert(tx, project.as_str(), Some(LIST), &entry).await?;
        Ok(entry)
    })?;
    Ok(Reply::Json(StatusCode::CREATED, json!(entry)))
}

async fn delete(state: Arc<State>, call: Call) -> HandlerResult {
    by_id::delete::<ProjectEntry>(state.view(&call.permit), call.param("projectId")).await?;
    Ok(Reply::ok(json!({"success": true})))
}

async fn entries(view: View<'_>) -> Result<Vec<ProjectEntry>, ApiError> {
    let entries = view.list::<ProjectEntry>(&DocumentFilter::of_parent(ProjectEntry::KIND, LIST)).await?;
    Ok(entries.into_iter().map(|entry| entry.record).collect())
}
