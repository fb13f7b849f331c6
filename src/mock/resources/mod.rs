//! The resources that the mock has, one file for each. A new one is a line here.

mod agent_list;
mod agent_tools;
mod agents;
mod all_messages;
mod archives;
mod batches;
mod blocks;
mod conversation_messages;
mod conversations;
mod core_memory;
mod groups;
mod identities;
mod message_list;
mod messages;
mod models;
mod passages;
mod runs;
mod sending;
mod steps;
mod tags;
mod tools;

use std::{collections::HashMap, fmt, pin::Pin, sync::Arc};

use super::state::State;
use crate::{
    access::Operation,
    call::{Call, Reply},
    error::ApiError,
};

/// What a handler comes to.
type Answer = Result<Reply, ApiError>;
type Handler = Box<dyn Fn(Arc<State>, Call) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

/// Which handler answers which operation.
#[derive(Default)]
pub(super) struct Routes {
    handlers: HashMap<Operation, Handler>,
}

/// All resources.
pub(super) fn routes() -> Routes {
    let mounts = [
        agent_list::mount,
        agent_tools::mount,
        agents::mount,
        all_messages::mount,
        archives::mount,
        batches::mount,
        blocks::mount,
        conversation_messages::mount,
        conversations::mount,
        core_memory::mount,
        groups::mount,
        identities::mount,
        messages::mount,
        models::mount,
        passages::mount,
        runs::mount,
        steps::mount,
        tags::mount,
        tools::mount,
    ];
    mounts.iter().fold(Routes::default(), |routes, mount| mount(routes))
}

impl Routes {
    /// Lets a handler answer an operation.
    fn on<F, Fut>(mut self, operation: Operation, handler: F) -> Self
    where
        F: Fn(Arc<State>, Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Answer> + Send + 'static,
    {
        let present = self.handlers.insert(operation, Box::new(move |state, call| Box::pin(handler(state, call))));
        debug_assert!(present.is_none(), "{operation} is mounted twice");
        self
    }

    /// The handler of an operation.
    pub(super) fn find(&self, operation: Operation) -> Option<&Handler> {
        self.handlers.get(&operation)
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.handlers.keys()).finish()
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
