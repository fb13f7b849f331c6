//! Seeds: what a world holds at its beginning, as TOML or JSON of one shape.
//!
//! A seed is a list of tables. Each is the body of Letta's own call that creates such a thing, with a few fields of the
//! seed's own, and is applied by the handler of that call ([`Seed::apply`]): there is no second model of an agent or a
//! block. Tables name each other by `ref`. A mistake is reported with its file, line and field ([`SeedError`]).

mod apply;
mod load;
mod mistake;
mod order;
mod read;
mod source;
mod tables;

use std::path::PathBuf;

pub(crate) use self::{apply::Applied, mistake::SeedError};
use self::{
    order::in_order,
    read::{Entry, Reader},
    source::Source,
};
use crate::world::ClockRequest;

/// A seed whose form and references have been checked.
#[derive(Debug, Default)]
pub(crate) struct Seed {
    /// The clock with which its world begins; `None` leaves the clock alone.
    pub(crate) clock: Option<ClockRequest>,
    /// A script of replies; only in seeds from files.
    pub(crate) script: Option<PathBuf>,
    /// In the order in which they are applied.
    entries: Vec<Entry>,
}

impl Seed {
    /// Reads a seed from a request's body in TOML. `pointer` is its place there; empty: it is the whole body.
    ///
    /// # Errors
    /// The first mistake.
    pub(crate) fn from_toml(text: &str, pointer: &str) -> Result<Self, SeedError> {
        Self::of_body(Source::toml_body(text, pointer))
    }

    /// The same in JSON.
    ///
    /// # Errors
    /// The first mistake.
    pub(crate) fn from_json(text: &str, pointer: &str) -> Result<Self, SeedError> {
        Self::of_body(Source::json_body(text, pointer))
    }

    fn of_body(source: Source) -> Result<Self, SeedError> {
        let mut reader = Reader::default();
        reader.read(source, None)?;
        Self::of(reader)
    }

    fn of(reader: Reader) -> Result<Self, SeedError> {
        let Reader { clock, script, entries, .. } = reader;
        Ok(Self { clock, script, entries: in_order(entries)? })
    }
}

#[cfg(test)]
mod tests;
