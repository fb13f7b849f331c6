//! The list of models: the agents of the token's policy, by their ids. Names would let one agent pose as another.

use serde_json::{Value, json};

use crate::{access::Call, model::AgentId, reply::Reply};

pub(super) fn list(call: &Call) -> Reply {
    let models: Vec<Value> = call.agents.iter().map(model).collect();
    Reply::ok(json!({"object": "list", "data": models}))
}

fn model(agent: &AgentId) -> Value {
    json!({"id": agent.as_str(), "object": "model", "created": 0, "owned_by": "letta"})
}
