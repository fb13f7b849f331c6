//! Records in and out of the store: as one caller sees them, and within transactions.

mod claims;
pub(in crate::mock) mod project_scope;
pub(in crate::mock) mod relations;
mod stored;
mod view;
mod write;

pub(super) use claims::{changed_meanwhile, claim, holder, holder_within, lock_holder, release};
pub(super) use stored::{Stored, inconsistent, is_plain, not_found, parse, parse_message};
pub(super) use view::View;
pub(super) use write::{Prepared, body, insert, insert_all, insert_messages, update, update_message, upsert};
