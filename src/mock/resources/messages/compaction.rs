//! The body of requests that compact a history.

use serde_json::{Map, Value};

use crate::{
    error::ApiError,
    mock::validation::body::{Expect, Fields},
};

/// The fields of such a body: the agent of a default conversation, and how to compact it.
#[derive(Default)]
pub(super) struct CompactionRequest {
    pub(super) agent_id: Option<String>,
    pub(super) settings: Option<Map<String, Value>>,
}

pub(super) fn read(body: &Value) -> Result<CompactionRequest, ApiError> {
    const MODES: &[&str] = &["all", "sliding_window", "self_compact_all", "self_compact_sliding_window"];
    let Some(fields) = Fields::of_optional_body(body)? else { return Ok(CompactionRequest::default()) };
    let settings = fields.optional::<Fields<'_>>("compaction_settings")?;
    if let Some(settings) = &settings {
        settings.check(&[
            ("model", Expect::Text),
            ("model_settings", Expect::Object),
            ("prompt", Expect::Text),
            ("prompt_acknowledgement", Expect::Flag),
            ("clip_chars", Expect::Integer),
            ("mode", Expect::Word(MODES)),
            ("sliding_window_percentage", Expect::Number),
        ])?;
    }
    let settings = settings.map(|settings| settings.map().clone());
    Ok(CompactionRequest { agent_id: fields.optional("agent_id")?, settings })
}
