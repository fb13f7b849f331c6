//! What is written down is what the program does.

use std::{fs, path::Path};

use gatelet::error::Code;
use serde_json::Value;

use crate::harness::run;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn section<'a>(text: &'a str, name: &str) -> &'a str {
    let (start, end) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let after = text.split_once(&start).unwrap_or_else(|| panic!("README.md lacks {start}")).1;
    after.split_once(&end).unwrap_or_else(|| panic!("README.md lacks {end}")).0.trim()
}

#[tokio::test]
async fn the_readme_holds_the_permission_table() {
    let table = run(&["operations", "--markdown"]).await.ok();
    assert_eq!(section(&read("README.md"), "operations"), table, "regenerate it with scripts/docs");
}

#[tokio::test]
async fn the_fidelity_page_is_what_the_program_says_of_itself() {
    let page = run(&["operations", "--fidelity", "--markdown"]).await.ok();
    let written = read("docs/fidelity.md");
    let hint = "regenerate it: gatelet operations --fidelity --markdown > docs/fidelity.md";
    for (written, said) in written.lines().zip(page.lines()) {
        assert_eq!(written, said, "{hint}");
    }
    assert_eq!(written.lines().count(), page.lines().count(), "{hint}");
}

#[test]
fn the_readme_holds_every_error_code() {
    let readme = read("README.md");
    let rows: Vec<String> = Code::ALL
        .iter()
        .map(|code| format!("| `{}` | {} | {} |", code.word(), code.status().as_u16(), code.meaning().trim()))
        .collect();
    let codes = section(&readme, "codes");
    let present: Vec<&str> = codes.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(present, rows);
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

/// `tests/data/letta-operations.txt` is the method and path of every operation of Letta's specification. An operation
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
