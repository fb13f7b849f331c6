//! Operations that the mock leaves out on purpose, by the prefix of their paths.

use super::routes::Routes;
use crate::access::Operation;

const LEFT_OUT: &[(&str, &str)] = &[
    ("/v1/feeds", "Feeds deliver events that only the hosted service collects."),
    ("/v1/pipelines", "Pipelines connect the hosted service to chat services; the mock calls no other services."),
    ("/v1/sandboxes", "Sandboxes are machines of the hosted service; the mock has none."),
    ("/v1/device-storage-key", "Returns the key of a device's storage; the mock has no device storage."),
    ("/v1/environments/register", "A device that registers expects a socket to receive work on; the mock opens none."),
    (
        "/v1/agents/{agent_id}/memory-files/",
        "Letta responds with 501 for agents without a memory repository; no agent of the mock has one.",
    ),
    ("/v1/legacy-templates/", "Migrates templates of a form that the hosted service no longer uses."),
    ("/v1/voice-beta/", "Letta has discontinued voice."),
    ("/v1/_internal_", "An internal interface of the hosted service; no SDK uses it."),
];

pub(super) fn mount(routes: Routes) -> Routes {
    LEFT_OUT.iter().fold(routes, |routes, (prefix, reason)| {
        let under = |operation: &&Operation| operation.row().template.starts_with(prefix);
        routes.not_mocked(Operation::ALL.iter().filter(under).copied(), reason)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_names_an_operation() {
        for (prefix, _) in LEFT_OUT {
            assert!(Operation::ALL.iter().any(|operation| operation.row().template.starts_with(prefix)), "{prefix}");
        }
    }
}
