//! The handlers of the operations, and how true they are to Letta.

use std::{collections::BTreeMap, fmt, pin::Pin, sync::Arc};

use crate::{
    access::{Call, Grant, Operation},
    error::ApiError,
    mock::{fidelity::Fidelity, state::State},
    reply::Reply,
};

/// The reason given for an operation that no resource declares.
const UNDECLARED: &str = "No resource of the mock handles it yet.";

/// What a handler returns.
pub(super) type HandlerResult = Result<Reply, ApiError>;
type Handler = Box<dyn Fn(Arc<State>, Call) -> Pin<Box<dyn Future<Output = HandlerResult> + Send>> + Send + Sync>;

/// The handler and the fidelity of each operation.
#[derive(Default)]
pub(in crate::mock) struct Routes {
    routes: BTreeMap<Operation, Route>,
}

struct Route {
    fidelity: Fidelity,
    /// `None` where the operation is declared as not mocked.
    handler: Option<Handler>,
}

impl Routes {
    /// Adds the routes of a resource or of a part of one.
    pub(super) fn with(self, mount: fn(Self) -> Self) -> Self {
        mount(self)
    }

    /// Mounts a handler that responds as Letta does.
    pub(super) fn on<F, Fut>(self, operation: Operation, handler: F) -> Self
    where
        F: Fn(Arc<State>, Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.mount(Fidelity::Full, operation, handler)
    }

    /// Mounts a handler that only stores and shows state; `reason` says what Letta would do beyond that.
    pub(super) fn state_only<F, Fut>(self, operation: Operation, handler: F, reason: &'static str) -> Self
    where
        F: Fn(Arc<State>, Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.mount(Fidelity::StateOnly(reason), operation, handler)
    }

    /// Mounts a handler that always gives the same response; `reason` says why.
    pub(super) fn fixed_shape<F, Fut>(self, operation: Operation, handler: F, reason: &'static str) -> Self
    where
        F: Fn(Arc<State>, Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.mount(Fidelity::FixedShape(reason), operation, handler)
    }

    /// Declares operations that respond with 501, and why.
    pub(super) fn not_mocked(mut self, operations: impl IntoIterator<Item = Operation>, reason: &'static str) -> Self {
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

    /// The handler of an operation; `None` where it is not mocked.
    pub(in crate::mock) fn find(&self, operation: Operation) -> Option<&Handler> {
        self.routes.get(&operation)?.handler.as_ref()
    }

    /// How true the mock is to an operation.
    pub(in crate::mock) fn fidelity(&self, operation: Operation) -> Fidelity {
        // Gatelet handles these itself, in front of a mock as in front of an upstream.
        if matches!(operation.grant(), Grant::Public | Grant::KeyOnly) {
            return Fidelity::Full;
        }
        self.routes.get(&operation).map_or(Fidelity::NotMocked(UNDECLARED), |route| route.fidelity)
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.routes.keys()).finish()
    }
}
