//! Does what the steps of a reply say.

use std::{borrow::Cow, time::Duration};

use serde_json::{Map, Value};

use super::{CallRequest, ModelResponse};
use crate::{
    clock,
    mock::{
        budget::{Budget, Overspent, written_length},
        records::{Block, Message, Part, Role, StopReason, ToolStatus, object, turn_error::TurnError},
    },
    replies::{Chosen, MemoryChange, Part as TemplatePart, Replies, Step, Template, TemplateValue, Variable},
};

/// What fills in the templates of a reply.
pub(super) struct Values<'a> {
    pub(super) chosen: &'a Chosen,
    pub(super) replies: &'a Replies,
    pub(super) agent_name: &'a str,
    pub(super) agent_id: &'a str,
    /// The agent's memory blocks.
    pub(super) blocks: &'a [Block],
    /// What the last tool returned.
    pub(super) returned: &'a str,
    /// The number of the user's turn.
    pub(super) turn: Option<u64>,
    pub(super) budget: &'a Budget,
}

/// What the last tool returned.
pub(in crate::mock) fn last_return(messages: &[Message]) -> String {
    let last = messages.iter().rev().find(|message| message.role == Role::Tool);
    let returned = last.and_then(|message| message.tool_returns.last());
    returned.map(|returned| returned.tool_return.text()).unwrap_or_default()
}

/// The model step of a reply, up to and including its next call; `None` if no steps are left.
pub(super) fn respond(values: &Values<'_>) -> Result<Option<ModelResponse>, Overspent> {
    let (reply, position) = (values.chosen.reply(), values.chosen.position);
    let steps = reply.steps().get(position..reply.end_of_model_step(position)).unwrap_or_default();
    if steps.is_empty() {
        return Ok(None);
    }
    let mut response = ModelResponse::default();
    for step in steps {
        match step {
            Step::Delay(delay) => response.delay += *delay,
            Step::Reasoning(text) => {
                let reasoning = values.fill(text)?;
                response.parts.push(Part::Reasoning { is_native: true, reasoning, signature: None });
            }
            Step::Assistant { text, pace } => {
                response.parts.push(Part::text(values.fill(text)?));
                response.pace = pace.unwrap_or(response.pace);
            }
            Step::Error(status) => response.failure = Some(TurnError::of_provider(*status)),
            Step::Call { name, arguments, requires_approval, returns } => {
                let returns = match returns {
                    Some((text, true)) => Some((values.fill(text)?, ToolStatus::Success)),
                    Some((text, false)) => Some((values.fill(text)?, ToolStatus::Error)),
                    None => None,
                };
                response.calls.push(CallRequest {
                    name: name.clone(),
                    arguments: values.members(arguments)?,
                    requires_approval: *requires_approval,
                    returns,
                });
            }
            Step::Memory(change) => response.memory.push(values.memory(change)?),
            Step::Stop(word) => response.stop = StopReason::from_word(word),
            Step::Usage(usage) => response.usage = Some(*usage),
        }
    }
    Ok(Some(response))
}

impl ModelResponse {
    /// Whether it changes the memory or the usage, and leaves to the default responder what is said.
    fn says_nothing(&self) -> bool {
        let is_silent = self.parts.is_empty() && self.calls.is_empty() && self.failure.is_none() && self.stop.is_none();
        is_silent && (!self.memory.is_empty() || self.usage.is_some())
    }

    /// Completes what a reply does with what the default responder says, if the reply says nothing.
    pub(super) fn completed(
        self,
        default: impl FnOnce() -> Result<ModelResponse, Overspent>,
    ) -> Result<ModelResponse, Overspent> {
        if !self.says_nothing() {
            return Ok(self);
        }
        let said = default()?;
        let delay: Duration = said.delay.saturating_add(self.delay);
        Ok(ModelResponse { delay, memory: self.memory, usage: self.usage, ..said })
    }
}

impl Values<'_> {
    fn fill(&self, template: &Template) -> Result<String, Overspent> {
        let mut text = String::new();
        for part in template.parts() {
            let part = match part {
                TemplatePart::Text(text) => Cow::Borrowed(&**text),
                TemplatePart::Variable(variable) => self.value(variable),
            };
            self.budget.charge(written_length(&part))?;
            text.push_str(&part);
        }
        Ok(text)
    }

    fn value(&self, variable: &Variable) -> Cow<'_, str> {
        match variable {
            Variable::Group(number) => {
                self.chosen.groups.get(*number).and_then(Option::as_deref).unwrap_or_default().into()
            }
            Variable::Returned => self.returned.into(),
            Variable::AgentName => self.agent_name.into(),
            Variable::AgentId => self.agent_id.into(),
            Variable::Block(label) => {
                let block = self.blocks.iter().find(|block| *block.label == **label);
                block.map(|block| block.value.as_str()).unwrap_or_default().into()
            }
            Variable::Turn => self.turn.map(|turn| turn.to_string()).unwrap_or_default().into(),
            Variable::Now => clock::format_millis(clock::now_millis()).into(),
            Variable::Ref(name) => self.replies.id_of(name).map(String::from).unwrap_or_default().into(),
        }
    }

    fn members(&self, members: &[(String, TemplateValue)]) -> Result<Map<String, Value>, Overspent> {
        members.iter().map(|(name, value)| Ok((name.clone(), self.json(value)?))).collect()
    }

    fn json(&self, value: &TemplateValue) -> Result<Value, Overspent> {
        Ok(match value {
            TemplateValue::Text(text) => self.fill(text)?.into(),
            TemplateValue::List(items) => items.iter().map(|item| self.json(item)).collect::<Result<_, _>>()?,
            TemplateValue::Object(members) => Value::Object(self.members(members)?),
            TemplateValue::Other(value) => value.clone(),
        })
    }

    /// The call of a memory tool that makes a change.
    fn memory(&self, change: &MemoryChange) -> Result<CallRequest, Overspent> {
        let fill = |template: &Template| self.fill(template);
        Ok(match change {
            MemoryChange::Append { block, text } => {
                CallRequest::new("core_memory_append", object! {"label": fill(block)?, "content": fill(text)?})
            }
            MemoryChange::Replace { block, old, new } => CallRequest::new(
                "core_memory_replace",
                object! {"label": fill(block)?, "old_content": fill(old)?, "new_content": fill(new)?},
            ),
            MemoryChange::Set { block, value } => {
                CallRequest::new("memory_rethink", object! {"label": fill(block)?, "new_memory": fill(value)?})
            }
            MemoryChange::Archive { text, tags } => {
                let tags = tags.iter().map(fill).collect::<Result<Vec<String>, _>>()?;
                CallRequest::new("archival_memory_insert", object! {"content": fill(text)?, "tags": tags})
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::replies::{Limits, read_reply};

    #[test]
    fn a_reply_may_stop_for_every_reason_but_one() {
        for word in StopReason::WORDS {
            let reply = read_reply(json!({"steps": [{"stop": word}]}), "", Limits::HTTP);
            match reply {
                Ok(reply) => assert!(matches!(reply.steps(), [Step::Stop(stop)] if stop == word), "{word}"),
                Err(_) => assert_eq!(*word, "requires_approval"),
            }
        }
    }
}
