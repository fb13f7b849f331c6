//! Groups of agents. No current route sends a message to a group, so a group only stores its members and, for sleeptime
//! agents, their progress.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Record;
use crate::{
    entropy,
    error::{ApiError, Code},
    mock::validation::body::{Expect, Fields, one_of},
};

/// A group as it is stored. Its agents and blocks are linked to it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct Group {
    pub(in crate::mock) id: String,
    pub(in crate::mock) manager_type: String,
    pub(in crate::mock) description: String,
    /// The project that the request named; `None` if it named none.
    pub(in crate::mock) project_id: Option<String>,
    pub(in crate::mock) manager_agent_id: Option<String>,
    pub(in crate::mock) termination_token: Option<String>,
    pub(in crate::mock) max_turns: Option<i64>,
    pub(in crate::mock) sleeptime_agent_frequency: Option<i64>,
    /// The number of turns since its agents ran; `None` if turns are not counted.
    #[serde(default)]
    pub(in crate::mock) turns_counter: Option<i64>,
    /// The last message that its agents have processed.
    #[serde(default)]
    pub(in crate::mock) last_processed_message_id: Option<String>,
    pub(in crate::mock) max_message_buffer_length: Option<i64>,
    pub(in crate::mock) min_message_buffer_length: Option<i64>,
    pub(in crate::mock) hidden: Option<bool>,
}

/// The fields of a request.
#[derive(Clone, Debug)]
pub(in crate::mock) struct GroupChange {
    pub(in crate::mock) agent_ids: Option<Vec<String>>,
    pub(in crate::mock) block_ids: Option<Vec<String>>,
    description: Option<String>,
    hidden: Option<bool>,
    manager: Option<Manager>,
}

/// How a group decides which agent responds.
#[derive(Clone, Debug)]
struct Manager {
    kind: &'static str,
    agent_id: Option<String>,
    termination_token: Option<String>,
    max_turns: Option<i64>,
    sleeptime_agent_frequency: Option<i64>,
    max_message_buffer_length: Option<i64>,
    min_message_buffer_length: Option<i64>,
}

/// The kinds of managers. The last one is no longer accepted in requests.
pub(in crate::mock) const MANAGER_TYPES: &[&str] =
    &["round_robin", "supervisor", "dynamic", "sleeptime", "voice_sleeptime", "swarm"];

const VOICE: &str = "voice_sleeptime";

/// The most messages in the buffer of a voice agent before its sleeptime agent processes them, and how many stay then.
pub(in crate::mock) const MOST_BUFFERED: usize = 30;
pub(in crate::mock) const LEAST_BUFFERED: usize = 15;

impl Record for Group {
    const KIND: &'static str = "group";
    const NAME: &'static str = "Group";

    fn id(&self) -> &str {
        &self.id
    }
}

impl GroupChange {
    /// Reads a change.
    pub(in crate::mock) fn read(fields: &Fields<'_>) -> Result<Self, ApiError> {
        fields.check(&[("project_id", Expect::Text)])?;
        let manager = fields.optional::<Fields<'_>>("manager_config")?;
        Ok(Self {
            agent_ids: fields.ids("agent_ids", "agent")?,
            block_ids: fields.ids("shared_block_ids", "block")?,
            description: fields.optional("description")?,
            hidden: fields.optional("hidden")?,
            manager: manager.map(|manager| Manager::read(&manager)).transpose()?,
        })
    }

    /// Reads a request to create a group.
    pub(in crate::mock) fn read_new(fields: &Fields<'_>) -> Result<Self, ApiError> {
        fields.required::<Vec<&str>>("agent_ids")?;
        fields.required::<&str>("description")?;
        let change = Self::read(fields)?;
        if let Some(manager) = &change.manager
            && manager.kind != "round_robin"
            && manager.agent_id.is_none()
        {
            let around = fields.value("manager_config").unwrap_or(&Value::Null);
            return Err(fields.at("manager_config").at("manager_agent_id").missing(around));
        }
        if let Some(manager) = change.manager.as_ref().filter(|manager| manager.kind == VOICE) {
            check_buffer(manager.max_message_buffer_length, manager.min_message_buffer_length)?;
        }
        Ok(change)
    }

    /// The id of the new managing agent, if the request names one.
    pub(in crate::mock) fn manager_agent_id(&self) -> Option<&str> {
        self.manager.as_ref().and_then(|manager| manager.agent_id.as_deref())
    }
}

impl Manager {
    fn read(fields: &Fields<'_>) -> Result<Self, ApiError> {
        let kind = fields.value("manager_type").unwrap_or(&Value::Null);
        let kinds = MANAGER_TYPES.get(..5).unwrap_or_default();
        let kind = one_of(kind, &fields.at("manager_type"), kinds)?;
        let agent_id = fields.id("manager_agent_id", "agent")?;
        Ok(Self {
            kind,
            agent_id,
            termination_token: fields.optional("termination_token")?,
            max_turns: fields.optional("max_turns")?,
            sleeptime_agent_frequency: fields.optional("sleeptime_agent_frequency")?,
            max_message_buffer_length: fields.optional("max_message_buffer_length")?,
            min_message_buffer_length: fields.optional("min_message_buffer_length")?,
        })
    }
}

/// Refuses the buffer lengths of a voice agent that Letta refuses. Both or neither must be given.
fn check_buffer(most: Option<i64>, least: Option<i64>) -> Result<(), ApiError> {
    let problem = match (most, least) {
        (None, None) => return Ok(()),
        (Some(most), Some(least)) if most.min(least) <= 4 => "must be greater than 4",
        (Some(most), Some(least)) if most > least => return Ok(()),
        (Some(_), Some(_)) => "must be in order: the first must be greater than the second",
        _ => "must be given together",
    };
    let problem = format!("INVALID_ARGUMENT: max_message_buffer_length and min_message_buffer_length {problem}");
    Err(ApiError::letta(Code::InvalidRequest, problem))
}

impl Group {
    /// Creates a group.
    pub(in crate::mock) fn create(change: &GroupChange, project_id: Option<String>) -> Self {
        let kind = change.manager.as_ref().map_or("round_robin", |manager| manager.kind);
        let mut group = Self {
            id: entropy::letta_id(Self::KIND),
            manager_type: kind.to_owned(),
            description: String::new(),
            project_id,
            manager_agent_id: None,
            termination_token: (kind == "dynamic").then(|| "DONE!".to_owned()),
            max_turns: None,
            sleeptime_agent_frequency: None,
            turns_counter: None,
            last_processed_message_id: None,
            max_message_buffer_length: None,
            min_message_buffer_length: None,
            hidden: None,
        };
        group.apply(change);
        group
    }

    /// Applies a change. Absent fields stay as they are.
    ///
    /// # Errors
    /// 400 when it names another kind of manager, or lengths that no buffer has.
    pub(in crate::mock) fn change(&mut self, change: &GroupChange) -> Result<(), ApiError> {
        if change.manager.as_ref().is_some_and(|manager| manager.kind != self.manager_type) {
            let problem = "INVALID_ARGUMENT: Cannot change group pattern after creation";
            return Err(ApiError::letta(Code::InvalidRequest, problem));
        }
        self.apply(change);
        if change.manager.is_some() && self.manager_type == VOICE {
            check_buffer(self.max_message_buffer_length, self.min_message_buffer_length)?;
        }
        Ok(())
    }

    fn apply(&mut self, change: &GroupChange) {
        if let Some(description) = &change.description {
            self.description.clone_from(description);
        }
        self.hidden = change.hidden.or(self.hidden);
        let Some(manager) = &change.manager else { return };
        self.manager_agent_id = manager.agent_id.clone().or_else(|| self.manager_agent_id.take());
        self.termination_token = manager.termination_token.clone().or_else(|| self.termination_token.take());
        self.max_turns = manager.max_turns.or(self.max_turns);
        if let Some(frequency) = manager.sleeptime_agent_frequency.filter(|frequency| *frequency != 0) {
            self.sleeptime_agent_frequency = Some(frequency);
            // The first turn counts.
            self.turns_counter.get_or_insert(-1);
        }
        // As in Letta, a change to 0 is none.
        let given = |length: Option<i64>| length.filter(|length| *length != 0);
        self.max_message_buffer_length = given(manager.max_message_buffer_length).or(self.max_message_buffer_length);
        self.min_message_buffer_length = given(manager.min_message_buffer_length).or(self.min_message_buffer_length);
    }

    /// Counts a turn of the main agent and returns whether the sleeptime agents run after it. As in Letta, they run
    /// after the first turn; without a frequency, they run after every turn.
    pub(in crate::mock) fn count_turn(&mut self) -> bool {
        match self.sleeptime_agent_frequency {
            None => true,
            Some(frequency) if frequency > 0 => {
                let counter = (self.turns_counter.unwrap_or(-1) + 1) % frequency;
                self.turns_counter = Some(counter);
                counter == 0
            }
            Some(_) => false,
        }
    }

    /// The index of the last of `messages` new messages that no longer fits the buffer of a voice agent; `None` if all
    /// fit. The minimum length of the buffer always stays in it.
    pub(in crate::mock) fn overflow(&self, messages: usize) -> Option<usize> {
        let length =
            |length: Option<i64>, default| length.map_or(default, |length| usize::try_from(length).unwrap_or(0));
        let most = length(self.max_message_buffer_length, MOST_BUFFERED);
        let least = length(self.min_message_buffer_length, LEAST_BUFFERED);
        (messages > most).then(|| messages.checked_sub(least + 1)).flatten()
    }

    /// The group as clients see it. The order of the keys is Letta's.
    pub(in crate::mock) fn wire(&self, agent_ids: &[String], block_ids: &[String]) -> Value {
        json!({
            "id": self.id,
            "manager_type": self.manager_type,
            "agent_ids": agent_ids,
            "description": self.description,
            "project_id": self.project_id,
            "template_id": null,
            "base_template_id": null,
            "deployment_id": null,
            "shared_block_ids": block_ids,
            "manager_agent_id": self.manager_agent_id,
            "termination_token": self.termination_token,
            "max_turns": self.max_turns,
            "sleeptime_agent_frequency": self.sleeptime_agent_frequency,
            "turns_counter": self.turns_counter,
            "last_processed_message_id": self.last_processed_message_id,
            "max_message_buffer_length": self.max_message_buffer_length,
            "min_message_buffer_length": self.min_message_buffer_length,
            "hidden": self.hidden,
        })
    }
}
