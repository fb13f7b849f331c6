//! One completion by an agent's model, without the agent: nothing is stored, and no tool runs.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{
    models::handles::check_override,
    routes::{HandlerResult, Routes},
};
use crate::{
    access::{Call, Operation},
    error::{ApiError, Code},
    mock::{
        records::{Agent, Message, Part, Role, Usage, turn_error::TurnError},
        responder::{self, ModelRequest},
        state::State,
        text::tokens,
        tools::set::ToolSet,
        validation::body::{Expect, Fields},
    },
    replies::{Continues, Deliveries, DeliveryKind, Facts},
    reply::Reply,
    world::{self, TimerKind},
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
        return Err(fields.at("prompt").breaks_rule("the prompt must not be blank", &prompt.into()));
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
    let attempt = call.attempt.as_deref();
    let key = attempt.map(|attempt| attempt.first().to_string().into());
    let turn = state.responder.replies().begin_turn(key, &agent.id);
    let facts = Facts {
        text: prompt,
        agent: &agent.name,
        agent_id: &agent.id,
        agent_tags: &agent.tags,
        // It belongs to no conversation.
        conversation: "",
        turn: None,
        delivery: Deliveries::from_iter([DeliveryKind::Json]),
        approval: None,
        after: None,
        is_sleeptime: false,
    };
    let chosen = if state.responder.has_nothing_to_choose(attempt) {
        None
    } else {
        state.responder.choose(&turn, 0, &facts, Continues::Begin, attempt).map_err(|failure| unavailable(&failure))?
    };
    let request = ModelRequest {
        agent_name: &agent.name,
        agent_id: &agent.id,
        reply: chosen.as_ref().map(|chosen| (chosen, None)),
        messages: &said,
        tool_set: &tool_set,
        blocks: &[],
        response_format: None,
        // Only the text of the completion is shown.
        reasons: false,
        budget,
        user_texts: None,
    };
    let response = state.responder.respond(&request)?;
    let pause = response.delay.saturating_add(state.latency.first_token);
    world::sleep(pause, TimerKind::Pause, "generate").await;
    if let Some(failure) = response.failure {
        return Err(unavailable(&failure));
    }
    let content = match schema {
        Some(schema) => Value::Object(responder::object_from_text(prompt, schema, &budget.draft())?).to_string(),
        None => Message::new(Role::Assistant, response.parts).text(),
    };
    let written = Message::new(Role::Assistant, vec![Part::text(content.as_str())]);
    world::sleep(state.latency.generation_time(&written), TimerKind::Pause, "generate").await;
    let system = fields.optional::<&str>("system_prompt")?.unwrap_or_default();
    let (prompt_tokens, completion_tokens) =
        (tokens::estimate(system) + tokens::estimate(prompt), tokens::estimate(&content));
    let total_tokens = prompt_tokens + completion_tokens;
    let usage = Usage { completion_tokens, prompt_tokens, total_tokens, step_count: 1, ..Usage::default() };
    Ok(Reply::ok(json!({"content": content, "model": agent.model.handle, "usage": usage.wire(false, &[])})))
}

fn unavailable(failure: &TurnError) -> ApiError {
    ApiError::letta(Code::LlmUnavailable, failure.text().to_owned())
}
