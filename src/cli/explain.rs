//! `gatelet explain`: what the guard would decide about a request, and why.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::{CliError, Common, Output, table};
use crate::{
    access::{NotLookedAt, Outcome},
    clock::Clock,
    explain::{self, Answer, Explanation, Question, Row},
    http::Backend,
    service,
    store::IfMissing,
};

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The client token or API key (not with --policy), then the method and the path (not with --operations)
    #[arg(value_names = ["TOKEN", "METHOD", "PATH"], num_args = 0..=3)]
    words: Vec<String>,
    /// The Origin header of the request
    #[arg(long)]
    origin: Option<String>,
    /// The JSON body of the request
    #[arg(long, value_name = "JSON", value_parser = parse_json)]
    body: Option<Value>,
    /// Explain every operation instead of one request
    #[arg(long)]
    operations: bool,
    /// Instead of a token, the policy that one would have, as a JSON array; no database is needed
    #[arg(long, value_name = "JSON", value_parser = parse_json)]
    policy: Option<Value>,
    /// With --policy: the origin that the token would be bound to [default: --origin]
    #[arg(long, value_name = "ORIGIN", requires = "policy")]
    hostname: Option<String>,
}

fn parse_json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("must be JSON: {error}"))
}

/// Exits with 0 if the request would be admitted, with 1 if not.
pub(super) async fn run(common: &Common, arguments: Arguments, output: &Output) -> Result<ExitCode, CliError> {
    let has_policy = arguments.policy.is_some();
    let question = arguments.question()?;
    let (settings, store) = if has_policy {
        // A policy needs neither keys nor agents.
        let (settings, _) = common.settings(&[("ephemeral", true.into())])?;
        let store = service::open_store(&settings, IfMissing::Create).await?;
        store.migrate().await?;
        (settings, store)
    } else {
        let (settings, store, _) = common.existing_keyring().await?;
        (settings, store)
    };
    let app = service::assemble(&settings, store).await?;
    let clock = Clock::system();
    let explained = match &app.backend {
        mock @ Backend::Mock(_) if !has_policy => explain::explain(&question, &app.guard, mock, &clock).await,
        _ => explain::explain(&question, &app.guard, &NotLookedAt, &clock).await,
    };
    let answer = explained.map_err(|error| error.message().to_owned())?;
    output.print(&text(&answer), || json!(answer))?;
    Ok(match answer {
        Answer::Request(Explanation { outcome: Outcome::Denied, .. }) => ExitCode::FAILURE,
        Answer::Request(_) | Answer::Operations { .. } => ExitCode::SUCCESS,
    })
}

impl Arguments {
    fn question(self) -> Result<Question, CliError> {
        let Self { words, origin, body, operations, policy, hostname } = self;
        let mut words = words.into_iter();
        let token = if policy.is_some() { None } else { words.next() };
        let (method, path) = (words.next(), words.next());
        let needed = match (operations, &policy) {
            (false, None) => "TOKEN METHOD PATH",
            (false, Some(_)) => "METHOD PATH, since --policy stands in for a token",
            (true, None) => "TOKEN",
            (true, Some(_)) => "nothing else",
        };
        let is_complete = (policy.is_some() || token.is_some()) && path.is_some() != operations;
        if !is_complete || words.next().is_some() || (operations && method.is_some()) {
            return Err(format!("give {needed}; see gatelet explain --help").into());
        }
        let method = method.map(|method| method.to_ascii_uppercase());
        Ok(Question { token, policy, hostname, origin, method, path, body, operations })
    }
}

fn text(answer: &Answer) -> String {
    match answer {
        Answer::Request(explanation) => request(explanation),
        Answer::Operations { operations } => rows(operations),
    }
}

fn request(explanation: &Explanation) -> String {
    let Explanation { status, code, message, dropped_fields, steps, .. } = explanation;
    let mut lines = match (status, code, message) {
        (Some(status), Some(code), Some(message)) => vec![format!("denied: {status} {code}"), message.clone()],
        _ => vec!["admitted".to_owned()],
    };
    lines.push(String::new());
    lines.extend(steps.iter().map(|step| format!("{:<12} {}", step.asked, step.said)));
    if !dropped_fields.is_empty() {
        lines.push(format!("{:<12} {}", "dropped", dropped_fields.join(", ")));
    }
    lines.join("\n")
}

fn rows(operations: &[Row]) -> String {
    let cells = |row: &Row| {
        let open = if row.open { "open" } else { "closed" };
        let why = row.condition.as_ref().or(row.why.as_ref()).cloned().unwrap_or_default();
        vec![row.operation.into(), row.method.into(), row.template.into(), open.into(), why]
    };
    let rows: Vec<Vec<String>> = operations.iter().map(cells).collect();
    table(&["OPERATION", "METHOD", "PATH", "ACCESS", "CONDITION"], &rows)
}
