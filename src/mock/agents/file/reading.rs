//! Reads the parts of agent files, and their errors.

use std::collections::HashMap;

use crate::{
    error::{ApiError, Code},
    mock::validation::body::Fields,
};

/// The objects of a list.
pub(super) fn items<'f>(object: &Fields<'f>, name: &str) -> Result<Vec<Fields<'f>>, ApiError> {
    object.optional(name).map(Option::unwrap_or_default).map_err(invalid_file)
}

/// The new ids of things that a list names by their ids in the file.
pub(super) fn new_ids(
    by_local_id: &HashMap<String, String>,
    object: &Fields<'_>,
    name: &str,
) -> Result<Vec<String>, ApiError> {
    let ids: Vec<&str> = object.optional(name).map_err(invalid_file)?.unwrap_or_default();
    ids.into_iter().map(|id| new_id(by_local_id, id)).collect()
}

/// The new id of a thing that is named by its id in the file.
pub(super) fn new_id(by_local_id: &HashMap<String, String>, id: &str) -> Result<String, ApiError> {
    by_local_id.get(id).cloned().ok_or_else(|| dangling(id))
}

/// The error for a reference to something that the file does not contain.
pub(super) fn dangling(reference: &str) -> ApiError {
    let reference: String = reference.chars().take(100).collect();
    invalid_argument(format!("The agent file refers to {reference} and does not contain it"))
}

/// The error for a problem in the file: a 400, as in Letta, instead of the 422 for problems in the request itself.
pub(super) fn invalid_file(error: ApiError) -> ApiError {
    if error.code() == Code::ValidationFailed {
        let problem = error.message().trim_start_matches("body.").to_owned();
        return invalid_argument(format!("Invalid agent file: {problem}"));
    }
    error
}

/// The 400 for an agent file that cannot be imported.
pub(in crate::mock) fn invalid_argument(problem: impl std::fmt::Display) -> ApiError {
    ApiError::letta(Code::InvalidRequest, format!("INVALID_ARGUMENT: {problem}"))
}
