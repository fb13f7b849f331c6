//! Which model handles a request may use: those of Letta's provider types and of the providers that were added through
//! the API. A model that replaces the agent's for one request must be listed, as in Letta. An agent may have any model of
//! a provider, so that tests need no list, unless the settings forbid it.

use std::fmt;

use crate::{
    access::Permit,
    error::{ApiError, Code},
    mock::{
        models::catalogue::{self, Handle, Models, PROVIDER_TYPES},
        pagination::list::Listing,
        records::{Provider, Record},
        state::State,
        storage::View,
        text::excerpt::excerpt,
        validation::body::Fields,
    },
    store::DocumentFilter,
};

/// The providers that were added to a project.
pub(super) async fn providers(view: View<'_>, project: &str) -> Result<Vec<Provider>, ApiError> {
    let providers = Listing::<Provider>::of(DocumentFilter::of_project(Provider::KIND, project));
    Ok(providers.all(view, |_| true).await?.into_iter().map(|provider| provider.record).collect())
}

/// Checks the fields `model` and `embedding` of a body.
///
/// # Errors
/// 404 for an unknown model, 400 for an unknown embedding model or a malformed handle.
pub(in crate::mock::resources) async fn check(
    state: &State,
    permit: &Permit,
    fields: &Fields<'_>,
) -> Result<(), ApiError> {
    check_model(state, permit, fields.optional("model")?).await?;
    check_embedding(state, permit, fields.optional("embedding")?).await
}

/// Checks the handle of a language model.
///
/// # Errors
/// 404 when it is unknown, 400 when it is malformed.
pub(in crate::mock::resources) async fn check_model(
    state: &State,
    permit: &Permit,
    handle: Option<&str>,
) -> Result<(), ApiError> {
    let Some(handle) = handle.map(Handle::parse).transpose()? else { return Ok(()) };
    let is_listed = |provider: &Provider| lists(catalogue::models_of(&provider.provider_type, &provider.name), handle);
    let is_known = is_known(state, permit, handle, lists(catalogue::models(), handle), is_listed).await?;
    if is_known { Ok(()) } else { Err(not_found(&handle)) }
}

/// Checks the handle of an embedding model.
///
/// # Errors
/// 400 when it is unknown or malformed.
pub(in crate::mock::resources) async fn check_embedding(
    state: &State,
    permit: &Permit,
    handle: Option<&str>,
) -> Result<(), ApiError> {
    let Some(handle) = handle.map(Handle::parse).transpose()? else { return Ok(()) };
    let is_listed =
        |provider: &Provider| lists(catalogue::embeddings_of(&provider.provider_type, &provider.name), handle);
    if is_known(state, permit, handle, lists(catalogue::embeddings(), handle), is_listed).await? {
        return Ok(());
    }
    let detail = format!("INVALID_ARGUMENT: Embedding model {handle} not found; GET /v1/models/embedding lists them");
    Err(ApiError::letta(Code::InvalidRequest, detail))
}

/// Checks the handle of a language model that replaces the agent's for one request.
///
/// # Errors
/// 404 when it is not listed.
pub(in crate::mock::resources) async fn check_override(
    state: &State,
    permit: &Permit,
    handle: Option<&str>,
) -> Result<(), ApiError> {
    let Some(text) = handle else { return Ok(()) };
    let Ok(handle) = Handle::parse(text) else { return Err(not_found(&text)) };
    if lists(catalogue::models(), handle) {
        return Ok(());
    }
    let providers = providers(state.view(permit), permit.project().as_str()).await?;
    let is_listed = |provider: &Provider| lists(catalogue::models_of(&provider.provider_type, &provider.name), handle);
    if providers.iter().any(is_listed) { Ok(()) } else { Err(not_found(&handle)) }
}

async fn is_known(
    state: &State,
    permit: &Permit,
    handle: Handle<'_>,
    is_built_in: bool,
    is_listed: impl Fn(&Provider) -> bool,
) -> Result<bool, ApiError> {
    let is_open = state.models == Models::Open;
    if is_built_in || is_open && PROVIDER_TYPES.contains(&handle.provider) {
        return Ok(true);
    }
    let providers = providers(state.view(permit), permit.project().as_str()).await?;
    Ok(providers.iter().any(|provider| is_open && provider.name == handle.provider || is_listed(provider)))
}

fn lists(mut models: impl Iterator<Item = serde_json::Value>, handle: Handle<'_>) -> bool {
    let text = handle.to_string();
    models.any(|model| model["handle"] == text)
}

fn not_found(handle: &impl fmt::Display) -> ApiError {
    let handle = excerpt(&handle.to_string());
    let detail = format!("NOT_FOUND: Handle {handle} not found; GET /v1/models/ lists the models");
    ApiError::letta(Code::NotFound, detail)
}
