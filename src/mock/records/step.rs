//! Steps: the model calls that a turn is made of.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    ORGANIZATION, Record,
    agent::Agent,
    model::ModelConfig,
    run::Run,
    stop_reason::{RunStatus, StopReason},
    timestamp::Timestamp,
    turn_error::TurnError,
    usage::Usage,
};
use crate::mock::models::catalogue::Handle;

/// A step. What is stored is what goes over the wire, in Letta's order, and then what its metrics tell.
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
    /// How long it took, which its metrics tell.
    #[serde(default, rename = "_timing")]
    timing: Timing,
    #[serde(default = "Timestamp::now", rename = "_created_at")]
    pub(in crate::mock) created_at: Timestamp,
}

/// How long the parts of a step took, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(in crate::mock) struct Timing {
    pub(in crate::mock) model: i64,
    /// None: no tool ran.
    pub(in crate::mock) tools: Option<i64>,
}

/// A step that a turn has made.
#[derive(Clone, Debug)]
pub(in crate::mock) struct EndedStep {
    pub(in crate::mock) id: String,
    pub(in crate::mock) usage: Usage,
    pub(in crate::mock) stop_reason: StopReason,
    pub(in crate::mock) timing: Timing,
    pub(in crate::mock) failure: Option<TurnError>,
}

impl Record for Step {
    const KIND: &'static str = "step";
    const NAME: &'static str = "Step";

    fn id(&self) -> &str {
        &self.id
    }
}

impl Step {
    /// The record of a step that has ended. `model`: the handle of the model that answered.
    pub(in crate::mock) fn new(ended: &EndedStep, agent: &Agent, run: &Run, model: &str) -> Self {
        let other = Handle::parse(model).ok().filter(|_| model != agent.model.handle).map(ModelConfig::of);
        let llm = &other.as_ref().unwrap_or(&agent.model).llm;
        let of_model = |name: &str| llm.get(name).cloned().unwrap_or_default();
        let status = match ended.stop_reason.status() {
            RunStatus::Cancelled => "cancelled",
            RunStatus::Failed => "failed",
            _ => "success",
        };
        let (usage, failure) = (ended.usage, ended.failure.as_ref());
        Self {
            id: ended.id.clone(),
            origin: None,
            organization_id: ORGANIZATION.to_owned(),
            provider_id: None,
            run_id: run.id.clone(),
            agent_id: agent.id.clone(),
            provider_name: of_model("provider_name"),
            provider_category: of_model("provider_category"),
            model: of_model("model"),
            model_handle: model.to_owned(),
            model_endpoint: of_model("model_endpoint"),
            context_window_limit: of_model("context_window"),
            completion_tokens: usage.completion_tokens,
            prompt_tokens: usage.prompt_tokens,
            total_tokens: usage.total_tokens,
            cached_input_tokens: None,
            cache_write_tokens: None,
            reasoning_tokens: None,
            completion_tokens_details: json!({"reasoning_tokens": usage.reasoning_tokens}),
            prompt_tokens_details: json!({"cached_tokens": 0, "cache_read_tokens": 0, "cache_creation_tokens": 0}),
            stop_reason: ended.stop_reason,
            tags: Vec::new(),
            tid: None,
            trace_id: None,
            request_id: None,
            messages: Vec::new(),
            feedback: None,
            project_id: agent.project_id.clone(),
            error_type: failure.map(|failure| failure.error_type.to_owned()),
            error_data: failure.map(|failure| json!({"message": failure.message, "detail": failure.detail})),
            status: status.to_owned(),
            timing: ended.timing,
            created_at: Timestamp::now(),
        }
    }

    /// The step as clients see it.
    pub(in crate::mock) fn wire(&self) -> Value {
        let mut wire = json!(self);
        if let Some(map) = wire.as_object_mut() {
            map.retain(|key, _| !key.starts_with('_'));
        }
        wire
    }

    /// What it has measured. The order of the keys is Letta's.
    pub(in crate::mock) fn metrics(&self) -> Value {
        json!({
            "id": self.id,
            "organization_id": self.organization_id,
            "provider_id": null,
            "run_id": self.run_id,
            "agent_id": self.agent_id,
            "step_start_ns": null,
            "llm_request_start_ns": null,
            "llm_request_ns": self.timing.model,
            "tool_execution_ns": self.timing.tools,
            "step_ns": self.timing.model + self.timing.tools.unwrap_or_default(),
            "base_template_id": null,
            "template_id": null,
            "project_id": self.project_id,
        })
    }

    /// Whether a list with these filters shows it.
    pub(in crate::mock) fn fits(&self, filter: &StepFilter<'_>) -> bool {
        let feedback = self.feedback.as_deref();
        filter.model.is_none_or(|model| self.model.as_str() == Some(model) || self.model_handle == model)
            && filter.agent_id.is_none_or(|agent| self.agent_id == agent)
            && filter.project_id.is_none_or(|project| self.project_id.as_deref() == Some(project))
            && filter.from.is_none_or(|from| self.created_at >= from)
            && filter.to.is_none_or(|to| self.created_at <= to)
            && filter.feedback.is_none_or(|wanted| feedback == Some(wanted))
            && filter.has_feedback.is_none_or(|has| feedback.is_some() == has)
            && (filter.trace_ids.is_empty()
                || self.trace_id.as_deref().is_some_and(|trace| filter.trace_ids.contains(&trace)))
            && filter.tags.iter().all(|tag| self.tags.iter().any(|present| present == tag))
    }

    /// Takes what a person says about it.
    pub(in crate::mock) fn judge(&mut self, feedback: Option<&str>, tags: Option<Vec<String>>) {
        self.feedback = feedback.map(str::to_owned);
        if let Some(tags) = tags {
            self.tags = tags;
        }
    }

    /// The run that it is a step of.
    pub(in crate::mock) fn run_id(&self) -> &str {
        &self.run_id
    }

    /// The handle of the model that answered.
    pub(in crate::mock) fn model_handle(&self) -> &str {
        &self.model_handle
    }

    /// The tokens that its question and its answer took.
    pub(in crate::mock) fn tokens(&self) -> (i64, i64) {
        (self.prompt_tokens, self.completion_tokens)
    }
}

/// Which steps a list shows. Unless told otherwise: all.
#[derive(Clone, Debug, Default)]
pub(in crate::mock) struct StepFilter<'a> {
    pub(in crate::mock) model: Option<&'a str>,
    pub(in crate::mock) agent_id: Option<&'a str>,
    pub(in crate::mock) project_id: Option<&'a str>,
    pub(in crate::mock) from: Option<Timestamp>,
    pub(in crate::mock) to: Option<Timestamp>,
    pub(in crate::mock) feedback: Option<&'a str>,
    pub(in crate::mock) has_feedback: Option<bool>,
    pub(in crate::mock) trace_ids: Vec<&'a str>,
    pub(in crate::mock) tags: Vec<&'a str>,
}
