//! The resources of the mock, one file or folder each. A new resource is a file that is declared and mounted here.

mod agents;
mod archives;
mod attach;
mod batches;
mod blocks;
mod by_id;
mod conversations;
mod environments;
mod folders;
mod generate;
mod groups;
mod identities;
mod jobs;
mod lists;
mod mcp;
mod messages;
mod metadata;
mod models;
mod names;
mod passages;
mod projects;
mod providers;
mod routes;
mod runs;
mod schedules;
mod steps;
mod tags;
mod templates;
mod tools;
mod unmocked;

pub(super) use self::routes::Routes;
use super::fidelity::Fidelity;
use crate::access::Operation;

/// The routes of all resources.
pub(super) fn routes() -> Routes {
    Routes::default()
        .with(agents::mount)
        .with(archives::mount)
        .with(batches::mount)
        .with(blocks::mount)
        .with(conversations::mount)
        .with(environments::mount)
        .with(folders::mount)
        .with(generate::mount)
        .with(groups::mount)
        .with(identities::mount)
        .with(jobs::mount)
        .with(mcp::mount)
        .with(messages::mount)
        .with(metadata::mount)
        .with(models::mount)
        .with(passages::mount)
        .with(projects::mount)
        .with(providers::mount)
        .with(runs::mount)
        .with(schedules::mount)
        .with(steps::mount)
        .with(tags::mount)
        .with(templates::mount)
        .with(tools::mount)
        .with(unmocked::mount)
}

/// Every operation of the permission table, in its order, with how true the mock is to it.
#[must_use]
pub fn fidelity_table() -> Vec<(Operation, Fidelity)> {
    let routes = routes();
    Operation::ALL.iter().map(|operation| (*operation, routes.fidelity(*operation))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_mounted_once() {
        // Debug builds panic where an operation is mounted twice.
        assert!(routes().find(Operation::SendMessage).is_some());
    }

    #[test]
    fn what_is_less_than_full_says_why_in_a_sentence() {
        for (operation, fidelity) in fidelity_table() {
            let reason = fidelity.reason();
            assert_eq!(reason.is_empty(), fidelity == Fidelity::Full, "{operation}");
            assert!(reason.is_empty() || reason.ends_with('.'), "{operation}: {reason}");
            // It becomes a cell of a Markdown table.
            assert!(!reason.contains(['|', '\n']), "{operation}: {reason}");
        }
    }
}
