//! Agents as clients see them, written from what is stored: most of it is the same on the wire, and is copied and never
//! read.

use serde::Serialize;
use serde_json::Value;

use super::{
    ACTOR,
    agent::Agent,
    folder::Folder,
    pending::Pending,
    scan::Scan,
    secret::{Secret, WireSecret},
    showing::Showing,
    wire::WireMessage,
};
use crate::{access::Written, mock::client::Include};

/// What is linked to an agent, read for an answer.
#[derive(Clone, Debug, Default)]
pub(in crate::mock) struct Loaded {
    /// What is stored of a block is what goes over the wire.
    pub(in crate::mock) blocks: Vec<String>,
    pub(in crate::mock) tools: Vec<WireTool>,
    pub(in crate::mock) folders: Vec<Folder>,
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
        1024 + 2 * self.blocks.iter().map(String::len).sum::<usize>() + tools.sum::<usize>()
    }
}

/// A tool as clients see it.
#[derive(Clone, Debug)]
pub(in crate::mock) enum WireTool {
    /// One that comes with the server, and has no secrets.
    BuiltIn(&'static str),
    Stored(String),
}

/// An agent as [`Agent`] is stored now: most members are JSON, and copied.
struct StoredAgent<'a> {
    /// Without quotes: it has no escapes.
    id: &'a str,
    name: &'a str,
    description: &'a str,
    metadata: &'a str,
    agent_type: &'a str,
    system: &'a str,
    model: &'a str,
    model_settings: &'a str,
    llm_config: &'a str,
    embedding: &'a str,
    embedding_config: &'a str,
    compaction_settings: &'a str,
    response_format: &'a str,
    message_ids: &'a str,
    pending: &'a str,
    tool_rules: &'a str,
    tags: &'a str,
    secrets: &'a str,
    project_id: &'a str,
    template_id: &'a str,
    base_template_id: &'a str,
    deployment_id: &'a str,
    entity_id: &'a str,
    message_buffer_autoclear: &'a str,
    enable_sleeptime: &'a str,
    last_run_completion: &'a str,
    last_run_duration_ms: &'a str,
    last_stop_reason: &'a str,
    timezone: &'a str,
    max_files_open: &'a str,
    per_file_view_window_char_limit: &'a str,
    hidden: &'a str,
    created_at: &'a str,
    updated_at: &'a str,
}

const NULL: &str = "null";

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

impl<'a> StoredAgent<'a> {
    /// Reads a stored agent; none: it is not as `Agent` is written now.
    fn read(body: &'a str) -> Option<Self> {
        let mut scan = Scan(body);
        scan.literal(r#"{"id":"#)?;
        let id = scan.plain()?;
        let name = scan.member(r#","name":"#)?;
        let description = scan.member(r#","description":"#)?;
        let metadata = scan.member(r#","metadata":"#)?;
        let agent_type = scan.member(r#","agent_type":"#)?;
        let system = scan.member(r#","system":"#)?;
        let model = scan.member(r#","model":"#)?;
        let model_settings = scan.member(r#","model_settings":"#)?;
        let llm_config = scan.member(r#","llm_config":"#)?;
        let (mut embedding, mut embedding_config) = (NULL, NULL);
        if !scan.skips(r#","embedding":null"#) {
            embedding = scan.member(r#","embedding":{"handle":"#)?;
            embedding_config = scan.member(r#","config":"#)?;
            scan.literal("}")?;
        }
        let compaction_settings = scan.member(r#","compaction_settings":"#)?;
        let response_format = scan.member(r#","response_format":"#)?;
        scan.literal(r#","context":{"ids":"#)?;
        // There may be many.
        let message_ids = scan.list_before(r#","tokens":"#)?;
        scan.literal(r#","tokens":"#)?;
        scan.past(b'}')?;
        scan.member(r#","recall":"#)?;
        let pending = scan.member_or_null(r#","pending":"#)?;
        let tool_rules = scan.member(r#","tool_rules":"#)?;
        let tags = scan.member(r#","tags":"#)?;
        let secrets = scan.member(r#","secrets":"#)?;
        let project_id = scan.member(r#","project_id":"#)?;
        let template_id = scan.member(r#","template_id":"#)?;
        let base_template_id = scan.member(r#","base_template_id":"#)?;
        let deployment_id = scan.member_or_null(r#","deployment_id":"#)?;
        let entity_id = scan.member_or_null(r#","entity_id":"#)?;
        scan.member_or_null(r#","variables":"#)?;
        let agent = Self {
            id,
            name,
            description,
            metadata,
            agent_type,
            system,
            model,
            model_settings,
            llm_config,
            embedding,
            embedding_config,
            compaction_settings,
            response_format,
            message_ids,
            pending,
            tool_rules,
            tags,
            secrets,
            project_id,
            template_id,
            base_template_id,
            deployment_id,
            entity_id,
            message_buffer_autoclear: scan.member(r#","message_buffer_autoclear":"#)?,
            enable_sleeptime: scan.member(r#","enable_sleeptime":"#)?,
            last_run_completion: scan.member(r#","last_run_completion":"#)?,
            last_run_duration_ms: scan.member(r#","last_run_duration_ms":"#)?,
            last_stop_reason: scan.member(r#","last_stop_reason":"#)?,
            timezone: scan.member(r#","timezone":"#)?,
            max_files_open: scan.member(r#","max_files_open":"#)?,
            per_file_view_window_char_limit: scan.member(r#","per_file_view_window_char_limit":"#)?,
            hidden: scan.member(r#","hidden":"#)?,
            created_at: scan.member(r#","created_at":"#)?,
            updated_at: scan.member(r#","updated_at":"#)?,
        };
        (scan.0 == "}").then_some(agent)
    }

    /// Writes the agent as clients see it. The order of the members is Letta's. Harmless is what is a text, a number or a
    /// list of texts.
    fn write(&self, include: Include, loaded: &Loaded, out: &mut Written) -> serde_json::Result<()> {
        let blocks = if include.blocks { loaded.blocks.as_slice() } else { &[] };
        out.push_harmless(&[
            r#"{"created_by_id":""#,
            ACTOR,
            r#"","last_updated_by_id":""#,
            ACTOR,
            r#"","created_at":"#,
            self.created_at,
            r#","updated_at":"#,
            self.updated_at,
            r#","id":""#,
            self.id,
            r#"","name":"#,
            self.name,
        ]);
        out.push_member("tool_rules", self.tool_rules);
        out.push_harmless(&[
            r#","message_ids":"#,
            self.message_ids,
            r#","system":"#,
            self.system,
            r#","agent_type":"#,
            self.agent_type,
        ]);
        out.push_member("llm_config", self.llm_config);
        out.push_member("embedding_config", self.embedding_config);
        out.push_harmless(&[r#","model":"#, self.model, r#","embedding":"#, self.embedding]);
        out.push_member("model_settings", self.model_settings);
        out.push_member("compaction_settings", self.compaction_settings);
        out.push_member("response_format", self.response_format);
        out.push_harmless(&[r#","description":"#, self.description]);
        out.push_member("metadata", self.metadata);
        out.push_harmless(&[r#","memory":{"agent_type":"#, self.agent_type, r#","git_enabled":false,"blocks":["#]);
        push_blocks(blocks, out);
        out.push_harmless(&[r#"],"file_blocks":[],"prompt_template":""},"blocks":["#]);
        push_blocks(blocks, out);
        out.push_harmless(&[r#"],"tools":["#]);
        push_tools(if include.tools { &loaded.tools } else { &[] }, out);
        out.push_harmless(&["]"]);
        push_value("sources", &loaded.folders.iter().map(Folder::wire_as_source).collect::<Vec<_>>(), out)?;
        out.push_harmless(&[r#","tags":"#, if include.tags { self.tags } else { "[]" }]);
        let secrets = self.secrets(include)?;
        let secrets: Vec<WireSecret<'_>> = secrets.iter().map(|secret| secret.wire(self.id)).collect();
        push_value("tool_exec_environment_variables", &secrets, out)?;
        push_value("secrets", &secrets, out)?;
        out.push_harmless(&[
            r#","project_id":"#,
            self.project_id,
            r#","template_id":"#,
            self.template_id,
            r#","base_template_id":"#,
            self.base_template_id,
            r#","deployment_id":"#,
            self.deployment_id,
            r#","entity_id":"#,
            self.entity_id,
        ]);
        push_value("identity_ids", &loaded.identities.iter().map(|one| &one["id"]).collect::<Vec<_>>(), out)?;
        push_value("identities", &loaded.identities, out)?;
        push_value("pending_approval", &self.pending_approval(include)?, out)?;
        out.push_harmless(&[
            r#","message_buffer_autoclear":"#,
            self.message_buffer_autoclear,
            r#","enable_sleeptime":"#,
            self.enable_sleeptime,
        ]);
        push_value("multi_agent_group", &loaded.managed_group, out)?;
        push_value("managed_group", &loaded.managed_group, out)?;
        out.push_harmless(&[
            r#","last_run_completion":"#,
            self.last_run_completion,
            r#","last_run_duration_ms":"#,
            self.last_run_duration_ms,
            r#","last_stop_reason":"#,
            self.last_stop_reason,
            r#","timezone":"#,
            self.timezone,
            r#","max_files_open":"#,
            self.max_files_open,
            r#","per_file_view_window_char_limit":"#,
            self.per_file_view_window_char_limit,
            r#","hidden":"#,
            self.hidden,
            "}",
        ]);
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
        let mut question = pending.request.expand(&Showing::USUAL).pop();
        if let Some(question) = &mut question {
            // Here, and only here, Letta gives it the message's id.
            question.otid = Some(question.id.clone());
        }
        Ok(question)
    }
}

fn push_blocks(blocks: &[String], out: &mut Written) {
    for (number, block) in blocks.iter().enumerate() {
        if number > 0 {
            out.push(",");
        }
        out.push(block);
    }
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

/// Writes a member of which there is no text yet.
fn push_value(name: &str, value: &impl Serialize, out: &mut Written) -> serde_json::Result<()> {
    out.push_member(name, "");
    serde_json::to_writer(out, value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{
            agent::ContextEntry,
            message::{Message, Role},
        },
        *,
    };
    use crate::mock::fields::Fields;

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
            for body in [serde_json::to_string(&agent).unwrap(), before.to_string()] {
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
