//! The reader of tools' sources as its fuzz target sees it.

use serde_json::{Map, Value};

use super::CallResult;

/// What a call came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Called {
    /// What was returned, or else the exception.
    pub returned: Result<Value, String>,
    /// All that was printed.
    pub printed: Vec<String>,
}

/// The JSON schema of the arguments of the function that a source defines, with its name and what it says of itself.
#[must_use]
pub fn signature(source: &str) -> Option<(String, String, Map<String, Value>)> {
    let signature = super::signature(source).ok()?;
    Some((signature.name, signature.description, signature.parameters))
}

/// What a call of that function comes to.
#[must_use]
pub fn run(source: &str, arguments: &Map<String, Value>, environment: &Map<String, Value>) -> Option<Called> {
    let (name, _) = super::name_and_docstring(source).ok()?;
    let CallResult { returned, mut stdout, stderr } = super::run(source, &name, arguments, environment)?;
    stdout.extend(stderr);
    Some(Called { returned, printed: stdout })
}
