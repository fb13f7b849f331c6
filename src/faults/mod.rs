//! Faults: what goes wrong in a test, on purpose.
//!
//! Each world of a namespace has its own. What a snapshot keeps of them is a [`SavedFaults`]. A request is hit by at most
//! one: a token's fault before the guard decides, else the first that fits once it is admitted. The pipeline asks for it,
//! and lets it change the response; what it does below HTTP travels with the response as a [`wire::Wire`].

mod chosen;
mod condition;
mod definition;
mod dice;
mod forms;
mod position;
mod presets;
mod reading;
mod report;
mod response;
mod rules;
mod shape;
mod state;
mod stream;
pub(crate) mod wire;

pub(crate) use self::{
    chosen::{Chosen, TokenTrouble},
    presets::all as presets,
    reading::read,
    state::{Attempt, Faults, Interest, MOST_FAULTS, SavedFaults, Stage},
    stream::Revoke,
};
