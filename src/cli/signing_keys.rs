//! `gatelet signing-keys`.

use std::{collections::HashMap, process::ExitCode};

use clap::Subcommand;
use serde_json::json;

use super::{CliError, Common, Output, table};
use crate::{clock, store::SigningKeyRow};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the keys that sign or verify client tokens
    List,
    /// Sign with a new key from now on; the old ones verify until their last token has expired
    Rotate,
}

pub(super) async fn run(common: &Common, command: Command, output: &Output) -> Result<ExitCode, CliError> {
    let (_, store, keyring) = common.existing_keyring().await?;
    match command {
        Command::List => {
            let keys = store.signing_keys().await?;
            let last_expiry: HashMap<_, _> = store.last_expiry_by_signing_key().await?.into_iter().collect();
            let now = clock::now_millis();
            let status = |key: &SigningKeyRow| match (key.retired_at, last_expiry.get(&key.kid)) {
                (None, _) => "signing",
                (Some(_), Some(expiry)) if *expiry > now => "verifying",
                (Some(_), _) => "retired",
            };
            let rows: Vec<Vec<String>> = keys
                .iter()
                .map(|key| {
                    let until = last_expiry.get(&key.kid).map_or("-".into(), |expiry| clock::format_millis(*expiry));
                    vec![key.kid.clone(), status(key).into(), clock::format_millis(key.created_at), until]
                })
                .collect();
            output.print(&table(&["KID", "STATUS", "CREATED", "LAST TOKEN EXPIRES"], &rows), || {
                keys.iter()
                    .map(|key| {
                        json!({"kid": key.kid, "status": status(key), "created_at": clock::format_millis(key.created_at),
                               "retired_at": key.retired_at.map(clock::format_millis),
                               "last_token_expires_at": last_expiry.get(&key.kid).map(|at| clock::format_millis(*at))})
                    })
                    .collect()
            })
        }
        Command::Rotate => {
            let kid = keyring.rotate(&store).await?;
            output.print(&kid, || json!({"kid": kid, "status": "signing"}))
        }
    }
}
