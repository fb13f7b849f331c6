//! The project, template and version in a path.

use crate::{
    access::Call,
    error::{ApiError, Code},
    mock::{
        pagination::list::Listing,
        records::{Record, Template, TemplateVersion, claims},
        storage::{View, holder},
        text::excerpt::excerpt,
    },
    model::Project,
    store::DocumentFilter,
};

/// The project in the path, or else the one that the request acts in.
pub(super) fn project(call: &Call) -> Result<Project, ApiError> {
    let Some(named) = call.params.find("project_id") else { return Ok(call.permit.project().clone()) };
    let project = named.parse::<Project>().ok().filter(|project| call.permit.reaches(project.as_str()));
    project.ok_or_else(|| missing("Project", named))
}

/// The name of the template in the path, and of its version where the path has one as `name:version`.
fn name(call: &Call) -> (&str, Option<&str>) {
    if let Some(named) = call.params.find("template_version") {
        return match named.rsplit_once(':') {
            Some((name, version)) => (name, Some(version)),
            None => (named, None),
        };
    }
    (call.params.find("template_name").unwrap_or_else(|| call.param("name")), None)
}

/// The template in the path.
pub(super) fn template(view: View<'_>, call: &Call) -> impl Future<Output = Result<Template, ApiError>> {
    let ((name, _), project) = (name(call), project(call));
    async move { find(view, name, &project?).await }
}

/// The template and its version in the path.
pub(super) fn template_and_version(
    view: View<'_>,
    call: &Call,
) -> impl Future<Output = Result<(Template, Option<TemplateVersion>), ApiError>> {
    let ((name, version_name), project) = (name(call), project(call));
    async move {
        let template = find(view, name, &project?).await?;
        let version = version(view, &template, version_name).await?;
        Ok((template, version))
    }
}

async fn find(view: View<'_>, name: &str, project: &Project) -> Result<Template, ApiError> {
    let found = match holder(view.store(), claims::TEMPLATE, project.as_str(), name).await? {
        Some(id) => view.find::<Template>(&id).await?,
        None => None,
    };
    found.map(|template| template.record).ok_or_else(|| missing("Template", name))
}

/// The version of a template with a name: a number, `latest` (the default) or `current`. `None` is the current state, which
/// is not saved as a version.
pub(in crate::mock::resources) async fn version(
    view: View<'_>,
    template: &Template,
    version: Option<&str>,
) -> Result<Option<TemplateVersion>, ApiError> {
    let number = match version {
        Some("current") => return Ok(None),
        None | Some("latest") => template.latest,
        Some(version) => version.parse().map_err(|_| missing("Version", version))?,
    };
    let versions = DocumentFilter::of_parent(TemplateVersion::KIND, &template.id);
    let versions = Listing::<TemplateVersion>::of(versions).all(view, |version| version.number == number).await?;
    let found = versions.into_iter().next().map(|version| version.record);
    found.map(Some).ok_or_else(|| missing("Version", &number.to_string()))
}

pub(in crate::mock::resources) fn missing(class: &str, name: &str) -> ApiError {
    ApiError::letta(Code::NotFound, format!("{class} {} not found", excerpt(name)))
}
