//! Messages that are scheduled to be sent to an agent, once or repeatedly.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use croner::Cron;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Record, timestamp::Timestamp};
use crate::{
    clock, entropy,
    error::{ApiError, Code},
    mock::validation::body::{Expect, Fields, Location, one_of},
};

/// A scheduled message.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct ScheduledMessage {
    pub(in crate::mock) id: String,
    pub(in crate::mock) agent_id: String,
    /// What is sent: `messages` and options.
    pub(in crate::mock) message: Map<String, Value>,
    pub(in crate::mock) schedule: Schedule,
}

/// The schedule.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "type")]
pub(in crate::mock) enum Schedule {
    /// At this instant, in milliseconds since the Unix epoch.
    #[serde(rename = "one-time")]
    Once { scheduled_at: i64 },
    /// At the times of a cron expression, in UTC.
    #[serde(rename = "recurring")]
    Recurring { cron_expression: String },
}

/// The fields of a scheduled message in addition to its schedule.
const MESSAGE: &[&str] = &["messages", "max_steps", "callback_url", "include_return_message_types"];
const TYPES: &[&str] = &[
    "system_message",
    "user_message",
    "assistant_message",
    "reasoning_message",
    "hidden_reasoning_message",
    "tool_call_message",
    "tool_return_message",
    "approval_request_message",
    "approval_response_message",
];

impl Record for ScheduledMessage {
    const KIND: &'static str = "scheduled_message";
    const NAME: &'static str = "Scheduled message";

    fn id(&self) -> &str {
        &self.id
    }
}

impl ScheduledMessage {
    /// Creates a scheduled message for an agent from the fields of a request.
    pub(in crate::mock) fn read(agent_id: &str, fields: &Fields<'_>) -> Result<Self, ApiError> {
        check_messages(fields)?;
        fields.check(&[("max_steps", Expect::Integer), ("callback_url", Expect::Text)])?;
        for (index, word) in fields.optional::<Vec<&str>>("include_return_message_types")?.iter().flatten().enumerate()
        {
            one_of(&Value::from(*word), &fields.at("include_return_message_types").item(index), TYPES)?;
        }
        let named = MESSAGE.iter().filter_map(|name| Some(((*name).to_owned(), fields.value(name)?.clone())));
        Ok(Self {
            id: entropy::uuid(),
            agent_id: agent_id.to_owned(),
            message: named.collect(),
            schedule: Schedule::read(&fields.required("schedule")?)?,
        })
    }

    /// The scheduled message as clients see it.
    pub(in crate::mock) fn wire(&self) -> Value {
        json!({
            "id": self.id,
            "agent_id": self.agent_id,
            "message": self.message,
            "schedule": self.schedule,
            "next_scheduled_time": self.schedule.next(),
        })
    }
}

impl Schedule {
    fn read(fields: &Fields<'_>) -> Result<Self, ApiError> {
        match fields.one_of("type", &["one-time", "recurring"])?.unwrap_or("one-time") {
            "recurring" => {
                let expression: &str = fields.required("cron_expression")?;
                match Cron::from_str(expression).map(|cron| next_of(&cron, clock::now())) {
                    Ok(Some(_)) => Ok(Self::Recurring { cron_expression: expression.to_owned() }),
                    Ok(None) => Err(bad_expression("it never occurs")),
                    Err(error) => Err(bad_expression(&error.to_string())),
                }
            }
            _ => {
                let scheduled_at: i64 = fields.required("scheduled_at")?;
                if DateTime::from_timestamp_millis(scheduled_at).is_none() {
                    let rule = "it must be a time in milliseconds since 1970";
                    return Err(fields.at("scheduled_at").breaks_rule(rule, &scheduled_at.into()));
                }
                Ok(Self::Once { scheduled_at })
            }
        }
    }

    /// When it is sent next; a one-time message keeps its time.
    pub(in crate::mock) fn next(&self) -> Option<Timestamp> {
        match self {
            Self::Once { scheduled_at } => DateTime::from_timestamp_millis(*scheduled_at).map(Timestamp::from),
            Self::Recurring { cron_expression } => {
                let cron = Cron::from_str(cron_expression).ok()?;
                next_of(&cron, clock::now()).map(Timestamp::from)
            }
        }
    }
}

fn next_of(cron: &Cron, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    cron.find_next_occurrence(&now, false).ok()
}

fn bad_expression(problem: &str) -> ApiError {
    ApiError::letta(Code::InvalidRequest, format!("cron_expression cannot be used: {problem}"))
}

fn check_messages(fields: &Fields<'_>) -> Result<(), ApiError> {
    let messages: Vec<Fields<'_>> = fields.required("messages")?;
    if messages.is_empty() {
        return Err(fields.at("messages").breaks_rule("at least one message is required", &json!([])));
    }
    for message in messages {
        message.required::<&str>("role")?;
        message.one_of("role", &["user", "assistant", "system"])?;
        message.one_of("type", &["message"])?;
        message.check(&["name", "otid", "sender_id"].map(|name| (name, Expect::Text)))?;
        let missing = || message.at("content").missing(&Value::Object(message.map().clone()));
        check_content(message.value("content").ok_or_else(missing)?, &message.at("content"))?;
    }
    Ok(())
}

fn check_content(content: &Value, location: &Location) -> Result<(), ApiError> {
    if content.is_string() {
        return Ok(());
    }
    for part in <Vec<Fields<'_>> as crate::mock::validation::body::Read<'_>>::read(content, location)? {
        if part.one_of("type", &["text", "image"])? == Some("image") {
            let source: Fields<'_> = part.required("source")?;
            source.one_of("type", &["base64"])?;
            source.required::<&str>("media_type")?;
            source.required::<&str>("data")?;
        } else {
            part.required::<&str>("text")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_says_when_it_comes_about_next() {
        let now = DateTime::parse_from_rfc3339("2026-11-23T16:25:46Z").unwrap().to_utc();
        for (expression, expected) in [
            ("0 9 * * *", "2026-11-24T09:00:00+00:00"),
            ("*/15 * * * *", "2026-11-23T16:30:00+00:00"),
            ("0 0 29 2 *", "2028-02-29T00:00:00+00:00"),
        ] {
            let next = next_of(&Cron::from_str(expression).unwrap(), now).unwrap();
            assert_eq!(next.to_rfc3339(), expected, "{expression}");
        }
        assert!(Cron::from_str("every day").is_err());
        assert_eq!(next_of(&Cron::from_str("0 0 30 2 *").unwrap(), now), None);
    }
}
