//! MCP servers, in their current and in their older interface.

mod legacy;
mod servers;

use super::routes::Routes;

pub(super) fn mount(routes: Routes) -> Routes {
    routes.with(servers::mount).with(legacy::mount)
}
