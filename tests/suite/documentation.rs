//! What is written down is what the program does.

mod architecture;
mod generated;
mod packages;
mod pages;

use std::{fs, path::Path};

use serde_json::Value;

use crate::harness::run;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn both_engines_have_the_same_migrations() {
    let names = |engine: &str| -> Vec<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(engine);
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names("postgres"), names("sqlite"));
}

/// `tests/data/letta-operations.txt` is the method and path of every operation of Letta's specification, and of OpenAI's
/// `/v1/responses`. An operation
/// that Letta adds fails here until the table decides about it.
#[tokio::test]
async fn the_table_names_every_operation_of_lettas_specification() {
    let table = run(&["operations", "--json"]).await.json();
    let mut named: Vec<String> = table
        .as_array()
        .unwrap()
        .iter()
        .map(|row: &Value| format!("{} {}", row["method"].as_str().unwrap(), row["path"].as_str().unwrap()))
        .collect();
    named.sort();
    let specified = read("tests/data/letta-operations.txt");
    assert_eq!(named, specified.lines().collect::<Vec<_>>());
}

/// Filters and faults name an operation as the first column does.
#[tokio::test]
async fn the_table_begins_with_the_names_of_the_operations() {
    for more in [&[][..], &["--fidelity"]] {
        let names: Vec<String> = run(&[&["operations", "--json"], more].concat())
            .await
            .json()
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["operation"].as_str().unwrap().to_owned())
            .collect();
        let printed = run(&[&["operations"], more].concat()).await.ok();
        let column: Vec<&str> = printed.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(column[0], "NAME");
        assert_eq!(column[1..], names);
    }
}
