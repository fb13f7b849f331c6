//! Letta's App Server, mocked: its WebSocket protocol on the agents, conversations and turns of the mock.
//!
//! A frame becomes a call of the V1 API, and its response is written as the App Server writes it. What the gate never
//! forwards is not mocked. Turns that are begun here are streamed here; those of the V1 API appear in the history.

mod events;
mod memory;
mod shapes;
mod turn;

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::{
    Mock,
    running::{Accepted, Runtime, Subscriber},
};
use crate::{
    access::{Call, DEFAULT_CONVERSATION, Operation, Params, Permit},
    error::ApiError,
    reply::Reply,
    request::{
        headers::AllowedHeaders,
        input::{Payload, Query},
    },
};

/// The version of Letta Code that is mocked.
const VERSION: &str = "0.34.12";

type Object = Map<String, Value>;

/// A socket of the App Server's protocol.
#[derive(Clone)]
pub(crate) struct Socket {
    mock: Mock,
    permit: Permit,
    subscriber: Arc<Subscriber>,
}

/// Why a command fails, in a sentence.
struct Failed(String);

impl From<ApiError> for Failed {
    fn from(error: ApiError) -> Self {
        Self(error.message().to_owned())
    }
}

impl Mock {
    /// Opens a socket of the App Server's protocol. The frames that it is sent arrive at the receiver.
    pub(crate) fn app_server(&self, permit: Permit) -> (Socket, mpsc::Receiver<String>) {
        let (subscriber, frames) = Subscriber::new();
        (Socket { mock: self.clone(), permit, subscriber }, frames)
    }
}

impl Socket {
    /// Handles a frame. The App Server is silent about what it does not understand.
    pub(crate) async fn receive(&self, frame: &str) {
        let Ok(frame) = serde_json::from_str::<Object>(frame) else { return };
        let Some(kind) = frame.get("type").and_then(Value::as_str) else { return };
        if kind == "input" {
            return self.input(&frame);
        }
        let Some(empty) = empty(kind) else { return };
        let done = match kind {
            "app_server_info" => Ok(info()),
            "runtime_start" => return self.start(&frame, &empty).await,
            "sync" => self.sync(&frame),
            "abort_message" => self.abort(&frame).await,
            "resume_queue" => self.resume(&frame),
            "remove_queue_item" => self.remove(&frame),
            "get_reflection_settings" => reflection(&frame),
            "conversation_list" => self.conversations(&frame).await,
            "conversation_create" => self.create(&frame).await,
            "conversation_retrieve" => self.conversation(Operation::RetrieveConversation, &frame).await,
            "conversation_update" => self.conversation(Operation::ModifyConversation, &frame).await,
            "conversation_fork" => self.fork(&frame).await,
            "conversation_compact" => self.compact(&frame).await,
            "conversation_messages_list" => self.messages(&frame).await,
            "agent_retrieve" => self.agent(Operation::RetrieveAgent, &frame).await,
            "agent_update" => self.agent(Operation::ModifyAgent, &frame).await,
            _ => memory::respond(self, kind, &frame).await,
        };
        self.respond(&frame, &empty, done);
    }

    /// Sends the response to a command, if it has an id: what it has done, or why it failed.
    fn respond(&self, frame: &Object, empty: &Object, done: Result<Value, Failed>) {
        let (Some(kind), Some(request_id)) = (frame.get("type").and_then(Value::as_str), frame.get("request_id"))
        else {
            return;
        };
        let mut response = Object::new();
        response.insert("type".into(), format!("{kind}_response").into());
        response.insert("request_id".into(), request_id.clone());
        match done {
            Ok(Value::Object(own)) => response.extend(own),
            Ok(_) => {}
            Err(Failed(sentence)) => {
                response.insert("success".into(), false.into());
                response.extend(empty.clone());
                if let (Some(runtime), Some(own)) = (frame.get("runtime"), response.get_mut("runtime")) {
                    own.clone_from(runtime);
                }
                response.insert("error".into(), sentence.into());
            }
        }
        self.subscriber.send(&Value::Object(response));
    }

    /// Calls an operation of the V1 API and reads its response whole.
    async fn call(
        &self,
        operation: Operation,
        params: &[(&'static str, &str)],
        query: &[(&str, String)],
        body: Value,
    ) -> Result<Value, ApiError> {
        match self.mock.handle(self.request(operation, params, query, body)).await? {
            Reply::Json(_, value) | Reply::Rewritten(_, value) => Ok(value),
            Reply::Written(_, written) => Ok(serde_json::from_slice(&written.text).map_err(ApiError::internal)?),
            Reply::Empty(_) | Reply::Events(_) | Reply::Passed(_) => Ok(Value::Null),
        }
    }

    fn request(
        &self,
        operation: Operation,
        params: &[(&'static str, &str)],
        query: &[(&str, String)],
        body: Value,
    ) -> Call {
        let params = params.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        Call {
            operation,
            params: Params::of(params.collect()),
            query: Query::of(query.collect()),
            headers: AllowedHeaders::default(),
            permit: self.permit.clone(),
            payload: Payload::Checked(body),
            agents: Vec::new(),
            attempt: None,
        }
    }

    /// The runtime that a frame names, which the socket is subscribed to from now on.
    fn runtime(&self, frame: &Object) -> Result<Arc<Runtime>, Failed> {
        let runtime = frame.get("runtime").and_then(Value::as_object).ok_or_else(|| Failed("No runtime".into()))?;
        let (agent, conversation) = (text(runtime, "agent_id")?, text(runtime, "conversation_id")?);
        let runtime = self.mock.state.runtimes.of(agent, conversation);
        runtime.subscribe(&self.subscriber);
        Ok(runtime)
    }

    async fn start(&self, frame: &Object, empty: &Object) {
        match self.started(frame).await {
            Ok((runtime, response)) => {
                let waits = frame.get("wait_for_replay") == Some(&Value::Bool(true));
                if waits {
                    events::replay(&runtime, &self.subscriber);
                }
                self.respond(frame, empty, Ok(response));
                if !waits {
                    events::replay(&runtime, &self.subscriber);
                }
            }
            Err(failed) => self.respond(frame, empty, Err(failed)),
        }
    }

    async fn started(&self, frame: &Object) -> Result<(Arc<Runtime>, Value), Failed> {
        let agent_id = text(frame, "agent_id")?;
        let agent = self.call(Operation::RetrieveAgent, &[("agent_id", agent_id)], &[], Value::Null).await;
        let agent = agent.map_err(|_| Failed(format!("Agent {agent_id} not found")))?;
        let (conversation, is_new) = match frame.get("conversation_id").and_then(Value::as_str) {
            Some(DEFAULT_CONVERSATION) => (shapes::default_conversation(&agent), false),
            Some(id) => (shapes::conversation(&self.find_conversation(id).await?), false),
            None => {
                let body = frame.get("create_conversation").and_then(|new| new.get("body")).cloned();
                (self.new_conversation(agent_id, body.unwrap_or_else(|| json!({}))).await?, true)
            }
        };
        if conversation["agent_id"] != agent_id {
            let owner = conversation["agent_id"].as_str().unwrap_or_default();
            let id = conversation["id"].as_str().unwrap_or_default();
            return Err(Failed(format!("Conversation {id} belongs to {owner}, not {agent_id}")));
        }
        let runtime = self.mock.state.runtimes.of(agent_id, conversation["id"].as_str().unwrap_or_default());
        runtime.subscribe(&self.subscriber);
        let mut response = json!({
            "success": true,
            "runtime": runtime.scope(),
            "agent": shapes::agent(&agent),
            "conversation": conversation,
            "created": {"agent": false, "conversation": is_new},
        });
        if let Some(settings) = frame.get("execution_settings") {
            response["execution_settings"] = settings.clone();
        }
        Ok((runtime, response))
    }

    fn sync(&self, frame: &Object) -> Result<Value, Failed> {
        let runtime = self.runtime(frame)?;
        events::replay(&runtime, &self.subscriber);
        Ok(json!({"runtime": runtime.scope(), "success": true}))
    }

    /// Takes messages, or says that there are none.
    fn input(&self, frame: &Object) {
        let Ok(runtime) = self.runtime(frame) else { return };
        let payload = frame.get("payload");
        let messages = payload.and_then(|payload| payload.get("messages")?.as_array()).cloned().unwrap_or_default();
        let kind = payload.and_then(|payload| payload.get("kind")?.as_str()).unwrap_or_default();
        if kind != "create_message" || messages.is_empty() {
            return runtime.emit(&events::loop_error(&format!("Unsupported input payload kind: {kind}"), None, false));
        }
        let id = messages[0].get("client_message_id").and_then(Value::as_str);
        let id = id.map_or_else(crate::entropy::uuid, str::to_owned);
        let accepted = runtime.accept(id, messages, self.permit.clone());
        let disposition = if matches!(accepted, Accepted::Queued) { "queued" } else { "started" };
        if let Some(request_id) = frame.get("request_id") {
            self.subscriber.send(&json!({
                "type": "input_accepted", "request_id": request_id, "runtime": runtime.scope(), "accepted": true,
                "disposition": disposition,
            }));
        }
        match accepted {
            Accepted::Started(queued) => turn::begin(&self.mock, runtime, queued),
            Accepted::Queued => events::queue(&runtime, &[]),
            Accepted::Repeated => {}
        }
    }

    async fn abort(&self, frame: &Object) -> Result<Value, Failed> {
        let runtime = self.runtime(frame)?;
        let has_turn = runtime.lock().has_turn;
        if has_turn {
            runtime.park();
            let (conversation, agent) = (runtime.conversation_id.as_str(), runtime.agent_id.clone());
            let query = [("agent_id", agent)];
            // A turn that ends at the same time is not cancelled.
            let cancelled = self
                .call(Operation::CancelConversation, &[("conversation_id", conversation)], &query, Value::Null)
                .await;
            return Ok(json!({"runtime": runtime.scope(), "aborted": cancelled.is_ok(), "success": true}));
        }
        Ok(json!({"runtime": runtime.scope(), "aborted": false, "success": true}))
    }

    fn resume(&self, frame: &Object) -> Result<Value, Failed> {
        let runtime = self.runtime(frame)?;
        let (resumed, next) = runtime.resume();
        events::queue(&runtime, &[]);
        if let Some(next) = next {
            turn::begin(&self.mock, Arc::clone(&runtime), next);
        }
        Ok(json!({"runtime": runtime.scope(), "resumed": resumed, "success": true}))
    }

    fn remove(&self, frame: &Object) -> Result<Value, Failed> {
        let runtime = self.runtime(frame)?;
        let item_id = text(frame, "item_id")?;
        let removed = runtime.remove(item_id).ok_or_else(|| Failed("Queue item not found".into()))?;
        events::queue(&runtime, &[(&removed.client_message_id, "cancelled")]);
        Ok(json!({"success": true, "item_id": item_id}))
    }

    async fn find_conversation(&self, id: &str) -> Result<Value, Failed> {
        let found = self.call(Operation::RetrieveConversation, &[("conversation_id", id)], &[], Value::Null).await;
        found.map_err(|_| Failed(format!("Conversation {id} not found")))
    }

    async fn new_conversation(&self, agent_id: &str, body: Value) -> Result<Value, Failed> {
        let query = [("agent_id", agent_id.to_owned())];
        let body = json!({"summary": body.get("summary").cloned().unwrap_or_default()});
        let created = self.call(Operation::CreateConversation, &[], &query, body).await;
        Ok(shapes::conversation(&created.map_err(|_| Failed(format!("Agent {agent_id} not found")))?))
    }

    async fn conversations(&self, frame: &Object) -> Result<Value, Failed> {
        let query = shapes::query(frame, &["agent_id", "limit", "after", "order"]);
        let found = self.call(Operation::ListConversations, &[], &query, Value::Null).await?;
        let found: Vec<Value> = found.as_array().into_iter().flatten().map(shapes::conversation).collect();
        Ok(json!({"success": true, "conversations": found}))
    }

    async fn create(&self, frame: &Object) -> Result<Value, Failed> {
        let body = frame.get("body").cloned().unwrap_or_default();
        let agent = body.get("agent_id").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(json!({"success": true, "conversation": self.new_conversation(&agent, body).await?}))
    }

    async fn conversation(&self, operation: Operation, frame: &Object) -> Result<Value, Failed> {
        let id = text(frame, "conversation_id")?;
        let body = frame.get("body").cloned().unwrap_or_default();
        let found = self.call(operation, &[("conversation_id", id)], &[], body).await;
        let found = found.map_err(|_| Failed(format!("Conversation {id} not found")))?;
        Ok(json!({"success": true, "conversation": shapes::conversation(&found)}))
    }

    async fn fork(&self, frame: &Object) -> Result<Value, Failed> {
        let id = text(frame, "conversation_id")?;
        let query: Vec<(&str, String)> = match frame.get("body").and_then(|body| body.get("message_id")?.as_str()) {
            Some(message) => vec![("message_id", message.to_owned())],
            None => Vec::new(),
        };
        let copy = self.call(Operation::ForkConversation, &[("conversation_id", id)], &query, Value::Null).await?;
        Ok(json!({"success": true, "conversation": {"id": copy["id"]}}))
    }

    async fn compact(&self, frame: &Object) -> Result<Value, Failed> {
        let id = text(frame, "conversation_id")?;
        let done = self.call(Operation::CompactConversation, &[("conversation_id", id)], &[], Value::Null).await?;
        let compaction = json!({
            "num_messages_before": done["num_messages_before"], "num_messages_after": done["num_messages_after"],
            "summary": done["summary"],
        });
        Ok(json!({"success": true, "compaction": compaction}))
    }

    async fn messages(&self, frame: &Object) -> Result<Value, Failed> {
        let id = text(frame, "conversation_id")?;
        let mut query = shapes::query(frame, &["agent_id", "limit", "before", "after", "order"]);
        // One more tells whether there are more.
        let limit = query.iter().find(|(name, _)| *name == "limit").and_then(|(_, limit)| limit.parse().ok());
        let limit: usize = limit.unwrap_or(50);
        query.retain(|(name, _)| *name != "limit");
        query.push(("limit", (limit + 1).to_string()));
        let found =
            self.call(Operation::ListConversationMessages, &[("conversation_id", id)], &query, Value::Null).await?;
        let found = found.as_array().map(Vec::as_slice).unwrap_or_default();
        let shown = &found[..limit.min(found.len())];
        let agent = query.iter().find(|(name, _)| *name == "agent_id").map(|(_, agent)| agent.clone());
        let agent = match agent {
            Some(agent) => agent,
            None => self.find_conversation(id).await?["agent_id"].as_str().unwrap_or_default().to_owned(),
        };
        let messages: Vec<Value> =
            shown.iter().filter_map(|message| shapes::stored_message(message, &agent, id)).collect();
        let next = shown.last().map_or(Value::Null, |message| message["id"].clone());
        Ok(json!({"success": true, "messages": messages, "next_before": next, "has_more": found.len() > limit}))
    }

    async fn agent(&self, operation: Operation, frame: &Object) -> Result<Value, Failed> {
        let id = text(frame, "agent_id")?;
        let body = frame.get("body").cloned().unwrap_or_default();
        let found = self.call(operation, &[("agent_id", id)], &[], body).await;
        let found = found.map_err(|_| Failed(format!("Agent {id} not found")))?;
        Ok(json!({"success": true, "agent": shapes::agent(&found)}))
    }
}

/// A text that a frame must have.
fn text<'a>(object: &'a Object, name: &str) -> Result<&'a str, Failed> {
    object.get(name).and_then(Value::as_str).ok_or_else(|| Failed(format!("{name} is required")))
}

/// The keys of a failed response besides those of all; `None` for a type that is not mocked.
fn empty(kind: &str) -> Option<Object> {
    let keys = match kind {
        "app_server_info" | "get_reflection_settings" => json!({}),
        "runtime_start" => json!({
            "runtime": null, "agent": null, "conversation": null, "created": {"agent": false, "conversation": false},
        }),
        "sync" => json!({"runtime": null}),
        "abort_message" => json!({"runtime": null, "aborted": false}),
        "resume_queue" => json!({"runtime": null, "resumed": 0}),
        "remove_queue_item" => json!({"item_id": ""}),
        "conversation_list" => json!({"conversations": []}),
        "conversation_create" | "conversation_retrieve" | "conversation_update" | "conversation_fork" => {
            json!({"conversation": null})
        }
        "conversation_compact" => json!({"compaction": null}),
        "conversation_messages_list" => json!({"messages": [], "next_before": null, "has_more": false}),
        "agent_retrieve" | "agent_update" => json!({"agent": null}),
        _ => return memory::empty(kind),
    };
    keys.as_object().cloned()
}

fn info() -> Value {
    json!({
        "success": true, "backend": "local", "letta_code_version": VERSION, "protocol_version": 1,
        "capabilities": {
            "agent_management": false, "conversation_management": true, "memory_management": true,
            "runtime_start": true, "agent_free_conversations": false, "launch_subagent": false,
            "launch_subagent_notify_caller": false, "runtime_workspace_sandbox": false,
            "runtime_external_tools_update": false, "structured_outputs": false, "split_channels": false,
        },
    })
}

/// The mock has no sub-agents, so nothing reflects.
fn reflection(frame: &Object) -> Result<Value, Failed> {
    let runtime = frame.get("runtime").and_then(Value::as_object).ok_or_else(|| Failed("No runtime".into()))?;
    let agent = text(runtime, "agent_id")?;
    let settings =
        json!({"agent_id": agent, "trigger": "off", "step_count": 25, "merge": "auto", "merge_instructions": ""});
    Ok(json!({"success": true, "reflection_settings": settings}))
}
