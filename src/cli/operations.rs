//! `gatelet operations`: the permission table, and how true the mock is to each operation.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::{CliError, Output, table};
use crate::{
    access::{Grant, Operation},
    mock::{Fidelity, fidelity_table},
    model::{Access, AccessSet},
};

/// The text above the tables of docs/fidelity.md.
const FIDELITY_PREFACE: &str = "\
# How true the mock is to Letta

This page is the output of `gatelet operations --fidelity --markdown`; a test keeps it equal.

**Full**: responds from state, with Letta's rules, shapes and errors. **State only**: stores what it is given and returns
it, without the effects that it has in Letta. **Fixed shape**: always the same response, in the right shape. **Not
mocked**: 501 with the code `not_mocked`.";

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Print Markdown, as in docs/permissions.md and, with --fidelity, in docs/fidelity.md
    #[arg(long)]
    markdown: bool,
    /// Print how true the mock is to each operation
    #[arg(long)]
    fidelity: bool,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<ExitCode, CliError> {
    if arguments.fidelity {
        return fidelity(arguments, output);
    }
    let rows: Vec<Vec<String>> = Operation::ALL.iter().map(|operation| cells(*operation)).collect();
    if arguments.markdown {
        return output.print(&markdown(), || json!({"markdown": markdown()}));
    }
    output.print(&table(&["NAME", "METHOD", "PATH", "CLIENT TOKEN", "CONDITIONS"], &rows), || {
        Operation::ALL.iter().map(|operation| to_json(*operation)).collect()
    })
}

/// The table of what a client token can reach, for docs/permissions.md. What is closed is only counted.
fn markdown() -> String {
    let mut lines = vec![
        "| name | operation | client token needs | conditions |".to_owned(),
        "| --- | --- | --- | --- |".to_owned(),
    ];
    let open = Operation::ALL.iter().filter(|operation| matches!(operation.grant(), Grant::Client(_) | Grant::Public));
    lines.extend(open.map(|operation| {
        let row = operation.row();
        format!("| {} | `{} {}` | {} | {} |", row.name, row.method, row.template, needs(*operation), row.note)
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

fn fidelity(arguments: &Arguments, output: &Output) -> Result<ExitCode, CliError> {
    let rows = fidelity_table();
    if arguments.markdown {
        return output.print(&fidelity_page(&rows), || json!({"markdown": fidelity_page(&rows)}));
    }
    let cells = |(operation, fidelity): &(Operation, Fidelity)| {
        let row = operation.row();
        vec![
            row.name.into(),
            row.method.to_string(),
            row.template.into(),
            fidelity.word().into(),
            fidelity.reason().into(),
        ]
    };
    let lines: Vec<Vec<String>> = rows.iter().map(cells).collect();
    output.print(&table(&["NAME", "METHOD", "PATH", "FIDELITY", "REASON"], &lines), || {
        let to_json = |(operation, fidelity): &(Operation, Fidelity)| {
            let row = operation.row();
            json!({"operation": row.name, "method": row.method.as_str(), "path": row.template,
                   "fidelity": fidelity.word(), "reason": fidelity.reason()})
        };
        rows.iter().map(to_json).collect()
    })
}

/// The whole of docs/fidelity.md: a table for each resource, by the first word of its paths.
fn fidelity_page(rows: &[(Operation, Fidelity)]) -> String {
    let mut lines: Vec<String> = FIDELITY_PREFACE.lines().map(str::to_owned).collect();
    lines.push(String::new());
    for word in Fidelity::WORDS {
        let count = rows.iter().filter(|(_, fidelity)| fidelity.word() == word).count();
        lines.push(format!("- {word}: {count}"));
    }
    let resource = |operation: Operation| operation.row().template.split('/').nth(2).unwrap_or_default();
    let mut resources: Vec<&str> = Vec::new();
    for (operation, _) in rows {
        if !resources.contains(&resource(*operation)) {
            resources.push(resource(*operation));
        }
    }
    for name in resources {
        lines.extend([String::new(), format!("## {name}"), String::new()]);
        lines.push("| operation | fidelity | why not full |".into());
        lines.push("| --- | --- | --- |".into());
        lines.extend(
            rows.iter().filter(|(operation, _)| resource(*operation) == name).map(|(operation, fidelity)| {
                format!("| `{operation}` | {} | {} |", fidelity.word(), fidelity.reason())
            }),
        );
    }
    lines.join("\n")
}

fn needs(operation: Operation) -> String {
    match operation.grant() {
        Grant::Public => "nothing".into(),
        Grant::KeyOnly => "API key only".into(),
        Grant::Never => "never".into(),
        Grant::Client(grant) if grant.access == AccessSet::default() => "any word".into(),
        Grant::Client(grant) => grant.access.to_string(),
    }
}

fn cells(operation: Operation) -> Vec<String> {
    let row = operation.row();
    vec![row.name.into(), row.method.to_string(), row.template.into(), needs(operation), row.note.into()]
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
