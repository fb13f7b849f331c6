//! What the mock leaves out on purpose, by the beginning of its paths.

use super::routes::Routes;
use crate::access::Operation;

const LEFT_OUT: &[(&str, &str)] = &[
    ("/v1/feeds", "Feeds deliver what the hosted service collects; there is nothing to collect here."),
    ("/v1/pipelines", "Pipelines connect the hosted service to chat services; the mock calls nobody."),
    ("/v1/sandboxes", "Sandboxes are the hosted service's machines; the mock has none."),
    ("/v1/device-storage-key", "It hands out the key of a device's storage; the mock keeps none."),
    ("/v1/environments/register", "A device that registers expects a socket on which it is given work."),
    ("/v1/agents/{agent_id}/memory-files/", "An agent without a memory repository is answered so, and none has one."),
    ("/v1/legacy-templates/", "It migrates templates of a form that the hosted service has given up."),
    ("/v1/voice-beta/", "Letta has given up voice."),
    ("/v1/_internal_", "The hosted service's own back channel; no SDK has it."),
];

pub(super) fn mount(routes: Routes) -> Routes {
    LEFT_OUT.iter().fold(routes, |routes, (beginning, reason)| {
        let under = |operation: &&Operation| operation.row().template.starts_with(beginning);
        routes.not_mocked(Operation::ALL.iter().filter(under).copied(), reason)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_beginning_names_an_operation() {
        for (beginning, _) in LEFT_OUT {
            assert!(
                Operation::ALL.iter().any(|operation| operation.row().template.starts_with(beginning)),
                "{beginning}"
            );
        }
    }
}
