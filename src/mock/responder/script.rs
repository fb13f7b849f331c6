//! Scripts: replies that an operator writes, in TOML.
//!
//! ```toml
//! [[reply]]
//! user = 'weather in (?<city>\w+)'          # a regular expression that matches anywhere in the user's text
//! agent = "helper"                          # only for agents of this name; optional
//! steps = [
//!   { reasoning = "I should look it up." },
//!   { tool_call = "get_weather", arguments = { city = "$city" }, returns = "sunny" },
//!   { delay = "200ms" },
//!   { assistant = "In $city it is sunny." },
//! ]
//! ```
//!
//! The first reply that matches is used. A model step ends with a tool call; the rest of the reply follows in the next
//! step, once the tool has returned. After the last step of a reply, the default responder takes over.

use std::{path::Path, time::Duration};

use regex::{Captures, Regex};
use serde::Deserialize;
use serde_json::{Map, Value};
use toml::Spanned;

use super::{CallRequest, ModelRequest, ModelResponse, user_text};
use crate::mock::{
    budget::{Budget, Overspent, written_length},
    records::{Part, Role, ToolStatus, turn_error::TurnError},
};

/// The replies of a script.
#[derive(Debug)]
pub struct Script {
    replies: Vec<ScriptedReply>,
}

/// A problem in a script, as a sentence with the line number.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ScriptError(String);

#[derive(Debug)]
struct ScriptedReply {
    user: Regex,
    agent: Option<String>,
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Reasoning(String),
    Assistant(String),
    Call { name: String, arguments: Map<String, Value>, requires_approval: bool, returns: Option<(String, ToolStatus)> },
    Delay(Duration),
    Error(u16),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    reply: Vec<ReplyTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplyTable {
    user: Spanned<String>,
    agent: Option<String>,
    steps: Vec<Spanned<StepTable>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StepTable {
    reasoning: Option<String>,
    assistant: Option<String>,
    tool_call: Option<String>,
    approval: Option<String>,
    arguments: Option<Map<String, Value>>,
    returns: Option<String>,
    fails: Option<String>,
    delay: Option<String>,
    error: Option<i64>,
}

/// The longest `delay` of a step.
const MAX_DELAY: Duration = Duration::from_mins(10);

impl Script {
    /// Reads a script from a file.
    ///
    /// # Errors
    /// If the file cannot be read or is not a valid script. The sentence names the file, the line and the field.
    pub fn load(path: &Path) -> Result<Self, ScriptError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ScriptError(format!("cannot read the script {}: {error}", path.display())))?;
        Self::parse(&text).map_err(|ScriptError(problem)| ScriptError(format!("script {}, {problem}", path.display())))
    }

    fn parse(text: &str) -> Result<Self, ScriptError> {
        let at = |offset: usize, problem: &str| {
            let line = text.get(..offset).unwrap_or(text).matches('\n').count() + 1;
            ScriptError(format!("line {line}: {problem}"))
        };
        let file: File = toml::from_str(text).map_err(|error| {
            let problem = error.message().trim().replace('\n', "; ");
            at(error.span().map_or(0, |span| span.start), &problem)
        })?;
        if file.reply.is_empty() {
            return Err(at(0, "a script has at least one [[reply]]"));
        }
        let mut replies = Vec::new();
        for table in file.reply {
            let offset = table.user.span().start;
            let user = Regex::new(table.user.get_ref())
                .map_err(|error| at(offset, &format!("user is not a regular expression: {}", last_line(&error))))?;
            if table.steps.is_empty() {
                return Err(at(offset, "steps: a reply has at least one"));
            }
            let steps = table.steps.into_iter().map(|step| {
                let offset = step.span().start;
                step.into_inner().read().map_err(|problem| at(offset, &problem))
            });
            replies.push(ScriptedReply { user, agent: table.agent, steps: steps.collect::<Result<_, _>>()? });
        }
        Ok(Self { replies })
    }

    /// The next step of a turn, if the script has one.
    pub(super) fn respond(&self, request: &ModelRequest<'_>) -> Result<Option<ModelResponse>, Overspent> {
        let text = user_text(request.messages);
        let matched = self.replies.iter().find_map(|reply| {
            let is_for_agent = match reply.agent.as_deref() {
                Some(agent) => agent == request.agent_name,
                // A request to the main agent is not a request to its sleeptime agents.
                None => request.user_texts.is_none(),
            };
            Some((reply, reply.user.captures(&text).filter(|_| is_for_agent)?))
        });
        let Some((reply, captures)) = matched else { return Ok(None) };
        let returned = request.messages.iter().rev().find(|message| message.role == Role::Tool);
        let returned = returned.and_then(|message| message.tool_returns.last());
        let returned = returned.map(|returned| returned.tool_return.text()).unwrap_or_default();
        let calls = request.messages.iter().map(|message| message.tool_calls.len()).sum();
        reply.step_after(calls, &|template| fill(template, &captures, &returned, request.budget))
    }
}

/// Expands a template.
type Fill<'a> = dyn Fn(&str) -> Result<String, Overspent> + 'a;

impl ScriptedReply {
    /// The model step after a number of tool calls, up to and including the next call; `None` if no steps are left.
    fn step_after(&self, calls: usize, fill: &Fill<'_>) -> Result<Option<ModelResponse>, Overspent> {
        let mut response = ModelResponse::default();
        let mut made = 0;
        let mut has_steps = false;
        for step in &self.steps {
            if made < calls {
                made += usize::from(matches!(step, Step::Call { .. }));
                continue;
            }
            has_steps = true;
            match step {
                Step::Delay(delay) => response.delay += *delay,
                Step::Reasoning(text) => {
                    response.parts.push(Part::Reasoning { is_native: true, reasoning: fill(text)?, signature: None });
                }
                Step::Assistant(text) => response.parts.push(Part::text(fill(text)?)),
                Step::Error(status) => {
                    response.failure = Some(TurnError::of_provider(*status));
                    break;
                }
                Step::Call { name, arguments, requires_approval, returns } => {
                    let returns = match returns {
                        Some((text, status)) => Some((fill(text)?, *status)),
                        None => None,
                    };
                    let arguments = fill_arguments(arguments, fill)?;
                    response.calls.push(CallRequest {
                        name: name.clone(),
                        arguments,
                        requires_approval: *requires_approval,
                        returns,
                    });
                    break;
                }
            }
        }
        Ok(has_steps.then_some(response))
    }
}

/// Expands a template: `$1`, `$name` and `${name}` are groups of the regular expression, `$returned` is the last tool's
/// result.
fn fill(template: &str, captures: &Captures<'_>, returned: &str, budget: &Budget) -> Result<String, Overspent> {
    let mut text = String::new();
    for (index, piece) in template.split("$returned").enumerate() {
        if index > 0 {
            budget.charge(written_length(returned))?;
            text.push_str(returned);
        }
        let begin = text.len();
        captures.expand(piece, &mut text);
        budget.charge(written_length(&text[begin..]))?;
    }
    Ok(text)
}

/// Expands the templates in the arguments of a call.
fn fill_arguments(arguments: &Map<String, Value>, fill: &Fill<'_>) -> Result<Map<String, Value>, Overspent> {
    fn fill_value(value: &Value, fill: &Fill<'_>) -> Result<Value, Overspent> {
        Ok(match value {
            Value::String(text) => fill(text)?.into(),
            Value::Array(items) => items.iter().map(|item| fill_value(item, fill)).collect::<Result<_, _>>()?,
            Value::Object(map) => Value::Object(fill_arguments(map, fill)?),
            other => other.clone(),
        })
    }
    arguments.iter().map(|(name, value)| Ok((name.clone(), fill_value(value, fill)?))).collect()
}

impl StepTable {
    fn read(self) -> Result<Step, String> {
        const KINDS: &str = "reasoning, assistant, tool_call, approval, delay, error";
        let kinds = [
            self.reasoning.is_some(),
            self.assistant.is_some(),
            self.tool_call.is_some(),
            self.approval.is_some(),
            self.delay.is_some(),
            self.error.is_some(),
        ];
        if kinds.iter().filter(|present| **present).count() != 1 {
            return Err(format!("steps: each is exactly one of {KINDS}"));
        }
        let requires_approval = self.approval.is_some();
        if let Some(name) = self.tool_call.or(self.approval) {
            let returns = match (self.returns, self.fails) {
                (Some(_), Some(_)) => return Err("steps: a call either returns or fails".to_owned()),
                (Some(text), None) => Some((text, ToolStatus::Success)),
                (None, Some(text)) => Some((text, ToolStatus::Error)),
                (None, None) => None,
            };
            return Ok(Step::Call { name, arguments: self.arguments.unwrap_or_default(), requires_approval, returns });
        }
        for (name, present) in [
            ("arguments", self.arguments.is_some()),
            ("returns", self.returns.is_some()),
            ("fails", self.fails.is_some()),
        ] {
            if present {
                return Err(format!("steps: {name} belongs to tool_call or approval"));
            }
        }
        match (self.reasoning, self.assistant, self.delay, self.error) {
            (Some(text), ..) => Ok(Step::Reasoning(text)),
            (_, Some(text), ..) => Ok(Step::Assistant(text)),
            (_, _, Some(text), _) => match humantime::parse_duration(&text) {
                Ok(delay) if delay <= MAX_DELAY => Ok(Step::Delay(delay)),
                Ok(_) => Err("steps: delay is at most 10m".to_owned()),
                Err(error) => Err(format!("steps: delay '{text}': {error} (write it as 500ms, 2s)")),
            },
            (.., Some(status)) => match u16::try_from(status).ok().filter(|status| (400..600).contains(status)) {
                Some(status) => Ok(Step::Error(status)),
                None => Err(format!("steps: error {status} is not an HTTP status from 400 to 599")),
            },
            _ => Err(format!("steps: each is exactly one of {KINDS}")),
        }
    }
}

/// The last line of a multi-line error message of `regex`, which is the problem itself.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::{
        records::{Message, ToolCall},
        tools::set::ToolSet,
    };

    const SCRIPT: &str = r#"
[[reply]]
user = 'weather in (?<city>\w+)'
agent = "helper"
steps = [
  { reasoning = "Look it up: $city" },
  { tool_call = "get_weather", arguments = { city = "$1", days = 2, list = ["${city}!"] }, returns = "sunny in $city" },
  { delay = "20ms" },
  { assistant = "It is $returned." },
]

[[reply]]
user = "^fail$"
steps = [{ error = 429 }]
"#;

    fn messages(text: &str, calls: usize) -> Vec<Message> {
        let mut messages = vec![Message::new(Role::User, vec![Part::text(text)])];
        for _ in 0..calls {
            let call = ToolCall { name: "get_weather".into(), arguments: "{}".into(), id: "call_1".into() };
            messages.push(Message { tool_calls: vec![call], ..Message::new(Role::Assistant, Vec::new()) });
        }
        messages
    }

    fn respond(text: &str, agent_name: &str, calls: usize) -> Option<ModelResponse> {
        let request = ModelRequest {
            agent_name,
            messages: &messages(text, calls),
            tool_set: &ToolSet::default(),
            blocks: &[],
            response_format: None,
            reasons: false,
            budget: &Budget::new(1_000),
            user_texts: None,
        };
        Script::parse(SCRIPT).unwrap().respond(&request).unwrap()
    }

    #[test]
    fn a_reply_has_a_model_step_per_call() {
        let first = respond("What is the weather in Rome?", "helper", 0).unwrap();
        assert_eq!(first.parts.len(), 1);
        assert_eq!(
            Value::Object(first.calls[0].arguments.clone()).to_string(),
            r#"{"city":"Rome","days":2,"list":["Rome!"]}"#
        );
        assert_eq!(first.calls[0].returns, Some(("sunny in Rome".into(), ToolStatus::Success)));
        let second = respond("weather in Rome", "helper", 1).unwrap();
        assert_eq!((second.delay, second.parts.len(), second.calls.len()), (Duration::from_millis(20), 1, 0));
        assert!(respond("fail", "anyone", 0).unwrap().failure.is_some());
        for (text, agent, calls) in
            [("weather in Rome", "other", 0), ("hello", "helper", 0), ("weather in Rome", "helper", 2)]
        {
            assert!(respond(text, agent, calls).is_none(), "{text} {agent} {calls}");
        }
    }

    #[test]
    fn problems_are_reported_with_their_line() {
        for (text, expected) in [
            ("", "line 1: a script has at least one [[reply]]"),
            ("\n[[reply]]\nuser = 'a'\n", "line 2: missing field `steps`"),
            ("[[reply]]\nuser = 'a'\nsteps = []", "line 2: steps: a reply has at least one"),
            (
                "[[reply]]\nuser = '('\nsteps = [{ error = 500 }]",
                "line 2: user is not a regular expression: unclosed group",
            ),
            ("[[reply]]\nuser = 'a'\nsteps = [\n{ error = 500 },\n{ error = 200 }]", "line 5: steps: error 200"),
            ("[[reply]]\nuser = 'a'\nsteps = [{ delay = 'x' }]", "line 3: steps: delay 'x'"),
            ("[[reply]]\nuser = 'a'\nsteps = [{ delay = '1h' }]", "line 3: steps: delay is at most"),
            ("[[reply]]\nuser = 'a'\nsteps = [{ shout = 'x' }]", "line 3: unknown field `shout`"),
            ("[[reply]]\nuser = 'a'\nsteps = [{}]", "line 3: steps: each is exactly one of"),
            ("[[reply]]\nuser = 'a'\nsteps = [{ assistant = 'x', reasoning = 'y' }]", "line 3: steps: each is exactly"),
            ("[[reply]]\nuser = 'a'\nsteps = [{ assistant = 'x', returns = 'y' }]", "line 3: steps: returns belongs"),
            (
                "[[reply]]\nuser = 'a'\nsteps = [{ tool_call = 't', returns = 'y', fails = 'z' }]",
                "line 3: steps: a call",
            ),
            ("[[reply]]\nuser = 5", "line 2: invalid type: integer `5`, expected a string"),
            ("[[replies]]", "line 1: unknown field `replies`"),
            ("[[reply", "line 1: "),
        ] {
            let problem = Script::parse(text).unwrap_err().to_string();
            assert!(problem.starts_with(expected), "{text:?}: {problem}");
        }
    }
}
