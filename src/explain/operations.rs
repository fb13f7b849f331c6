//! Which operations a caller may call.

use serde::Serialize;

use crate::{
    access::{Bearer, Operation, check_operation},
    error::ApiError,
};

/// One operation, for one caller.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) operation: &'static str,
    /// Its method.
    pub(crate) method: &'static str,
    /// Its path, with its parameters in braces.
    pub(crate) template: &'static str,
    /// Whether the caller may call it, under the condition.
    pub(crate) open: bool,
    /// Under which condition it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) condition: Option<String>,
    /// Why it is not open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    /// The code of the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<&'static str>,
}

/// A row for each operation. `caller` is who was identified, or why nobody was.
pub(crate) fn operations(caller: Result<&Bearer, &ApiError>) -> Vec<Row> {
    let row = |operation: &Operation| {
        let row = operation.row();
        let decided = check_operation(caller, *operation);
        let refusal = decided.as_ref().err();
        let (why, code) =
            (refusal.map(|refusal| refusal.message().to_owned()), refusal.map(|refusal| refusal.code().word()));
        Row {
            operation: row.name,
            method: row.method.as_str(),
            template: row.template,
            open: refusal.is_none(),
            why,
            code,
            condition: decided.ok(),
        }
    };
    Operation::ALL.iter().map(row).collect()
}
