//! Agent files (`.af`): an agent with all that belongs to it, written down with ids of its own, and made from that again.

mod export;
mod groups;
mod import;
mod messages;
mod numbers;
mod tools;

pub(in crate::mock) use self::{
    export::{Export, export},
    import::{History, Import, import},
};
