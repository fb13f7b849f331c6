//! Runs: the turns of agents, each with its state and its end.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    DEFAULT_CONVERSATION, ORGANIZATION, Record,
    message_view::MessageView,
    object,
    stop_reason::{RunStatus, StopReason},
    timestamp::Timestamp,
    turn_request::{Delivery, TurnRequest},
    usage::Usage,
};
use crate::entropy;

/// A run as it is stored.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct Run {
    pub(in crate::mock) id: String,
    pub(in crate::mock) status: RunStatus,
    pub(in crate::mock) created_at: Timestamp,
    pub(in crate::mock) completed_at: Option<Timestamp>,
    pub(in crate::mock) agent_id: String,
    /// None: the default conversation.
    pub(in crate::mock) conversation_id: Option<String>,
    pub(in crate::mock) background: bool,
    pub(in crate::mock) metadata: Map<String, Value>,
    /// How its messages are to be shown.
    pub(in crate::mock) request_config: MessageView,
    pub(in crate::mock) stop_reason: Option<StopReason>,
    pub(in crate::mock) callback_url: Option<String>,
    pub(in crate::mock) total_duration_ns: Option<i64>,
    pub(in crate::mock) usage: Usage,
    /// Its steps, in order.
    #[serde(default)]
    pub(in crate::mock) steps: Vec<String>,
    /// The tools that it called, each once.
    #[serde(default)]
    pub(in crate::mock) tools_used: Vec<String>,
    /// How it is streamed, when the stream can be read again.
    #[serde(default)]
    pub(in crate::mock) delivery: Option<Delivery>,
    /// The runs of sleeptime agents that began when it ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::mock) sleeptime_runs: Vec<String>,
    /// When the process that streams it last said that it does.
    #[serde(default)]
    pub(in crate::mock) alive_at: Option<Timestamp>,
    /// The kind of link by which a repeated request is recognized.
    #[serde(default, rename = "mark")]
    pub(in crate::mock) idempotency_key: Option<String>,
    /// What is still to be done, when it must survive this process.
    pub(in crate::mock) request: Option<TurnRequest>,
}

/// By which route a turn was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::mock) enum RunType {
    /// The plain one, whether it streams or not.
    Plain,
    /// The one that always streams.
    Streaming,
    /// The one that answers before the turn begins.
    Async,
    /// The one of conversations.
    Conversation,
    /// None: a sleeptime agent goes through what was said to another.
    Sleeptime,
}

/// How Letta calls the runs of sleeptime agents.
const SLEEPTIME: &str = "sleeptime_agent_send_message_async";

impl RunType {
    fn metadata(self) -> Map<String, Value> {
        match self {
            Self::Plain => object! {"run_type": "send_message"},
            Self::Streaming => object! {"run_type": "send_message_streaming"},
            Self::Async => object! {"run_type": "send_message_async", "lettuce": null},
            Self::Conversation => object! {"run_type": "send_conversation_message"},
            Self::Sleeptime => object! {"run_type": SLEEPTIME},
        }
    }
}

impl Record for Run {
    const KIND: &'static str = "run";
    const NAME: &'static str = "Run";

    fn id(&self) -> &str {
        &self.id
    }
}

impl Run {
    /// A run that begins now.
    pub(in crate::mock) fn begin(
        agent_id: &str,
        run_type: RunType,
        background: bool,
        message_view: MessageView,
    ) -> Self {
        Self {
            id: entropy::letta_id(Self::KIND),
            status: RunStatus::Running,
            created_at: Timestamp::now(),
            completed_at: None,
            agent_id: agent_id.to_owned(),
            conversation_id: None,
            background,
            metadata: run_type.metadata(),
            request_config: message_view,
            stop_reason: None,
            callback_url: None,
            total_duration_ns: None,
            usage: Usage::default(),
            steps: Vec::new(),
            tools_used: Vec::new(),
            delivery: None,
            sleeptime_runs: Vec::new(),
            alive_at: None,
            idempotency_key: None,
            request: None,
        }
    }

    /// What the messages of its conversation are filed under.
    pub(in crate::mock) fn thread_id(&self) -> &str {
        self.conversation_id.as_deref().unwrap_or(DEFAULT_CONVERSATION)
    }

    /// Whether its client did not wait for it.
    pub(in crate::mock) fn is_async(&self) -> bool {
        self.is_of_type("send_message_async") || self.is_of_sleeptime_agent()
    }

    /// Whether a sleeptime agent goes through what was said to another.
    pub(in crate::mock) fn is_of_sleeptime_agent(&self) -> bool {
        self.is_of_type(SLEEPTIME)
    }

    fn is_of_type(&self, word: &str) -> bool {
        self.metadata.get("run_type").is_some_and(|run_type| run_type == word)
    }

    /// Whether it has ended.
    pub(in crate::mock) fn has_ended(&self) -> bool {
        !matches!(self.status, RunStatus::Created | RunStatus::Running)
    }

    /// Ends it now. Its request is no longer needed.
    pub(in crate::mock) fn end(&mut self, stop_reason: StopReason) {
        self.status = stop_reason.status();
        self.stop_reason = Some(stop_reason);
        self.completed_at = Some(Timestamp::now());
        self.total_duration_ns = Some(self.created_at.elapsed_nanos());
        self.request = None;
    }

    /// Ends it now as failed.
    pub(in crate::mock) fn fail(&mut self, why: &str, stop_reason: StopReason) {
        self.end(stop_reason);
        self.metadata.insert("error".into(), why.into());
    }

    /// The run as a list shows it: with how long it took.
    pub(in crate::mock) fn wire_in_list(&self) -> Value {
        let mut wire = self.wire();
        wire["total_duration_ns"] = json!(self.total_duration_ns);
        wire
    }

    /// What it has measured. The order of the keys is Letta's.
    pub(in crate::mock) fn metrics(&self, project_id: Option<&str>) -> Value {
        json!({
            "id": self.id,
            "organization_id": ORGANIZATION,
            "agent_id": self.agent_id,
            "project_id": project_id,
            "run_start_ns": self.created_at.nanos(),
            "run_ns": self.total_duration_ns,
            "num_steps": self.steps.len(),
            "tools_used": self.tools_used,
            "template_id": null,
            "base_template_id": null,
        })
    }

    /// The run as clients see it. The order of the keys is Letta's; durations are shown only in lists.
    pub(in crate::mock) fn wire(&self) -> Value {
        json!({
            "id": self.id,
            "status": self.status,
            "created_at": self.created_at,
            "completed_at": self.completed_at,
            "agent_id": self.agent_id,
            "conversation_id": self.conversation_id,
            "base_template_id": null,
            "background": self.background,
            "metadata": self.metadata,
            "request_config": self.request_config,
            "stop_reason": self.stop_reason,
            "callback_url": self.callback_url,
            "callback_sent_at": null,
            "callback_status_code": null,
            "callback_error": null,
            "ttft_ns": null,
            "total_duration_ns": null,
        })
    }
}
