//! Messages: sent, listed and searched.

pub(super) mod agent;
mod all;
pub(super) mod cancel;
mod compaction;
mod completions;
mod conversation;
pub(super) mod list;
mod preview;
pub(super) mod replay;
mod send;
pub(super) mod thread;

use super::routes::Routes;

pub(super) fn mount(routes: Routes) -> Routes {
    routes.with(agent::mount).with(all::mount).with(completions::mount).with(conversation::mount)
}
