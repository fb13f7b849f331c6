//! `gatelet operations`: the permission table.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::{Failure, Output, table};
use crate::{
    access::{Grant, Operation},
    model::Access,
};

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Print a Markdown table, as it stands in the README
    #[arg(long)]
    markdown: bool,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let rows: Vec<Vec<String>> = Operation::ALL.iter().map(|operation| cells(*operation)).collect();
    if arguments.markdown {
        return output.print(&markdown(), || json!({"markdown": markdown()}));
    }
    output.print(&table(&["METHOD", "PATH", "CLIENT TOKEN", "CONDITIONS"], &rows), || {
        Operation::ALL.iter().map(|operation| to_json(*operation)).collect()
    })
}

/// The table of what a client token can reach, for the README. What is closed is only counted.
fn markdown() -> String {
    let mut lines =
        vec!["| operation | client token needs | conditions |".to_owned(), "| --- | --- | --- |".to_owned()];
    let open = Operation::ALL.iter().filter(|operation| matches!(operation.grant(), Grant::Client(_) | Grant::Public));
    lines.extend(open.map(|operation| {
        let row = operation.row();
        format!("| `{} {}` | {} | {} |", row.method, row.template, needs(*operation), row.note)
    }));
    let open = lines.len() - 2;
    lines.push(String::new());
    lines.push(format!(
        "Every other of Letta's {} operations ({}) is closed to client tokens, whatever their policy.",
        Operation::ALL.len(),
        Operation::ALL.len() - open
    ));
    lines.join("\n")
}

fn needs(operation: Operation) -> String {
    match operation.grant() {
        Grant::Public => "nothing".into(),
        Grant::KeyOnly => "API key only".into(),
        Grant::Never => "never".into(),
        Grant::Client(grant) => grant.access.to_string(),
    }
}

fn cells(operation: Operation) -> Vec<String> {
    let row = operation.row();
    vec![row.method.to_string(), row.template.into(), needs(operation), row.note.into()]
}

fn to_json(operation: Operation) -> Value {
    let row = operation.row();
    let client_token = match operation.grant() {
        Grant::Public => json!("public"),
        Grant::KeyOnly | Grant::Never => json!("never"),
        Grant::Client(grant) => json!(grant.access.words().map(Access::word).collect::<Vec<_>>()),
    };
    json!({"operation": row.name, "method": row.method.as_str(), "path": row.template, "client_token": client_token,
           "conditions": row.note})
}
