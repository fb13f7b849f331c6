//! Agents as clients see them, written from what is stored: most of it is the same on the wire, and is copied and never
//! read.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    ACTOR,
    agent::Agent,
    agent_layout::{Marks, Members, with_layout},
    file_block::FileBlock,
    folder::Folder,
    include::Include,
    message_view::MessageView,
    pending::Pending,
    scan::Scan,
    secret::{Secret, WireSecret},
    wire_message::WireMessage,
};
use crate::access::{Written, secret_places};

/// What is linked to an agent, read for an answer.
#[derive(Clone, Debug, Default)]
pub(in crate::mock) struct Loaded {
    /// What is stored of a block is what goes over the wire.
    pub(in crate::mock) blocks: Vec<String>,
    pub(in crate::mock) tools: Vec<WireTool>,
    pub(in crate::mock) folders: Vec<Folder>,
    /// The files of the folders.
    pub(in crate::mock) files: Vec<FileBlock>,
    pub(in crate::mock) identities: Vec<Value>,
    pub(in crate::mock) managed_group: Option<Value>,
}

impl Loaded {
    /// About how many bytes an agent has more on the wire than it has stored.
    pub(in crate::mock) fn wire_length(&self) -> usize {
        let tools = self.tools.iter().map(|tool| match tool {
            WireTool::BuiltIn(tool) => tool.len(),
            WireTool::Stored(tool) => tool.len(),
        });
        let files = self.files.iter().map(|file| 1024 + file.value.len());
        1024 + files.sum::<usize>() + 2 * self.blocks.iter().map(String::len).sum::<usize>() + tools.sum::<usize>()
    }
}

/// A tool as clients see it.
#[derive(Clone, Debug)]
pub(in crate::mock) enum WireTool {
    /// One that comes with the server, and has no secrets.
    BuiltIn(&'static str),
    Stored(String),
}

/// An agent as [`Agent`] is stored now, in pieces of JSON that are copied: values, and whole members, which begin with a
/// comma and their name.
struct StoredAgent<'a> {
    /// Members: `created_at` and `updated_at`, but for the comma.
    times: &'a str,
    /// Without quotes: it has no escapes.
    id: &'a str,
    /// Members: `name` and `tool_rules`.
    name: &'a str,
    message_ids: &'a str,
    /// Member.
    system: &'a str,
    agent_type: &'a str,
    /// Member.
    llm_config: &'a str,
    /// Member.
    model: &'a str,
    /// Members: from `model_settings` to `metadata`.
    settings: &'a str,
    embedding: &'a str,
    embedding_config: &'a str,
    tags: &'a str,
    secrets: &'a str,
    /// Members: from `project_id` to `entity_id`.
    origin: &'a str,
    /// Members: `message_buffer_autoclear` and `enable_sleeptime`.
    habits: &'a str,
    /// Members: from `last_run_completion` to `hidden`.
    rest: &'a str,
    pending: &'a str,
    marks: Option<Marks<'a>>,
}

const NULL: &str = "null";

/// An agent as it is stored: its JSON, with its layout at the end.
pub(super) fn stored(agent: &Agent) -> serde_json::Result<String> {
    let body = serde_json::to_string(agent)?;
    let mut members = Members::noting(&body);
    let places = StoredAgent::read_members(&mut members).and_then(|agent| {
        agent.open_pieces().iter().map(|piece| secret_places(piece).ok()).collect::<Option<Vec<_>>>()
    });
    let lengths = members.into_noted();
    Ok(match places {
        Some(places) => with_layout(body, &lengths, &places),
        None => body,
    })
}

/// Writes a stored agent as clients see it.
pub(in crate::mock) fn write_agent(
    body: &str,
    include: Include,
    loaded: &Loaded,
    out: &mut Written,
) -> serde_json::Result<()> {
    if let Some(agent) = StoredAgent::read(body) {
        return agent.write(include, loaded, out);
    }
    // What was stored by an earlier version is brought into the present form.
    let body = serde_json::to_string(&serde_json::from_str::<Agent>(body)?)?;
    let unreadable = || serde::de::Error::custom("an agent is not as it was written");
    StoredAgent::read(&body).ok_or_else(unreadable)?.write(include, loaded, out)
}

/// How many characters of a file an agent sees that is stored so.
pub(in crate::mock) fn file_window(body: &str) -> serde_json::Result<i64> {
    #[derive(Deserialize)]
    struct Limit {
        per_file_view_window_char_limit: i64,
    }
    serde_json::from_str(body).map(|Limit { per_file_view_window_char_limit }| per_file_view_window_char_limit)
}

impl<'a> StoredAgent<'a> {
    /// Reads a stored agent; none: it is not as `Agent` is written now.
    fn read(body: &'a str) -> Option<Self> {
        Self::read_members(&mut Members::of(body))
    }

    fn read_members(members: &mut Members<'a>) -> Option<Self> {
        members.literal("{")?;
        let times = members.run(&[r#""created_at":"#, r#","updated_at":"#])?;
        members.literal(r#","id":"#)?;
        let id = members.plain()?;
        let name = members.run(&[r#","name":"#, r#","tool_rules":"#])?;
        members.literal(r#","context":{"ids":"#)?;
        // There may be many.
        let message_ids = members.list_before(r#","tokens":"#)?;
        members.run(&[r#","tokens":"#])?;
        members.literal("}")?;
        let system = members.run(&[r#","system":"#])?;
        let agent_type = members.member(r#","agent_type":"#)?;
        let llm_config = members.run(&[r#","llm_config":"#])?;
        let model = members.run(&[r#","model":"#])?;
        let settings = members.run(&[
            r#","model_settings":"#,
            r#","compaction_settings":"#,
            r#","response_format":"#,
            r#","description":"#,
            r#","metadata":"#,
        ])?;
        let (mut embedding, mut embedding_config) = (NULL, NULL);
        if !members.skips(r#","embedding":null"#) {
            embedding = members.member(r#","embedding":{"handle":"#)?;
            embedding_config = members.member(r#","config":"#)?;
            members.literal("}")?;
        }
        let tags = members.member(r#","tags":"#)?;
        let secrets = members.member(r#","secrets":"#)?;
        let origin = members.run(&[
            r#","project_id":"#,
            r#","template_id":"#,
            r#","base_template_id":"#,
            r#","deployment_id":"#,
            r#","entity_id":"#,
        ])?;
        let habits = members.run(&[r#","message_buffer_autoclear":"#, r#","enable_sleeptime":"#])?;
        let rest = members.run(&[
            r#","last_run_completion":"#,
            r#","last_run_duration_ms":"#,
            r#","last_stop_reason":"#,
            r#","timezone":"#,
            r#","max_files_open":"#,
            r#","per_file_view_window_char_limit":"#,
            r#","hidden":"#,
        ])?;
        members.run(&[r#","recall":"#])?;
        let pending = members.member_or_null(r#","pending":"#)?;
        members.member_or_null(r#","variables":"#)?;
        members.end()?;
        let marks = members.marks();
        Some(Self {
            times,
            id,
            name,
            message_ids,
            system,
            agent_type,
            llm_config,
            model,
            settings,
            embedding,
            embedding_config,
            tags,
            secrets,
            origin,
            habits,
            rest,
            pending,
            marks,
        })
    }

    /// The pieces in which there may be anything, in the order in which they are written.
    fn open_pieces(&self) -> [&'a str; 4] {
        [self.name, self.llm_config, self.embedding_config, self.settings]
    }

    /// Writes the agent as clients see it. The order of the members is Letta's. Harmless is what is a text, a number or a
    /// list of texts, and what is marked so.
    fn write(&self, include: Include, loaded: &Loaded, out: &mut Written) -> serde_json::Result<()> {
        let mut marks = self.marks;
        let blocks = if include.blocks { loaded.blocks.as_slice() } else { &[] };
        out.push_harmless(&[
            r#"{"created_by_id":""#,
            ACTOR,
            r#"","last_updated_by_id":""#,
            ACTOR,
            r#"","#,
            self.times,
            r#","id":""#,
            self.id,
            "\"",
        ]);
        push_open(self.name, &mut marks, out);
        out.push_harmless(&[r#","message_ids":"#, self.message_ids, self.system, r#","agent_type":"#, self.agent_type]);
        push_open(self.llm_config, &mut marks, out);
        out.push_harmless(&[r#","embedding_config":"#]);
        push_open(self.embedding_config, &mut marks, out);
        out.push_harmless(&[self.model, r#","embedding":"#, self.embedding]);
        push_open(self.settings, &mut marks, out);
        out.push_harmless(&[r#","memory":{"agent_type":"#, self.agent_type, r#","git_enabled":false,"blocks":["#]);
        push_blocks(blocks, out);
        out.push_harmless(&[r#"],"file_blocks":["#]);
        push_files(self.id, if include.blocks { &loaded.files } else { &[] }, out)?;
        out.push_harmless(&[r#"],"prompt_template":""},"blocks":["#]);
        push_blocks(blocks, out);
        out.push_harmless(&[r#"],"tools":["#]);
        push_tools(if include.tools { &loaded.tools } else { &[] }, out);
        out.push_harmless(&["]"]);
        push_list("sources", &loaded.folders.iter().map(Folder::wire_as_source).collect::<Vec<_>>(), out)?;
        out.push_harmless(&[r#","tags":"#, if include.tags { self.tags } else { "[]" }]);
        let secrets = self.secrets(include)?;
        let secrets: Vec<WireSecret<'_>> = secrets.iter().map(|secret| secret.wire(self.id)).collect();
        push_list("tool_exec_environment_variables", &secrets, out)?;
        push_list("secrets", &secrets, out)?;
        out.push_harmless(&[self.origin]);
        push_list("identity_ids", &loaded.identities.iter().map(|one| &one["id"]).collect::<Vec<_>>(), out)?;
        push_list("identities", &loaded.identities, out)?;
        push_option("pending_approval", self.pending_approval(include)?.as_ref(), out)?;
        out.push_harmless(&[self.habits]);
        push_option("multi_agent_group", loaded.managed_group.as_ref(), out)?;
        push_option("managed_group", loaded.managed_group.as_ref(), out)?;
        out.push_harmless(&[self.rest, "}"]);
        Ok(())
    }

    fn secrets(&self, include: Include) -> serde_json::Result<Vec<Secret>> {
        if include.secrets { serde_json::from_str(self.secrets) } else { Ok(Vec::new()) }
    }

    /// The question that the default conversation waits for an answer to, as clients see it.
    fn pending_approval(&self, include: Include) -> serde_json::Result<Option<WireMessage>> {
        if !include.pending_approval || self.pending == NULL {
            return Ok(None);
        }
        let pending: Pending = serde_json::from_str(self.pending)?;
        let mut question = pending.request.expand(&MessageView::USUAL).pop();
        if let Some(question) = &mut question {
            // Here, and only here, Letta gives it the message's id.
            question.otid = Some(question.id.clone());
        }
        Ok(question)
    }
}

/// Writes a piece in which there may be anything, and which is looked through where it is marked, or else everywhere.
fn push_open(piece: &str, marks: &mut Option<Marks<'_>>, out: &mut Written) {
    let places = marks.as_mut().and_then(|marks| marks.places_in(piece));
    match places {
        Some(places) => out.push_marked(piece, &places),
        None => {
            *marks = None;
            out.push(piece);
        }
    }
}

/// Writes what an agent sees of files, in which nothing has a name that secrets have.
fn push_files(agent_id: &str, files: &[FileBlock], out: &mut Written) -> serde_json::Result<()> {
    for (number, file) in files.iter().enumerate() {
        if number > 0 {
            out.push_harmless(&[","]);
        }
        let mut written = Ok(());
        out.harmlessly(|text| written = serde_json::to_writer(text, &file.wire(agent_id)));
        written?;
    }
    Ok(())
}

fn push_blocks(blocks: &[String], out: &mut Written) {
    for (number, block) in blocks.iter().enumerate() {
        if number > 0 {
            out.push(",");
        }
        match open_place(block) {
            Some(place) => out.push_marked(block, &[place]),
            None => out.push(block),
        }
    }
}

/// Where anything may be in a stored block: in its metadata; none: it is not as `Block` is written now.
fn open_place(block: &str) -> Option<Range<usize>> {
    let mut scan = Scan(block);
    for name in [
        r#"{"value":"#,
        r#","limit":"#,
        r#","project_id":"#,
        r#","template_name":"#,
        r#","is_template":"#,
        r#","template_id":"#,
        r#","base_template_id":"#,
        r#","deployment_id":"#,
        r#","entity_id":"#,
        r#","preserve_on_migration":"#,
        r#","label":"#,
        r#","read_only":"#,
        r#","description":"#,
    ] {
        scan.literal(name)?;
        scan.simple()?;
    }
    let begin = block.len() - scan.0.len();
    scan.member(r#","metadata":"#)?;
    let end = block.len() - scan.0.len();
    for name in [r#","hidden":"#, r#","id":"#, r#","created_by_id":"#, r#","last_updated_by_id":"#] {
        scan.literal(name)?;
        scan.simple()?;
    }
    scan.literal(r#","tags":"#)?;
    scan.texts()?;
    (scan.0 == "}").then_some(begin..end)
}

fn push_tools(tools: &[WireTool], out: &mut Written) {
    for (number, tool) in tools.iter().enumerate() {
        if number > 0 {
            out.push(",");
        }
        match tool {
            WireTool::BuiltIn(tool) => out.push_harmless(&[tool]),
            WireTool::Stored(tool) => out.push(tool),
        }
    }
}

/// Writes a member that is a list of which there is no text yet. An empty one is harmless under any name.
fn push_list<T: Serialize>(name: &str, list: &[T], out: &mut Written) -> serde_json::Result<()> {
    if list.is_empty() {
        out.push_harmless(&[",\"", name, "\":[]"]);
        return Ok(());
    }
    out.push_member(name, "");
    serde_json::to_writer(out, list)
}

/// The same of one that may be null.
fn push_option<T: Serialize>(name: &str, value: Option<&T>, out: &mut Written) -> serde_json::Result<()> {
    let Some(value) = value else {
        out.push_harmless(&[",\"", name, "\":null"]);
        return Ok(());
    };
    out.push_member(name, "");
    serde_json::to_writer(out, value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{
            block::Block,
            context::ContextEntry,
            message::{Message, Role},
            model::object,
        },
        *,
    };
    use crate::{
        access::{NAMES_OF_SECRETS, grant::Redaction, redact_written},
        mock::validation::body::Fields,
    };

    #[test]
    fn the_wire_form_has_every_key_in_lettas_order() {
        let body = json!({"model": "openai/gpt-4o-mini", "tags": ["a", "b", "a"], "secrets": {"K": "\"v"}});
        let agent = Agent::create(&Fields::of_body(&body).unwrap()).unwrap();
        let stored = serde_json::to_string(&agent).unwrap();
        let wire = |include| {
            let mut written = Written::default();
            write_agent(&stored, include, &Loaded::default(), &mut written).unwrap();
            serde_json::from_slice::<Value>(written.as_bytes()).unwrap()
        };
        let all = wire(Include::EVERYTHING);
        let keys: Vec<&String> = all.as_object().unwrap().keys().collect();
        assert_eq!(keys.len(), 45);
        assert_eq!((keys[0], keys[4], keys[44]), (&"created_by_id".into(), &"id".into(), &"hidden".into()));
        assert_eq!((&all["tags"], &all["secrets"][0]["value"]), (&json!(["a", "b"]), &json!("\"v")));
        assert_eq!((&all["max_files_open"], &all["pending_approval"]), (&json!(10), &Value::Null));
        let fewer = wire(Include { tags: false, secrets: false, ..Include::EVERYTHING });
        assert_eq!((&fewer["tags"], &fewer["secrets"]), (&json!([]), &json!([])));
    }

    /// An agent in which every text is odd and nothing is missing.
    fn full_agent() -> Agent {
        let odd = "a\"],\\ \u{0}\u{1f600}},\"tokens\":[";
        let body = json!({
            "model": "openai/gpt-4o-mini", "embedding": "openai/text-embedding-3-small", "name": odd, "system": odd,
            "description": odd, "metadata": {odd: [{odd: odd}, null, 1.5, []]}, "tags": [odd], "secrets": {odd: odd},
            "timezone": odd, "memory_variables": {odd: odd}, "message_buffer_autoclear": true, "hidden": false,
            "response_format": {"type": "json_schema", "json_schema": {odd: odd}}, "last_stop_reason": "end_turn",
        });
        let mut agent = Agent::create(&Fields::of_body(&body).unwrap()).unwrap();
        let request = Message::new(Role::Approval, Vec::new());
        agent.pending = Some(Box::new(Pending { request, beside: Vec::new(), scripted: Vec::new() }));
        (agent.deployment_id, agent.entity_id) = (Some("d".into()), Some("e".into()));
        agent.context = vec![
            ContextEntry { id: "message-1".into(), tokens: 17 },
            ContextEntry { id: "message-]".into(), tokens: -1 },
        ];
        agent
    }

    #[test]
    fn members_are_written_as_they_are_stored_now_or_were_before() {
        let full = full_agent();
        let plain = Agent::create(&Fields::of_body(&json!({"model": "a/b"})).unwrap()).unwrap();
        for agent in [full, plain] {
            let stored = serde_json::to_value(&agent).unwrap();
            let mut before = stored.clone();
            before["context"] = serde_json::to_value(&agent.context).unwrap();
            for body in [super::stored(&agent).unwrap(), stored.to_string(), before.to_string()] {
                let mut written = Written::default();
                write_agent(&body, Include::EVERYTHING, &Loaded::default(), &mut written).unwrap();
                let wire: Value = serde_json::from_slice(written.as_bytes()).unwrap();
                for (name, value) in wire.as_object().unwrap() {
                    let expected = match name.as_str() {
                        "message_ids" => &stored["context"]["ids"],
                        "embedding" => &stored["embedding"]["handle"],
                        "embedding_config" => &stored["embedding"]["config"],
                        "secrets" | "tool_exec_environment_variables" => continue,
                        _ => match stored.get(name) {
                            Some(expected) => expected,
                            None => continue,
                        },
                    };
                    assert_eq!(value, expected, "{name}");
                }
            }
        }
    }

    /// A stored agent, written for a client token.
    fn redacted(body: &str) -> Value {
        let mut written = Written::default();
        write_agent(body, Include::EVERYTHING, &Loaded::default(), &mut written).unwrap();
        serde_json::from_slice(&redact_written(written, Redaction::Secrets, None).unwrap()).unwrap()
    }

    #[test]
    fn secrets_are_found_with_a_layout_and_without_and_with_one_that_cannot_be_its() {
        let mut agent = full_agent();
        agent.metadata = Some(object! {"api_key": "canary", "a": [{"base_url": ["canary"]}], "embedding": "handle"});
        agent.response_format = Some(object! {"auth_\u{74}oken": {"b": "canary"}});
        agent.model.llm.insert("model_endpoint".into(), "canary".into());
        let plain = serde_json::to_string(&agent).unwrap();
        let stored = stored(&agent).unwrap();
        let expected = redacted(&plain);
        assert!(!expected.to_string().contains("canary") && expected["metadata"]["embedding"] == "handle");
        assert_eq!(redacted(&stored), expected);
        assert!(StoredAgent::read(&stored).unwrap().marks.is_some());
        // Marked by other names: nothing is marked.
        let names = format!(",{NAMES_OF_SECRETS},");
        let (lengths, marks) = stored.split_once(&names).unwrap();
        let others = format!("{lengths},1,0,0,0,0]}}");
        assert!(StoredAgent::read(&others).is_some_and(|agent| agent.marks.is_none()), "{marks}");
        for broken in [
            others,
            format!("{lengths}{names}0,1,999999,1,0,0]}}"),
            format!("{lengths}{names}9]}}"),
            format!("{lengths}]}}"),
            stored.replace("layout\":[", "layout\":[1"),
            stored.replace("layout\":[", "layout\":[18446744073709551616,"),
        ] {
            assert_eq!(redacted(&broken), expected, "{broken}");
        }
    }

    #[test]
    fn a_block_may_hold_anything_in_its_metadata_only() {
        let metadata = json!({"api_key": "canary", "\"},\"hidden\":": [1]});
        let odd = "a\"],\\ ,\"metadata\":{";
        let body = json!({"label": odd, "value": odd, "metadata": metadata, "tags": [odd, ""]});
        let block = Block::create(&Fields::of_body(&body).unwrap()).unwrap();
        let block = serde_json::to_string(&block).unwrap();
        assert_eq!(block[open_place(&block).unwrap()], format!(",\"metadata\":{metadata}"));
        for other in [block.replacen("label", "secrets", 1), block.replacen("\"limit\":", "\"limit\":{},\"l\":", 1)] {
            assert_eq!(open_place(&other), None, "{other}");
        }
    }

    #[test]
    fn agents_are_read_again_as_they_were_stored() {
        let agent = full_agent();
        let mut body = serde_json::to_value(&agent).unwrap();
        let again: Agent = serde_json::from_value(body.clone()).unwrap();
        assert_eq!(serde_json::to_value(&again).unwrap(), body);
        body["context"]["tokens"] = json!([17]);
        assert!(serde_json::from_value::<Agent>(body).is_err());
    }
}
