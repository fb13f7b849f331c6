//! `gatelet tokens`.

use std::{process::ExitCode, time::Duration};

use clap::Subcommand;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{CliError, Common, Output, already, expiry, table};
use crate::{
    access::Feed,
    api::{Issuer, TokenRequest, issuer::Minter},
    clock::{self, Clock},
    credentials::{ClientToken, InvalidToken, client_token},
    model::{Access, AgentId, Hostname, Policy, PolicyEntry, Project},
    service,
    store::{Revocation, TokenFilter},
};

/// The id of the minting key in tokens made on the command line.
const COMMAND_LINE: &str = "command-line";

/// The number of tokens that one query reads.
const PAGE: i64 = 1_000;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a client token and print it
    Create {
        /// The agent that it grants access to
        #[arg(long, value_name = "ID")]
        agent: AgentId,
        /// What it may do: read_messages, write_messages, read_agent, write_agent
        #[arg(long, value_delimiter = ',', value_parser = parse_access, required = true)]
        access: Vec<Access>,
        /// The origin of the page that will use it
        #[arg(long, value_name = "URL")]
        hostname: Hostname,
        /// How long it lives [default: 5m]
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        expires_in: Option<Duration>,
        /// The project of the agent
        #[arg(long, default_value = Project::DEFAULT)]
        project: Project,
    },
    /// List live client tokens of all projects
    List,
    /// Revoke a client token
    Revoke {
        /// The token, or its id as `list` shows it
        token: String,
    },
    /// Decode a client token and say whether it is valid; exit 1 when it is not
    Inspect {
        /// The token
        token: String,
    },
}

fn parse_access(word: &str) -> Result<Access, String> {
    Access::parse(word).ok_or_else(|| "use read_messages, write_messages, read_agent or write_agent".into())
}

pub(super) async fn run(common: &Common, command: Command, output: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::Create { agent, access, hostname, expires_in, project } => {
            let (settings, store) = common.store().await?;
            let keyring = service::load_keyring(&settings, &store, Clock::system()).await?;
            let mut policy = Policy::default();
            for word in access {
                policy.add(PolicyEntry { id: agent.clone(), access: vec![word] });
            }
            let request = TokenRequest::new(policy, hostname, expiry(expires_in)?);
            let minter = Minter { key_id: COMMAND_LINE, project: &project, key_expires_at: None };
            let issuer = Issuer::new(store, keyring, Clock::system(), settings.tokens.max_lifetime);
            let (row, token) = issuer.issue(request, &minter).await.map_err(|error| error.message().to_owned())?;
            output.print(&token, || json!({"token": token, "expires_at": clock::format_millis(row.expires_at)}))
        }
        Command::List => {
            let (_, store) = common.existing_store().await?;
            let mut rows = Vec::new();
            loop {
                let offset = i64::try_from(rows.len())?;
                let now = clock::now_millis();
                let page = TokenFilter { project: None, agent: None, offset, limit: PAGE, now };
                let page = store.client_tokens(&page).await?;
                let is_last = i64::try_from(page.len())? < PAGE;
                rows.extend(page);
                if is_last {
                    break;
                }
            }
            let cells: Vec<Vec<String>> = rows
                .iter()
                .map(|row| {
                    let agents: Vec<&str> = row.policy.entries().iter().map(|entry| entry.id.as_str()).collect();
                    vec![
                        row.id.to_string(),
                        row.project.to_string(),
                        row.hostname.clone(),
                        clock::format_millis(row.expires_at),
                        agents.join(","),
                    ]
                })
                .collect();
            output.print(&table(&["ID", "PROJECT", "HOSTNAME", "EXPIRES", "AGENTS"], &cells), || {
                rows.iter()
                    .map(|row| {
                        json!({"id": row.id, "project": row.project, "key_id": row.key_id, "hostname": row.hostname,
                               "policy": row.policy, "issued_at": clock::format_millis(row.issued_at),
                               "expires_at": clock::format_millis(row.expires_at)})
                    })
                    .collect()
            })
        }
        Command::Revoke { token } => revoke(common, &token, output)
            .await
            .map_err(|why| format!("the client token was not revoked: {why}").into()),
        Command::Inspect { token } => {
            let (settings, store, keyring) = common.existing_keyring().await?;
            let read = keyring.verify(&token);
            let feed = Feed::load(store, keyring, settings.tokens.max_staleness, Clock::system()).await?;
            let problem = match &read {
                Err(error) => Some(not_ours(*error)),
                Ok(token) if token.has_expired(clock::now_millis()) => Some("it has expired".to_owned()),
                Ok(token) if feed.is_revoked(token) => Some("it, or the key that minted it, was revoked".to_owned()),
                Ok(_) => None,
            };
            let claims = read.as_ref().ok().map(describe);
            let verdict = problem.as_ref().map_or("valid".to_owned(), |problem| format!("not valid: {problem}"));
            let text = match &claims {
                Some(claims) => format!("{verdict}\n{}", serde_json::to_string_pretty(claims)?),
                None => verdict,
            };
            output.print(&text, || json!({"valid": problem.is_none(), "problem": problem, "claims": claims}))?;
            Ok(if problem.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

async fn revoke(common: &Common, token: &str, output: &Output) -> Result<ExitCode, CliError> {
    let (_, store, keyring) = common.existing_keyring().await?;
    let (id, expires_at) = match token.parse::<Uuid>() {
        Ok(id) => match store.client_token(id).await? {
            Some(row) => (row.id, row.expires_at),
            None => {
                let sentence = format!("{store} has no client token {id}; `gatelet tokens list` shows them");
                return Err(sentence.into());
            }
        },
        Err(_) => {
            let token = keyring.recognize(token).map_err(not_ours)?;
            (token.id, token.expires_at)
        }
    };
    let now = clock::now_millis();
    match store.revoke_client_token(id, expires_at, now).await? {
        Revocation::Done(()) if expires_at <= now => {
            let text = format!("{id} is revoked; it had expired at {}", clock::format_millis(expires_at));
            output.print(&text, || json!({"id": id, "status": "revoked"}))
        }
        Revocation::Done(()) => output.print(&format!("{id} is revoked"), || json!({"id": id, "status": "revoked"})),
        Revocation::Already(at) => Err(already(at).into()),
        Revocation::Unknown => Err(format!("{store} has no client token {id}").into()),
    }
}

fn not_ours(error: InvalidToken) -> String {
    match error {
        InvalidToken::Malformed => format!("it is not '{}' and three base64url parts", client_token::PREFIX),
        other => other.to_string(),
    }
}

fn describe(token: &ClientToken) -> Value {
    let policy: Vec<Value> = token
        .policy()
        .iter()
        .map(|(agent, access)| json!({"agent": agent, "access": access.words().map(Access::word).collect::<Vec<_>>()}))
        .collect();
    json!({
        "id": token.id,
        "project": token.project,
        "key_id": token.key_id,
        "origin": token.origin,
        "policy": policy,
        "issued_at": clock::format_millis(token.issued_at),
        "expires_at": clock::format_millis(token.expires_at),
    })
}
