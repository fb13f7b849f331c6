//! The project in which an API key's request acts. Nothing else reads the project headers.

use http::{HeaderMap, HeaderName};

use super::step::listed;
use crate::{
    credentials::VerifiedKey,
    error::{ApiError, Code},
    model::Project,
};

/// The headers that name a project, one for each SDK generation.
static HEADERS: [HeaderName; 2] = [HeaderName::from_static("x-project-id"), HeaderName::from_static("x-project")];

/// The project of a request, and the headers that named it: none, one or both.
pub(super) struct RequestProject {
    pub(super) project: Project,
    pub(super) named_by: &'static [HeaderName],
}

impl RequestProject {
    /// The key's own project, or the one that the headers name. All values must be the same: which of two counts, an
    /// upstream might decide differently.
    ///
    /// # Errors
    /// 400 when the headers name no project or several; 404 when the key is limited to another project.
    pub(super) fn of(key: &VerifiedKey, headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut values = HEADERS.iter().flat_map(|name| headers.get_all(name).iter().map(move |value| (name, value)));
        let named: Option<Project> = match values.next() {
            Some((name, value)) => {
                if let Some((other, _)) = values.find(|(_, other)| *other != value) {
                    let sentence =
                        format!("The headers {name} and {other} name different projects; send one of them, once.");
                    return Err(ApiError::new(Code::InvalidRequest, sentence));
                }
                let parsed = value.to_str().map_err(|_| "must be text").and_then(str::parse);
                Some(parsed.map_err(|rule| ApiError::new(Code::InvalidRequest, format!("The header {name} {rule}.")))?)
            }
            None => None,
        };
        let named_by = match HEADERS.each_ref().map(|name| headers.contains_key(name)) {
            [false, false] => &HEADERS[..0],
            [true, false] => &HEADERS[..1],
            [false, true] => &HEADERS[1..],
            [true, true] => &HEADERS[..],
        };
        let project = match (&key.project, named) {
            (Some(only), Some(named)) if *only != named => {
                let sentence = format!("This API key is limited to project {only}; it cannot reach project {named}.");
                return Err(ApiError::new(Code::NotFound, sentence));
            }
            (Some(only), _) => only.clone(),
            (None, named) => named.unwrap_or_default(),
        };
        Ok(Self { project, named_by })
    }

    /// What the key is limited to and what the headers name, for a step.
    pub(super) fn describe(key: &VerifiedKey, headers: &HeaderMap) -> String {
        let sent = HEADERS.iter().flat_map(|name| headers.get_all(name).iter().map(move |value| (name, value)));
        let sent = listed(sent.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or("?"))));
        match &key.project {
            Some(only) => format!("sent {sent}, the key is limited to {only}"),
            None => format!("sent {sent}, the key is not limited to a project"),
        }
    }
}
