//! Reads definitions of replies, in JSON or TOML of the same shape.

use std::{collections::HashSet, path::Path, sync::Arc, time::Duration};

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{
    Limits,
    criteria::{Approved, Criterion, DeliveryKind},
    definition::{MemoryChange, Needs, Reply, STOP_REASONS, Step, UsageOverride},
    index,
    listing::Unmatched,
    mistake::{Mistake, TextMistake},
    template::{Template, TemplateValue},
};
use crate::request::toml::{self, TomlError};

/// The script of a server: the replies with which each of its namespaces begins.
#[derive(Debug)]
pub struct Script {
    pub(super) replies: Vec<Arc<Reply>>,
    pub(super) unmatched: Option<Unmatched>,
}

/// A problem in a script, as a sentence with the line number.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ScriptError(String);

/// What a script defines.
#[derive(Debug)]
pub(crate) struct Definitions {
    pub(crate) replies: Vec<Reply>,
    pub(crate) unmatched: Option<Unmatched>,
}

impl Script {
    /// Reads a script from a file.
    ///
    /// # Errors
    /// If the file cannot be read or is not a valid script. The sentence names the file, the line and the field.
    pub fn load(path: &Path) -> Result<Self, ScriptError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ScriptError(format!("cannot read the script {}: {error}", path.display())))?;
        let script = Self::parse(&text);
        script.map_err(|TextMistake { sentence, .. }| ScriptError(format!("script {}, {sentence}", path.display())))
    }

    pub(super) fn parse(text: &str) -> Result<Self, TextMistake> {
        let Definitions { mut replies, unmatched } = Definitions::of_toml(text, Limits::FILE)?;
        let given: HashSet<String> = replies.iter().map(|reply| reply.id().to_owned()).collect();
        let mut numbers = 1..;
        for reply in replies.iter_mut().filter(|reply| reply.id().is_empty()) {
            let mut ids = numbers.by_ref().map(|number| format!("script-{number}"));
            reply.set_id(&ids.find(|id| !given.contains(id)).unwrap_or_default());
        }
        Ok(Self { replies: replies.into_iter().map(Arc::new).collect(), unmatched })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    reply: Vec<Value>,
    unmatched: Option<String>,
}

impl Definitions {
    /// Reads a script in TOML.
    ///
    /// # Errors
    /// If it is not valid; the sentence names the line.
    pub(crate) fn of_toml(text: &str, limits: Limits) -> Result<Self, TextMistake> {
        let value = toml::parse(text).map_err(|TomlError { line, problem }| TextMistake::on_line(line, &problem))?;
        Self::of_json(value, limits).map_err(|mistake| mistake.in_toml(text))
    }

    /// Reads a script in JSON.
    ///
    /// # Errors
    /// If it is not valid.
    pub(crate) fn of_json(value: Value, limits: Limits) -> Result<Self, Mistake> {
        let File { reply, unmatched } = read(value, "")?;
        if reply.is_empty() && unmatched.is_none() {
            return Err(Mistake::new("", "a script has at least one [[reply]]"));
        }
        let unmatched = unmatched.map(|word| Unmatched::read(&word, "/unmatched")).transpose()?;
        Ok(Self { replies: read_list(reply, "/reply", limits)?, unmatched })
    }
}

impl Unmatched {
    /// Reads the word at `pointer`.
    ///
    /// # Errors
    /// If it is another word.
    pub(crate) fn read(word: &str, pointer: &str) -> Result<Self, Mistake> {
        let unmatched = serde_json::from_value(word.into());
        unmatched.map_err(|_| Mistake::new(pointer, "unmatched is \"echo\" or \"refuse\""))
    }
}

/// Reads replies that stand at `pointer`.
///
/// # Errors
/// If one of them is not valid, or two have the same id.
pub(crate) fn read_list(replies: Vec<Value>, pointer: &str, limits: Limits) -> Result<Vec<Reply>, Mistake> {
    let mut ids = HashSet::new();
    let mut read = Vec::with_capacity(replies.len());
    for (index, reply) in replies.into_iter().enumerate() {
        let pointer = format!("{pointer}/{index}");
        let reply = read_reply(reply, &pointer, limits)?;
        if !reply.id.is_empty() && !ids.insert(reply.id.clone()) {
            return Err(Mistake::new(format!("{pointer}/id"), format!("id: another reply is {:?} too", reply.id)));
        }
        read.push(reply);
    }
    Ok(read)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplyTable {
    id: Option<String>,
    user: Option<String>,
    text: Option<String>,
    agent: Option<String>,
    agent_id: Option<String>,
    agent_tag: Option<String>,
    r#ref: Option<String>,
    conversation: Option<String>,
    turn: Option<u64>,
    after_tool: Option<String>,
    tool_result: Option<String>,
    delivery: Option<Vec<DeliveryKind>>,
    approval: Option<Approved>,
    state: Option<String>,
    next_state: Option<String>,
    times: Option<u64>,
    #[serde(default)]
    priority: i64,
    steps: Vec<Value>,
}

/// Reads a reply that stands at `pointer`.
///
/// # Errors
/// If it is not valid.
pub(crate) fn read_reply(definition: Value, pointer: &str, limits: Limits) -> Result<Reply, Mistake> {
    if !definition.is_object() {
        return Err(Mistake::new(pointer, "a reply is an object"));
    }
    let mistake =
        |field: &str, problem: String| Mistake::new(format!("{pointer}/{field}"), format!("{field}{problem}"));
    let table: ReplyTable = read(definition.clone(), pointer)?;
    if let Some(id) = &table.id
        && !is_id(id)
    {
        return Err(mistake("id", " has 1 to 64 of a-z, A-Z, 0-9, '.', '_' and '-'".to_owned()));
    }
    if table.times == Some(0) {
        return Err(mistake("times", " is at least 1".to_owned()));
    }
    let texts = [
        ("text", &table.text),
        ("agent", &table.agent),
        ("agent_id", &table.agent_id),
        ("agent_tag", &table.agent_tag),
        ("ref", &table.r#ref),
        ("conversation", &table.conversation),
        ("after_tool", &table.after_tool),
        ("tool_result", &table.tool_result),
        ("state", &table.state),
        ("next_state", &table.next_state),
    ];
    for (name, text) in texts {
        if text.as_ref().is_some_and(String::is_empty) {
            return Err(mistake(name, " is empty; leave it out".to_owned()));
        }
    }
    if table.delivery.as_ref().is_some_and(Vec::is_empty) {
        return Err(mistake("delivery", " names at least one of json, stream, background".to_owned()));
    }
    let user = match &table.user {
        Some(user) => Some(regex(user, limits).map_err(|problem| mistake("user", problem))?),
        None => None,
    };
    if table.steps.is_empty() {
        return Err(mistake("steps", ": a reply has at least one".to_owned()));
    }
    if table.steps.len() > limits.steps {
        return Err(mistake("steps", format!(": a reply has at most {}", limits.steps)));
    }
    let mut steps = Vec::with_capacity(table.steps.len());
    for (index, step) in table.steps.into_iter().enumerate() {
        let pointer = format!("{pointer}/steps/{index}");
        let step = read_step(&step, &pointer, user.as_ref())?;
        if matches!(steps.last(), Some(Step::Stop(_))) && !matches!(step, Step::Usage(_)) {
            return Err(Mistake::new(pointer, "steps: only usage follows a stop, which ends the turn"));
        }
        if matches!(step, Step::Usage(_)) && matches!(steps.last(), Some(Step::Usage(_))) {
            return Err(Mistake::new(pointer, "steps: a model step has one usage"));
        }
        steps.push(step);
    }
    let required = user.as_ref().map(|user| index::required(user.as_str())).unwrap_or_default();
    let required = required.into_iter().chain(table.text.iter().map(|text| index::required_text(text))).collect();
    // What is cheap to compare first.
    let boxed = |text: Option<String>, criterion: fn(Box<str>) -> Criterion| text.map(|text| criterion(text.into()));
    let criteria: Vec<Criterion> = [
        boxed(table.state, Criterion::State),
        table.delivery.map(|kinds| Criterion::Delivery(kinds.into_iter().collect())),
        table.approval.map(Criterion::Approval),
        table.turn.map(Criterion::Turn),
        boxed(table.conversation, Criterion::Conversation),
        boxed(table.agent, Criterion::Agent),
        boxed(table.agent_id, Criterion::AgentId),
        boxed(table.r#ref, Criterion::Ref),
        boxed(table.agent_tag, Criterion::AgentTag),
        boxed(table.after_tool, Criterion::AfterTool),
        boxed(table.tool_result, Criterion::ToolResult),
        boxed(table.text, Criterion::Text),
        user.map(Criterion::User),
    ]
    .into_iter()
    .flatten()
    .collect();
    Ok(Reply {
        id: table.id.unwrap_or_default(),
        needs: Needs::of(&criteria, &steps),
        criteria,
        steps,
        next_state: table.next_state.map(Into::into),
        times: table.times,
        priority: table.priority,
        required,
        definition,
    })
}

fn is_id(id: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=64).contains(&id.len()) && id.bytes().all(is_good)
}

fn regex(pattern: &str, limits: Limits) -> Result<Regex, String> {
    RegexBuilder::new(pattern).size_limit(limits.regex_bytes).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => format!(": the regular expression takes more than {limit} bytes"),
        error => {
            // The last line of the message is the problem itself.
            let text = error.to_string();
            let problem = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!(" is not a regular expression: {problem}")
        }
    })
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StepTable {
    reasoning: Option<String>,
    assistant: Option<String>,
    tool_call: Option<String>,
    approval: Option<String>,
    remember: Option<Remember>,
    archive: Option<Archive>,
    forget: Option<Forget>,
    delay: Option<String>,
    error: Option<i64>,
    stop: Option<String>,
    usage: Option<UsageTable>,
    arguments: Option<Map<String, Value>>,
    returns: Option<String>,
    fails: Option<String>,
    pace: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Remember {
    block: String,
    append: Option<String>,
    value: Option<String>,
    replace: Option<String>,
    with: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Forget {
    block: String,
    text: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Archive {
    Text(String),
    Tagged(ArchiveTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ArchiveTable {
    text: String,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the names are Letta's")]
struct UsageTable {
    prompt_tokens: Option<u32>,
    completion_tokens: Option<u32>,
    total_tokens: Option<u32>,
    reasoning_tokens: Option<u32>,
}

/// The longest `delay` or `pace` of a step.
const MAX_DELAY: Duration = Duration::from_mins(10);

const KINDS: &str = "reasoning, assistant, tool_call, approval, remember, archive, forget, delay, error, stop, usage";

/// The members that belong to others.
const OPTIONS: [(&str, &[&str]); 4] = [
    ("arguments", &["tool_call", "approval"]),
    ("returns", &["tool_call", "approval"]),
    ("fails", &["tool_call", "approval"]),
    ("pace", &["assistant"]),
];

fn read_step(value: &Value, pointer: &str, user: Option<&Regex>) -> Result<Step, Mistake> {
    let Value::Object(members) = value else { return Err(Mistake::new(pointer, "steps: a step is an object")) };
    let is_present = |name: &&str| members.get(*name).is_some_and(|value| !value.is_null());
    let kinds: Vec<&str> = KINDS.split(", ").filter(is_present).collect();
    for (name, belongs_to) in OPTIONS {
        if is_present(&name) && !belongs_to.iter().any(|kind| kinds.contains(kind)) && kinds.len() == 1 {
            let problem = format!("steps: {name} belongs to {}", belongs_to.join(" or "));
            return Err(Mistake::new(format!("{pointer}/{name}"), problem));
        }
    }
    let table: StepTable = read(value.clone(), pointer)?;
    let [kind] = kinds[..] else {
        return Err(Mistake::new(pointer, format!("steps: each is exactly one of {KINDS}")));
    };
    let wrong = |field: &str, problem: String| Mistake::new(format!("{pointer}/{field}"), format!("steps: {problem}"));
    let template = |field: &str, text: &str| Template::parse(text, user).map_err(|problem| wrong(field, problem));
    let step = match table {
        StepTable { reasoning: Some(text), .. } => Step::Reasoning(template("reasoning", &text)?),
        StepTable { assistant: Some(text), pace, .. } => {
            let pace =
                pace.map(|pace| duration(&pace, "pace").map_err(|problem| wrong("pace", problem))).transpose()?;
            Step::Assistant { text: template("assistant", &text)?, pace }
        }
        StepTable { tool_call, approval, arguments, returns, fails, .. }
            if tool_call.is_some() || approval.is_some() =>
        {
            let returns = match (returns, fails) {
                (Some(_), Some(_)) => return Err(wrong("fails", "a call either returns or fails".to_owned())),
                (Some(text), None) => Some((template("returns", &text)?, true)),
                (None, Some(text)) => Some((template("fails", &text)?, false)),
                (None, None) => None,
            };
            let arguments = TemplateValue::members(&arguments.unwrap_or_default(), user);
            Step::Call {
                requires_approval: approval.is_some(),
                name: tool_call.or(approval).unwrap_or_default(),
                arguments: arguments.map_err(|problem| wrong("arguments", problem))?,
                returns,
            }
        }
        StepTable { remember: Some(Remember { block, append, value, replace, with }), .. } => {
            let of = |text: &str| template("remember", text);
            let block = of(&block)?;
            Step::Memory(match (append, value, replace, with) {
                (Some(text), None, None, None) => MemoryChange::Append { block, text: of(&text)? },
                (None, Some(value), None, None) => MemoryChange::Set { block, value: of(&value)? },
                (None, None, Some(old), Some(new)) => MemoryChange::Replace { block, old: of(&old)?, new: of(&new)? },
                _ => {
                    let problem = "remember has a block, and append, or value, or replace and with".to_owned();
                    return Err(wrong("remember", problem));
                }
            })
        }
        StepTable { archive: Some(archive), .. } => {
            let ArchiveTable { text, tags } = match archive {
                Archive::Text(text) => ArchiveTable { text, tags: Vec::new() },
                Archive::Tagged(table) => table,
            };
            let tags = tags.iter().map(|tag| template("archive", tag)).collect::<Result<_, _>>()?;
            Step::Memory(MemoryChange::Archive { text: template("archive", &text)?, tags })
        }
        StepTable { forget: Some(Forget { block, text }), .. } => {
            let block = template("forget", &block)?;
            Step::Memory(match text {
                Some(text) => {
                    MemoryChange::Replace { block, old: template("forget", &text)?, new: Template::default() }
                }
                None => MemoryChange::Set { block, value: Template::default() },
            })
        }
        StepTable { delay: Some(text), .. } => {
            Step::Delay(duration(&text, "delay").map_err(|problem| wrong("delay", problem))?)
        }
        StepTable { error: Some(status), .. } => {
            let status = u16::try_from(status).ok().filter(|status| (400..600).contains(status));
            let problem = || format!("error {} is not an HTTP status from 400 to 599", value["error"]);
            Step::Error(status.ok_or_else(|| wrong("error", problem()))?)
        }
        StepTable { stop: Some(word), .. } => {
            let reason = STOP_REASONS.iter().find(|reason| **reason == word);
            let problem = || format!("stop is one of {}", STOP_REASONS.join(", "));
            Step::Stop(reason.ok_or_else(|| wrong("stop", problem()))?)
        }
        StepTable { usage: Some(usage), .. } => Step::Usage(UsageOverride {
            prompt_tokens: usage.prompt_tokens.map(i64::from),
            completion_tokens: usage.completion_tokens.map(i64::from),
            total_tokens: usage.total_tokens.map(i64::from),
            reasoning_tokens: usage.reasoning_tokens.map(i64::from),
        }),
        _ => return Err(wrong(kind, format!("each is exactly one of {KINDS}"))),
    };
    Ok(step)
}

fn duration(text: &str, name: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= MAX_DELAY => Ok(duration),
        Ok(_) => Err(format!("{name} is at most 10m")),
        Err(error) => Err(format!("{name} '{text}': {error} (write it as 500ms, 2s)")),
    }
}

/// Reads a value that stands at `pointer` into `T`.
fn read<T: DeserializeOwned>(value: Value, pointer: &str) -> Result<T, Mistake> {
    use serde_path_to_error::Segment;
    serde_path_to_error::deserialize(value).map_err(|error| {
        let place = error.path().iter().fold(pointer.to_owned(), |place, segment| match segment {
            Segment::Seq { index } => format!("{place}/{index}"),
            Segment::Map { key } => format!("{place}/{}", key.replace('~', "~0").replace('/', "~1")),
            Segment::Enum { .. } | Segment::Unknown => place,
        });
        Mistake::new(place, error.inner().to_string())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn problems_are_reported_with_their_line() {
        for (text, expected) in [
            ("", "line 1: a script has at least one [[reply]]"),
            ("\n[[reply]]\nuser = 'a'\n", "line 2: missing field `steps`"),
            ("[[reply]]\nuser = 'a'\nsteps = []", "line 3: steps: a reply has at least one"),
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
            ("[[reply]]\nuser = 'a'\nsteps = [{ error = 500, pace = '1s' }]", "line 3: steps: pace belongs"),
            (
                "[[reply]]\nuser = 'a'\nsteps = [{ tool_call = 't', returns = 'y', fails = 'z' }]",
                "line 3: steps: a call",
            ),
            ("[[reply]]\nuser = 5", "line 2: invalid type: integer `5`, expected a string"),
            ("[[replies]]", "line 1: unknown field `replies`"),
            ("unmatched = 'x'", "line 1: unmatched is"),
            ("[[reply", "line 1: "),
            ("[[reply]]\nid = 'a'\nsteps = [{stop = 'x'}]", "line 3: steps: stop is one of end_turn"),
            ("[[reply]]\nsteps = [\n{stop = 'error'},\n{assistant = 'x'}]", "line 4: steps: only usage follows"),
            ("[[reply]]\nsteps = [{assistant = '${agent.x}'}]", "line 2: steps: ${agent.x} does not exist"),
            ("[[reply]]\nsteps = [{remember = {block = 'x'}}]", "line 2: steps: remember has a block"),
            ("[[reply]]\nsteps = [{forget = 'x'}]", "line 2: invalid type: string"),
            ("[[reply]]\nid = 'a b'\nsteps = []", "line 2: id has"),
            ("[[reply]]\n\ntimes = 0\nsteps = []", "line 3: times is at least 1"),
            ("[[reply]]\n\nagent = ''\nsteps = []", "line 3: agent is empty"),
            ("[[reply]]\n\ndelivery = ['fax']\nsteps = []", "line 3: unknown variant `fax`"),
            (
                "[[reply]]\nid = 'a'\nsteps = [{error = 500}]\n[[reply]]\nid = 'a'\nsteps = [{error = 500}]",
                "line 5: id: another reply is \"a\" too",
            ),
        ] {
            let problem = Script::parse(text).unwrap_err().sentence;
            assert!(problem.starts_with(expected), "{text:?}: {problem}");
        }
    }

    #[test]
    fn problems_in_json_are_reported_with_their_place() {
        for (reply, expected) in [
            (json!(5), ""),
            (json!({"user": "("}), "/steps"),
            (json!({"steps": [], "user": "("}), "/user"),
            (json!({"steps": [{"assistant": 5}]}), "/steps/0/assistant"),
            (json!({"steps": [{"assistant": "x"}, {"usage": {"tokens": 1}}]}), "/steps/1/usage"),
            (json!({"steps": [{"assistant": "x"}], "turn": -1}), "/turn"),
            (json!({"steps": [{"assistant": "x"}], "approval": "maybe"}), "/approval"),
            (json!({"steps": [{"assistant": "x"}], "user": r"\w{1000}"}), "/user"),
            (json!({"steps": vec![json!({"assistant": "x"}); 201]}), "/steps"),
        ] {
            let mistake = read_reply(reply.clone(), "", Limits::HTTP).unwrap_err();
            // Serde names the place of a field that is unknown or lacks as that of its object.
            let is_at = mistake.pointer == expected || mistake.pointer.is_empty() && mistake.problem.contains("field");
            assert!(is_at || mistake.pointer.starts_with(expected) && !expected.is_empty(), "{reply}: {mistake:?}");
        }
    }

    #[test]
    fn replies_without_ids_get_one_that_is_free() {
        let text = "[[reply]]\nsteps=[{error=500}]\n[[reply]]\nid='script-2'\nsteps=[{error=500}]\n[[reply]]\nsteps=[{error=500}]";
        let script = Script::parse(text).unwrap();
        let ids: Vec<&str> = script.replies.iter().map(|reply| reply.id()).collect();
        assert_eq!(ids, ["script-1", "script-2", "script-3"]);
    }
}
