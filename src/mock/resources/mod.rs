//! The resources that the mock has, one file for each. A new one is a line here.

mod agents;
mod archives;
mod batches;
mod blocks;
mod conversations;
mod environments;
mod folders;
mod generate;
mod groups;
mod identities;
mod jobs;
mod mcp;
mod messages;
mod metadata;
mod models;
mod passages;
mod projects;
mod providers;
mod runs;
mod schedules;
mod steps;
mod tags;
mod templates;
mod tools;
mod unmocked;

use std::{collections::BTreeMap, fmt, pin::Pin, sync::Arc};

use super::{fidelity::Fidelity, state::State};
use crate::{
    access::{Call, Operation},
    error::ApiError,
    reply::Reply,
};

/// What a handler comes to.
type HandlerResult = Result<Reply, ApiError>;
type Handler = Box<dyn Fn(Arc<State>, Call) -> Pin<Box<dyn Future<Output = HandlerResult> + Send>> + Send + Sync>;

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
        agents::mount,
        agents::core_memory::mount,
        agents::deployed::mount,
        agents::files::mount,
        agents::folders::mount,
        agents::list::mount,
        agents::prompts::mount,
        agents::tools::mount,
        agents::transfer::mount,
        archives::mount,
        batches::mount,
        blocks::mount,
        conversations::mount,
        environments::mount,
        folders::mount,
        folders::files::mount,
        generate::mount,
        jobs::mount,
        groups::mount,
        identities::mount,
        mcp::legacy::mount,
        mcp::servers::mount,
        messages::agent::mount,
        messages::all::mount,
        messages::completions::mount,
        messages::conversation::mount,
        metadata::mount,
        models::mount,
        passages::mount,
        projects::mount,
        providers::mount,
        schedules::mount,
        runs::mount,
        steps::mount,
        templates::agents::mount,
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
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.mount(Fidelity::Full, operation, handler)
    }

    /// Lets a handler keep and show the state of an operation; `reason` says what does not follow from it.
    fn state_only<F, Fut>(self, operation: Operation, handler: F, reason: &'static str) -> Self
    where
        F: Fn(Arc<State>, Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.mount(Fidelity::StateOnly(reason), operation, handler)
    }

    /// Lets a handler give an operation's one answer; `reason` says why there is no other.
    fn fixed_shape<F, Fut>(self, operation: Operation, handler: F, reason: &'static str) -> Self
    where
        F: Fn(Arc<State>, Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
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
        Fut: Future<Output = HandlerResult> + Send + 'static,
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
