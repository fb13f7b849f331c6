//! The resources that the mock has, one file for each. A new one is a line here.

pub(super) mod agent_files;
mod agent_folders;
mod agent_list;
mod agent_prompts;
mod agent_tools;
mod agent_transfer;
pub(super) mod agents;
mod all_messages;
mod archives;
mod batches;
mod blocks;
mod chat_completions;
mod conversation_messages;
mod conversations;
mod core_memory;
mod deployed_agents;
mod environments;
mod folder_files;
mod folders;
mod generate;
mod groups;
mod identities;
mod jobs;
mod legacy_mcp;
mod mcp_servers;
mod message_list;
mod messages;
mod metadata;
mod models;
mod passages;
mod projects;
mod providers;
mod runs;
mod schedules;
mod sending;
mod steps;
mod tags;
mod template_agents;
mod templates;
mod tools;
mod unmocked;

use std::{collections::BTreeMap, fmt, pin::Pin, sync::Arc};

use super::{fidelity::Fidelity, state::State};
use crate::{
    access::Operation,
    call::{Call, Reply},
    error::ApiError,
};

/// What a handler comes to.
type Answer = Result<Reply, ApiError>;
type Handler = Box<dyn Fn(Arc<State>, Call) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

/// Which handler answers which operation, and how true it is to Letta.
#[derive(Default)]
pub(super) struct Routes {
    routes: BTreeMap<Operation, Route>,
}

struct Route {
    fidelity: Fidelity,
    /// None: the operation is declared as not mocked.
    handler: Option<Handler>,
}

/// All resources.
pub(super) fn routes() -> Routes {
    let mounts = [
        agent_files::mount,
        agent_folders::mount,
        agent_list::mount,
        agent_prompts::mount,
        agent_tools::mount,
        agent_transfer::mount,
        agents::mount,
        all_messages::mount,
        archives::mount,
        batches::mount,
        blocks::mount,
        chat_completions::mount,
        conversation_messages::mount,
        conversations::mount,
        core_memory::mount,
        deployed_agents::mount,
        environments::mount,
        folder_files::mount,
        folders::mount,
        generate::mount,
        jobs::mount,
        groups::mount,
        identities::mount,
        legacy_mcp::mount,
        mcp_servers::mount,
        messages::mount,
        metadata::mount,
        models::mount,
        passages::mount,
        projects::mount,
        providers::mount,
        schedules::mount,
        runs::mount,
        steps::mount,
        template_agents::mount,
        templates::mount,
        unmocked::mount,
        tags::mount,
        tools::mount,
    ];
    mounts.iter().fold(Routes::default(), |routes, mount| mount(routes))
}

impl Routes {
    /// Lets a handler answer an operation as Letta does.
    fn on<F, Fut>(self, operation: Operation, handler: F) -> Self
    where
        F: Fn(Arc<State>, Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Answer> + Send + 'static,
    {
        self.mount(Fidelity::Full, operation, handler)
    }

    /// Lets a handler keep and show the state of an operation; `reason` says what does not follow from it.
    fn state_only<F, Fut>(self, operation: Operation, handler: F, reason: &'static str) -> Self
    where
        F: Fn(Arc<State>, Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Answer> + Send + 'static,
    {
        self.mount(Fidelity::StateOnly(reason), operation, handler)
    }

    /// Lets a handler give an operation's one answer; `reason` says why there is no other.
    fn fixed_shape<F, Fut>(self, operation: Operation, handler: F, reason: &'static str) -> Self
    where
        F: Fn(Arc<State>, Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Answer> + Send + 'static,
    {
        self.mount(Fidelity::FixedShape(reason), operation, handler)
    }

    /// Declares that operations are answered with 501, and why.
    fn not_mocked(mut self, operations: impl IntoIterator<Item = Operation>, reason: &'static str) -> Self {
        for operation in operations {
            self.insert(operation, Route { fidelity: Fidelity::NotMocked(reason), handler: None });
        }
        self
    }

    fn mount<F, Fut>(mut self, fidelity: Fidelity, operation: Operation, handler: F) -> Self
    where
        F: Fn(Arc<State>, Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Answer> + Send + 'static,
    {
        let handler: Handler = Box::new(move |state, call| Box::pin(handler(state, call)));
        self.insert(operation, Route { fidelity, handler: Some(handler) });
        self
    }

    fn insert(&mut self, operation: Operation, route: Route) {
        let present = self.routes.insert(operation, route);
        debug_assert!(present.is_none(), "{operation} is mounted twice");
    }

    /// The handler of an operation.
    pub(super) fn find(&self, operation: Operation) -> Option<&Handler> {
        self.routes.get(&operation)?.handler.as_ref()
    }

    /// How true the mock is to an operation; none: no resource names it.
    pub(super) fn fidelity(&self, operation: Operation) -> Option<Fidelity> {
        self.routes.get(&operation).map(|route| route.fidelity)
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.routes.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_mounted_once() {
        // Mounting one twice fails here.
        assert!(routes().find(Operation::SendMessage).is_some());
    }
}
