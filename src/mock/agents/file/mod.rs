//! Agent files (`.af`): an agent is exported with everything that belongs to it, under ids that are local to the file, and
//! imported again.

mod export;
mod export_fields;
mod groups;
mod import;
mod import_agent;
mod import_options;
mod import_parts;
mod local_ids;
mod messages;
mod reading;
mod tools;

pub(in crate::mock) use self::{
    export::{Export, export},
    import::import,
    import_options::{History, Import},
    reading::invalid_argument,
};
