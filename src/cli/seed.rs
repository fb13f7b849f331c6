//! The setting `mock.seed`: what the mock begins with.

use super::CliError;
use crate::{
    config::Settings,
    seed::{Applied, Seed},
    service::Service,
};

/// Reads the seed of a server that is about to start. A script that it names becomes that of the settings.
///
/// # Errors
/// When the seed has a mistake, or the server has no place for one.
pub(super) fn load(settings: &mut Settings) -> Result<Option<Seed>, CliError> {
    let Some(path) = &settings.mock.seed else { return Ok(None) };
    if settings.is_gateway() {
        return Err("a seed is for the mock, and there is an upstream: leave out one of them".into());
    }
    if !settings.ephemeral {
        return Err("a seed changes no database on disk: add --ephemeral, so that everything is in memory".into());
    }
    let mut seed = Seed::load(path)?;
    if let Some(script) = seed.script.take()
        && let Some(given) = settings.mock.script.replace(script)
    {
        let sentence =
            format!("the seed names a script, and the settings name {}: leave out one of them", given.display());
        return Err(sentence.into());
    }
    Ok(Some(seed))
}

/// Applies a seed to a service that has just started. `key` is an API key of it.
///
/// # Errors
/// When a table is refused.
pub(super) async fn apply(seed: Seed, service: &Service, key: &str) -> Result<Applied, CliError> {
    if let Some(directory) = &service.directory {
        return Ok(directory.seed(directory.default(), seed).await?);
    }
    if seed.clock.is_some() {
        return Err("the seed sets the clock, which needs the control API: add --control".into());
    }
    Ok(seed.apply(&service.app, key).await?)
}
