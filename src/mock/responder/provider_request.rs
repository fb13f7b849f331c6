//! The requests and responses that clients can inspect as if a model provider had been called.

use serde_json::{Value, json};

use crate::{
    entropy,
    mock::{
        records::{
            ACTOR, Agent, Content, Message, ORGANIZATION, Part, Record, Role, Step, Timestamp, ToolCall, ToolReturn,
        },
        tools::set::{CallableTool, ToolSet},
    },
};

/// A request to the model of an agent, in the format of OpenAI's chat completions.
pub(in crate::mock) fn request(agent: &Agent, model: &str, messages: &[Message], tool_set: Option<&ToolSet>) -> Value {
    let mut request = json!({
        "model": model.split_once('/').map_or(model, |(_, name)| name),
        "messages": messages.iter().flat_map(chat_messages).collect::<Vec<_>>(),
        "max_completion_tokens": agent.model.llm.get("max_tokens"),
        "temperature": agent.model.llm.get("temperature"),
        "user": ACTOR,
        "parallel_tool_calls": agent.model.llm.get("parallel_tool_calls"),
    });
    if let Some(tool_set) = tool_set.filter(|tool_set| !tool_set.tools().is_empty()) {
        let function = |tool: &CallableTool| json!({"type": "function", "function": {"name": tool.name, "parameters": tool.parameters}});
        request["tools"] = tool_set.tools().iter().map(function).collect();
        request["tool_choice"] = "auto".into();
    }
    request
}

/// A stored message as a provider gets it: one message for each result of a tool.
fn chat_messages(message: &Message) -> Vec<Value> {
    match message.role {
        Role::Tool => {
            let result = |returned: &ToolReturn| json!({"role": "tool", "tool_call_id": returned.tool_call_id, "content": returned.tool_return.text()});
            message.tool_returns.iter().map(result).collect()
        }
        Role::Approval if message.tool_calls.is_empty() => Vec::new(),
        Role::Assistant | Role::Approval => {
            let mut reply = json!({"role": "assistant", "content": message.text()});
            if !message.tool_calls.is_empty() {
                reply["tool_calls"] = message.tool_calls.iter().map(function_call).collect();
            }
            vec![reply]
        }
        Role::System => vec![json!({"role": "system", "content": message.text()})],
        Role::User | Role::Summary => vec![json!({"role": "user", "content": message.text()})],
    }
}

fn function_call(call: &ToolCall) -> Value {
    json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}})
}

/// The provider's request and response in a step. `run_messages` are the messages of its run.
pub(in crate::mock) fn trace(step: &Step, agent: &Agent, run_messages: &[Message]) -> Value {
    let is_response = |message: &&Message| {
        message.step_id.as_deref() == Some(step.id()) && matches!(message.role, Role::Assistant | Role::Approval)
    };
    let index = run_messages.iter().position(|message| is_response(&message)).unwrap_or(run_messages.len());
    let mut prompt = vec![Message::new(Role::System, vec![Part::text(agent.system.as_str())])];
    prompt.extend(run_messages[..index].iter().cloned());
    let response = run_messages.iter().find(is_response);
    let calls: Vec<Value> =
        response.map(|response| response.tool_calls.iter().map(function_call).collect()).unwrap_or_default();
    let (prompt_tokens, completion_tokens) = step.tokens();
    let created_at: Timestamp = step.created_at;
    json!({
        "created_by_id": ACTOR,
        "last_updated_by_id": ACTOR,
        "created_at": created_at,
        "updated_at": created_at,
        "id": entropy::letta_id("provider_trace"),
        "request_json": request(agent, step.model_handle(), &prompt, None),
        "response_json": {
            "id": format!("chatcmpl-{}", step.id()),
            "object": "chat.completion",
            "model": step.model_handle(),
            "choices": [{
                "index": 0,
                "finish_reason": if calls.is_empty() { "stop" } else { "tool_calls" },
                "message": {
                    "role": "assistant",
                    "content": response.map(|response| Content::Text(response.text())),
                    "tool_calls": if calls.is_empty() { Value::Null } else { calls.into() },
                },
            }],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": prompt_tokens + completion_tokens,
            },
        },
        "step_id": step.id(),
        "agent_id": agent.id,
        "agent_tags": agent.tags,
        "call_type": "agent_step",
        "run_id": step.run_id(),
        "source": null,
        "org_id": ORGANIZATION,
        "user_id": ACTOR,
        "compaction_settings": null,
        "llm_config": agent.model.llm,
        "billing_context": null,
    })
}
