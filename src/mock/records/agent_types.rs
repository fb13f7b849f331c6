//! The types of agents.

/// The words for them, as Letta has them.
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
/// The type of an agent whose request names no other.
pub(super) const DEFAULT_AGENT_TYPE: &str = "letta_v1_agent";

/// Whether agents of a type take their turns in the older way. Those that think in the background for others no longer do.
pub(in crate::mock) fn is_older(agent_type: &str) -> bool {
    !matches!(agent_type, "letta_v1_agent" | "sleeptime_agent")
}
