//! `gatelet config`.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::{CliError, Common, Output, seed};
use crate::{service, telemetry::logging};

const EXAMPLE: &str = include_str!("../../config/gatelet.example.toml");

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Read the settings as `serve` does, and report what is wrong with them
    Check,
    /// Print a file with every setting, its default and its meaning
    Example,
}

pub(super) fn run(common: &Common, command: &Command, output: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::Check => {
            let (mut settings, warnings) = common.settings(&[])?;
            logging::filter(&settings)?;
            seed::load(&mut settings)?;
            service::check(&settings)?;
            let mut lines = vec!["the configuration is valid".to_owned()];
            lines.extend(warnings.iter().map(|warning| format!("warning: {warning}")));
            output.print(&lines.join("\n"), || json!({"valid": true, "warnings": warnings}))
        }
        Command::Example => output.print(EXAMPLE.trim_end(), || json!({"example": EXAMPLE})),
    }
}
