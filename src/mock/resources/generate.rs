//! One answer of an agent's model without the agent: nothing is remembered, and no tool runs.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{HandlerResult, Routes, models::handles::check_override};
use crate::{
    access::{Call, Operation},
    error::{ApiError, Code},
    mock::{
        records::{Agent, Message, Part, Role, Usage},
        responder::{self, ModelRequest},
        state::State,
        text::tokens,
        tools::set::ToolSet,
        validation::body::{Expect, Fields},
    },
    reply::Reply,
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes.on(Operation::GenerateCompletion, generate)
}

async fn generate(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    fields.check(&[("system_prompt", Expect::Text)])?;
    let prompt: &str = fields.required("prompt")?;
    if prompt.trim().is_empty() {
        return Err(fields.at("prompt").breaks_rule("the prompt must say something", &prompt.into()));
    }
    let schema = fields.optional::<&Map<String, Value>>("response_schema")?;
    let mut agent = state.view(&call.permit).get::<Agent>(call.param("agent_id")).await?.record;
    if let Some(handle) = fields.optional::<&str>("override_model")? {
        check_override(&state, &call.permit, Some(handle)).await?;
        agent.model.change(&Fields::of_body(&json!({"model": handle}))?, false)?;
    }
    let said = [Message::new(Role::User, vec![Part::text(prompt)])];
    let tool_set = ToolSet::default();
    let budget = &state.budget(prompt.len(), 1);
    let situation = ModelRequest {
        agent: &agent.name,
        said: &said,
        tool_set: &tool_set,
        blocks: &[],
        form: None,
        // Only the text of the answer is shown.
        reasons: false,
        budget,
        heard: None,
    };
    let answer = state.responder.respond(&situation)?;
    tokio::time::sleep(answer.delay.saturating_add(state.tempo.first_token)).await;
    if let Some(failure) = answer.failure {
        return Err(ApiError::letta(Code::LlmUnavailable, failure.text().to_owned()));
    }
    let content = match schema {
        Some(schema) => Value::Object(responder::filled_in(prompt, schema, &budget.draft())?).to_string(),
        None => Message::new(Role::Assistant, answer.parts).text(),
    };
    let written = Message::new(Role::Assistant, vec![Part::text(content.as_str())]);
    tokio::time::sleep(state.tempo.time_to_write(&written)).await;
    let system = fields.optional::<&str>("system_prompt")?.unwrap_or_default();
    let (prompt_tokens, completion_tokens) =
        (tokens::estimate(system) + tokens::estimate(prompt), tokens::estimate(&content));
    let total_tokens = prompt_tokens + completion_tokens;
    let usage = Usage { completion_tokens, prompt_tokens, total_tokens, step_count: 1, ..Usage::default() };
    Ok(Reply::ok(json!({"content": content, "model": agent.model.handle, "usage": usage.wire(false, &[])})))
}
