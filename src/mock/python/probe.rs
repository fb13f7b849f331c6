//! The interface for fuzz targets.

use serde_json::{Map, Value};

use super::CallResult;

/// The result of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Called {
    /// The return value, or the exception.
    pub returned: Result<Value, String>,
    /// Everything that was printed.
    pub printed: Vec<String>,
}

/// The name, description and argument schema of the function that a source defines.
#[must_use]
pub fn signature(source: &str) -> Option<(String, String, Map<String, Value>)> {
    let signature = super::signature(source).ok()?;
    Some((signature.name, signature.description, signature.parameters))
}

/// The result of a call of that function.
#[must_use]
pub fn run(source: &str, arguments: &Map<String, Value>, environment: &Map<String, Value>) -> Option<Called> {
    let (name, _) = super::name_and_docstring(source).ok()?;
    let CallResult { returned, mut stdout, stderr } = super::run(source, &name, arguments, environment)?;
    stdout.extend(stderr);
    Some(Called { returned, printed: stdout })
}
