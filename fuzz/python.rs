//! Python sources of tools: what is read off them is bounded, and what they return reads again as it is printed.

use gatelet::{
    error::python_repr,
    mock::python_probe::{run, signature},
};
use serde_json::{Map, Value, json};

/// How much a call may come to, in bytes: what values may come to in the reader, printed with all escapes, and an
/// exception that is told twice.
const MOST_CALLED: usize = 6_000_000;

/// How much a signature may hold for each byte of the source, and beside it.
const MOST_SIGNED: (usize, usize) = (300, 1_000);

/// The longest value that is read again: reading weighs a value once for each level of its nesting.
const MOST_READ_AGAIN: usize = 500;

pub(crate) fn is_accepted(bytes: &[u8]) -> bool {
    let Ok(source) = str::from_utf8(bytes) else { return false };
    if let Some((name, description, parameters)) = signature(source) {
        assert!(source.contains(&name));
        let length = name.len() + description.len() + Value::Object(parameters).to_string().len();
        assert!(length <= MOST_SIGNED.0 * source.len() + MOST_SIGNED.1, "{} bytes became {length}", source.len());
    }
    let environment = map(json!({"SECRET": "s"}));
    let Some(called) = run(source, &map(json!({"a": "x", "b": 2})), &environment) else { return false };
    let returned = match &called.returned {
        Ok(value) => python_repr(value),
        Err(exception) => exception.clone(),
    };
    let length = returned.len() + called.printed.iter().map(String::len).sum::<usize>();
    assert!(length <= MOST_CALLED, "{} bytes became {length}", source.len());
    if let Ok(value) = called.returned
        && returned.len() <= MOST_READ_AGAIN
    {
        let again = run(&format!("def f():\n    return {returned}\n"), &Map::new(), &Map::new());
        let again = again.map(|again| again.returned);
        assert_eq!(again, Some(Ok(value)), "{returned} reads as another value");
    }
    true
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
