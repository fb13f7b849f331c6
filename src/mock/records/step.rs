//! Steps: the model calls that a turn is made of.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    ORGANIZATION, Record,
    agent::Agent,
    run::{Run, RunStatus, StopReason},
    wire::Usage,
};

/// A step. What is stored is what goes over the wire, in Letta's order.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct Step {
    id: String,
    origin: Option<String>,
    organization_id: String,
    provider_id: Option<String>,
    run_id: String,
    pub(in crate::mock) agent_id: String,
    provider_name: Value,
    provider_category: Value,
    model: Value,
    model_handle: String,
    model_endpoint: Value,
    context_window_limit: Value,
    completion_tokens: i64,
    prompt_tokens: i64,
    total_tokens: i64,
    cached_input_tokens: Option<i64>,
    cache_write_tokens: Option<i64>,
    reasoning_tokens: Option<i64>,
    completion_tokens_details: Value,
    prompt_tokens_details: Value,
    stop_reason: StopReason,
    tags: Vec<String>,
    tid: Option<String>,
    trace_id: Option<String>,
    request_id: Option<String>,
    messages: Vec<Value>,
    feedback: Option<String>,
    project_id: Option<String>,
    error_type: Option<String>,
    error_data: Option<Value>,
    status: String,
}

impl Record for Step {
    const KIND: &'static str = "step";
    const NAME: &'static str = "Step";

    fn id(&self) -> &str {
        &self.id
    }
}

impl Step {
    /// The record of a step that has ended.
    pub(in crate::mock) fn ended(id: &str, agent: &Agent, run: &Run, usage: Usage, stop_reason: StopReason) -> Self {
        let of_model = |name: &str| agent.model.llm.get(name).cloned().unwrap_or_default();
        let status = match stop_reason.status() {
            RunStatus::Cancelled => "cancelled",
            RunStatus::Failed => "failed",
            _ => "success",
        };
        Self {
            id: id.to_owned(),
            origin: None,
            organization_id: ORGANIZATION.to_owned(),
            provider_id: None,
            run_id: run.id.clone(),
            agent_id: agent.id.clone(),
            provider_name: of_model("provider_name"),
            provider_category: of_model("provider_category"),
            model: of_model("model"),
            model_handle: agent.model.handle.clone(),
            model_endpoint: of_model("model_endpoint"),
            context_window_limit: of_model("context_window"),
            completion_tokens: usage.completion_tokens,
            prompt_tokens: usage.prompt_tokens,
            total_tokens: usage.total_tokens,
            cached_input_tokens: None,
            cache_write_tokens: None,
            reasoning_tokens: None,
            completion_tokens_details: serde_json::json!({"reasoning_tokens": usage.reasoning_tokens}),
            prompt_tokens_details: serde_json::json!({
                "cached_tokens": 0, "cache_read_tokens": 0, "cache_creation_tokens": 0,
            }),
            stop_reason,
            tags: Vec::new(),
            tid: None,
            trace_id: None,
            request_id: None,
            messages: Vec::new(),
            feedback: None,
            project_id: agent.project_id.clone(),
            error_type: None,
            error_data: None,
            status: status.to_owned(),
        }
    }
}
