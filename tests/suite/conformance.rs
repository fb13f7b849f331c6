//! The mock held against Letta: against the structure of its specification, and against recordings of a real server.
//!
//! What both say is test data: see `tests/data/README.md`.

mod bad_input;
mod golden;
mod requests;
mod specification;
mod template;
mod walk;

use std::{fs, path::Path};

use serde_json::Value;

pub(crate) use self::specification::hold;

/// A file of the test data.
fn data(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    serde_json::from_str(&fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
        .unwrap()
}
