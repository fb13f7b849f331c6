//! `gatelet keys`.

use std::{process::ExitCode, time::Duration};

use clap::Subcommand;
use serde_json::{Value, json};

use super::{CliError, Common, Output, already, expiry, table};
use crate::{
    clock::{self, Millis},
    credentials::api_key,
    model::Project,
    service,
    store::{ApiKeyRow, Revocation},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create an API key and print it. It is not shown again
    Create {
        /// What the key is for
        #[arg(long)]
        name: String,
        /// Limit the key to one project
        #[arg(long)]
        project: Option<Project>,
        /// Let the key expire, such as after 90d
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        expires_in: Option<Duration>,
    },
    /// List API keys
    List,
    /// Revoke an API key, and every token it minted
    Revoke {
        /// The key's id, as `list` shows it
        id: String,
    },
}

pub(super) async fn run(common: &Common, command: Command, output: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::Create { name, project, expires_in } => {
            let (_, store) = common.store().await?;
            let expires_at = expiry(expires_in)?;
            let project = project.as_ref().map(Project::as_str);
            let (id, key) = service::create_api_key(&store, &name, project, expires_at).await?;
            output.print(key.reveal(), || {
                json!({"id": id, "name": name, "project": project, "api_key": key.reveal(),
                       "expires_at": expires_at.map(clock::format_millis)})
            })
        }
        Command::List => {
            let (_, store) = common.existing_store().await?;
            let keys = store.api_keys().await?;
            let now = clock::now_millis();
            let rows: Vec<Vec<String>> = keys
                .iter()
                .map(|key| {
                    let instant = |at: Option<Millis>| at.map_or("-".into(), clock::format_millis);
                    vec![
                        key.id.clone(),
                        key.name.clone(),
                        key.project.clone().unwrap_or("any".into()),
                        status(key, now).into(),
                        clock::format_millis(key.created_at),
                        instant(key.expires_at),
                        instant(key.last_used_at),
                    ]
                })
                .collect();
            let text = table(&["ID", "NAME", "PROJECT", "STATUS", "CREATED", "EXPIRES", "LAST USED"], &rows);
            output.print(&text, || keys.iter().map(|key| to_json(key, now)).collect())
        }
        Command::Revoke { id } => revoke(common, &id, output).await.map_err(|why| {
            // The argument may be the key itself, which must not end up in a log.
            let shown = if api_key::is_well_formed(&id) { "the API key" } else { &id };
            format!("{shown} was not revoked: {why}").into()
        }),
    }
}

async fn revoke(common: &Common, id: &str, output: &Output) -> Result<ExitCode, CliError> {
    let (_, store) = common.existing_store().await?;
    match store.revoke_api_key(id, clock::now_millis()).await? {
        Revocation::Done(tokens) => {
            let text = format!("{id} is revoked, and so are the {tokens} live client tokens that it minted");
            output.print(&text, || json!({"id": id, "status": "revoked", "tokens": tokens}))
        }
        Revocation::Already(at) => Err(already(at).into()),
        Revocation::Unknown => Err(format!("{store} has no API key of this id; `gatelet keys list` shows them").into()),
    }
}

fn status(key: &ApiKeyRow, now: Millis) -> &'static str {
    if key.revoked_at.is_some() {
        "revoked"
    } else if key.expires_at.is_some_and(|expires_at| expires_at <= now) {
        "expired"
    } else {
        "active"
    }
}

fn to_json(key: &ApiKeyRow, now: Millis) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "project": key.project,
        "status": status(key, now),
        "created_at": clock::format_millis(key.created_at),
        "expires_at": key.expires_at.map(clock::format_millis),
        "last_used_at": key.last_used_at.map(clock::format_millis),
        "revoked_at": key.revoked_at.map(clock::format_millis),
    })
}
