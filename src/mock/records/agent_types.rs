//! The types of agents.

/// All of Letta's agent types.
pub(super) const AGENT_TYPES: &[&str] = &[
    "memgpt_agent",
    "memgpt_v2_agent",
    "letta_v1_agent",
    "react_agent",
    "workflow_agent",
    "split_thread_agent",
    "sleeptime_agent",
    "voice_convo_agent",
    "voice_sleeptime_agent",
];
/// The type of an agent if the request does not name one.
pub(super) const DEFAULT_AGENT_TYPE: &str = "letta_v1_agent";

/// Whether agents of a type take their turns in the older way: one tool call at a time, with heartbeats, and speaking
/// through a tool. Sleeptime agents no longer do.
pub(in crate::mock) fn is_older(agent_type: &str) -> bool {
    !matches!(agent_type, "letta_v1_agent" | "sleeptime_agent")
}
