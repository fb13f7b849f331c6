//! One request for each operation that has a meaning in a mock, in an order in which what is needed is there.
//!
//! `{names}` in paths and bodies stand for what earlier answers brought: see [`Request::keep`].

use serde_json::{Value, json};

/// A request, and what to remember of its answer.
pub(super) struct Request {
    pub(super) line: &'static str,
    pub(super) body: Body,
    /// Names, and where in the answer their values are.
    pub(super) keep: Vec<(&'static str, &'static str)>,
    /// The status, if it is not one of success.
    pub(super) status: Option<u16>,
    /// The status with which it is refused as long as it is not mocked as it should be.
    pub(super) open: Option<u16>,
    /// Whether clients of the 0.1.x generation are refused.
    pub(super) only_1_x: bool,
}

/// What a request says.
#[derive(Clone)]
pub(super) enum Body {
    None,
    Json(Value),
    /// A form with one file.
    File(&'static str, String),
    /// A form with what an earlier answer was: the agent file.
    AgentFile,
}

impl Request {
    /// Remembers a part of the answer under a name.
    fn keep(mut self, name: &'static str, pointer: &'static str) -> Self {
        self.keep.push((name, pointer));
        self
    }

    /// Expects a refusal: nothing else can be had of this operation.
    fn refused(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Marks what is not mocked as it should be yet.
    fn open(mut self, status: u16) -> Self {
        self.open = Some(status);
        self
    }

    fn only_1_x(mut self) -> Self {
        self.only_1_x = true;
        self
    }
}

fn ask(line: &'static str) -> Request {
    Request { line, body: Body::None, keep: Vec::new(), status: None, open: None, only_1_x: false }
}

fn say(line: &'static str, body: Value) -> Request {
    Request { body: Body::Json(body), ..ask(line) }
}

fn upload(line: &'static str, name: &'static str, content: &'static str) -> Request {
    Request { body: Body::File(name, content.to_owned()), ..ask(line) }
}

const ROLL: &str = "def roll(sides: int) -> str:\n    \"\"\"Rolls a die.\n\n    Args:\n        sides (int): how many\n    \"\"\"\n    return str(sides)\n";

/// All requests but those that end it all.
pub(super) fn all() -> Vec<Request> {
    [
        catalogues(),
        agents(),
        blocks(),
        tools(),
        messages(),
        runs(),
        conversations(),
        passages(),
        folders(),
        identities(),
        groups(),
        batches(),
        providers(),
        mcp_servers(),
        templates(),
        cloud(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn catalogues() -> Vec<Request> {
    vec![
        ask("GET /v1/health/"),
        ask("GET /v1/ready/"),
        ask("GET /v1/models/"),
        ask("GET /v1/models/embedding"),
        ask("GET /v1/models/embeddings"),
        ask("GET /v1/embeddings/total_storage_size"),
    ]
}

fn agents() -> Vec<Request> {
    vec![
        say(
            "POST /v1/agents/",
            json!({
                "name": "walker", "model": "openai/gpt-4o-mini", "embedding": "openai/text-embedding-3-small",
                "memory_blocks": [{"label": "human", "value": "Sam"}, {"label": "persona", "value": "Kind"}],
                "tags": ["walk"], "metadata": {"a": [1, null]}, "secrets": {"KEY": "value"},
                "tool_rules": [{"type": "max_count_per_step", "tool_name": "memory_insert", "max_count_limit": 3}],
            }),
        )
        .keep("agent", "/id")
        .keep("human", "/blocks/0/id"),
        say(
            "POST /v1/agents/",
            json!({"model": "anthropic/claude-sonnet-4", "agent_type": "memgpt_v2_agent", "enable_sleeptime": true, "tags": ["walk"]}),
        )
        .keep("second", "/id"),
        ask("GET /v1/agents/?tags=walk&limit=2"),
        ask("GET /v1/agents/?include=agent.tools&include=agent.blocks&include=agent.secrets&include=agent.managed_group"),
        ask("GET /v1/agents/{agent}?include=agent.tools&include=agent.blocks&include=agent.secrets&include=agent.tags"),
        ask("GET /v1/agents/count"),
        say("PATCH /v1/agents/{agent}", json!({"description": "d", "context_window_limit": 16000, "tags": ["walk", "on"]})),
        ask("GET /v1/agents/{agent}/context"),
        ask("POST /v1/agents/{agent}/recompile"),
        ask("POST /v1/agents/{agent}/system-prompt/recompile?dry_run=true"),
        ask("GET /v1/agents/{agent}/core-memory"),
        ask("GET /v1/agents/{agent}/core-memory/variables"),
        ask("GET /v1/agents/{agent}/memory-files/directory"),
        ask("GET /v1/agents/{agent}/memory-files/history?file_path=a"),
        ask("GET /v1/agents/{agent}/memory-files/content?file_path=a"),
        ask("GET /v1/agents/{agent}/groups"),
        ask("GET /v1/agents/{second}/groups"),
        say("POST /v1/agents/{agent}/generate", json!({"prompt": "Say something"})),
        ask("GET /v1/agents/{agent}/export"),
        say("POST /v1/agents/{agent}/export", json!({})).keep("agent_file", ""),
        Request { body: Body::AgentFile, ..ask("POST /v1/agents/import?append_copy_suffix=true") }
            .keep("imported", "/agent_ids/0"),
        say("POST /v1/agents/search", json!({"search": [{"field": "name", "operator": "eq", "value": "walker"}]})),
        ask("GET /v1/agents/search/count"),
        ask("GET /v1/tags/?limit=5"),
    ]
}

fn blocks() -> Vec<Request> {
    vec![
        say(
            "POST /v1/blocks/",
            json!({"label": "note", "value": "v", "description": "d", "tags": ["t"], "metadata": {"k": 1}}),
        )
        .keep("block", "/id")
        .keep("label", "/label"),
        ask("GET /v1/blocks/?label=note&limit=1"),
        ask("GET /v1/blocks/count"),
        ask("GET /v1/blocks/{block}"),
        say("PATCH /v1/blocks/{block}", json!({"value": "w", "limit": 5000})),
        ask("PATCH /v1/agents/{agent}/core-memory/blocks/attach/{block}"),
        ask("GET /v1/agents/{agent}/core-memory/blocks"),
        ask("GET /v1/agents/{agent}/core-memory/blocks/{label}"),
        say("PATCH /v1/agents/{agent}/core-memory/blocks/{label}", json!({"value": "x"})),
        ask("GET /v1/blocks/{block}/agents?include=agent.blocks"),
        ask("PATCH /v1/agents/{agent}/core-memory/blocks/detach/{block}"),
    ]
}

fn tools() -> Vec<Request> {
    vec![
        say("POST /v1/tools/", json!({"source_code": ROLL, "tags": ["dice"]}))
            .keep("tool", "/id")
            .keep("tool_name", "/name"),
        say("PUT /v1/tools/", json!({"source_code": ROLL, "description": "d"})),
        ask("GET /v1/tools/?limit=3"),
        ask("GET /v1/tools/?name=roll"),
        ask("GET /v1/tools/count"),
        ask("GET /v1/tools/{tool}"),
        say("PATCH /v1/tools/{tool}", json!({"description": "e", "return_char_limit": 100})),
        say("POST /v1/tools/run", json!({"source_code": ROLL, "args": {"sides": 6}})),
        say("POST /v1/tools/search", json!({"query": "dice"})),
        ask("POST /v1/tools/add-base-tools"),
        ask("PATCH /v1/agents/{agent}/tools/attach/{tool}"),
        ask("GET /v1/agents/{agent}/tools"),
        say("POST /v1/agents/{agent}/tools/{tool_name}/run", json!({"args": {"sides": 6}})),
        say("PATCH /v1/agents/{agent}/tools/approval/{tool_name}", json!({"requires_approval": true})),
    ]
}

fn messages() -> Vec<Request> {
    let user = |text: &str| json!({"messages": [{"role": "user", "content": text}]});
    let with = |mut body: Value, name: &str, value: Value| {
        body[name] = value;
        body
    };
    vec![
        say("POST /v1/agents/{agent}/messages", user("Hello"))
            .keep("message", "/messages/0/id")
            .keep("step", "/messages/0/step_id"),
        say("POST /v1/agents/{agent}/messages", user("[[call:roll {\"sides\": 6}]]"))
            .keep("call", "/messages/1/tool_call/tool_call_id"),
        ask("GET /v1/agents/{agent}?include=agent.pending_approval"),
        say(
            "POST /v1/agents/{agent}/messages",
            json!({"messages": [{"type": "approval", "approvals": [{"type": "approval", "tool_call_id": "{call}", "approve": true}]}]}),
        ),
        say("POST /v1/agents/{agent}/messages/stream", with(user("By steps"), "stream_tokens", json!(false))),
        say("POST /v1/agents/{agent}/messages/stream", with(user("By tokens"), "stream_tokens", json!(true))),
        say("POST /v1/agents/{agent}/messages", with(user("Streaming"), "streaming", json!(true))).only_1_x(),
        say("POST /v1/agents/{agent}/messages/stream", with(user("Beside"), "background", json!(true)))
            .keep("background_run", "/0/data/run_id"),
        say("POST /v1/runs/{background_run}/stream", json!({"starting_after": 1})),
        say("POST /v1/agents/{agent}/messages/stream", user("[[error:500]]")),
        say("POST /v1/agents/{second}/messages", user("Hello")),
        say("POST /v1/agents/{agent}/messages/async", user("Later")).keep("run", "/id"),
        say("POST /v1/agents/{agent}/messages/cancel", json!({})),
        ask("GET /v1/agents/{agent}/messages?order=asc"),
        ask("GET /v1/agents/{agent}/messages?use_assistant_message=false&limit=4"),
        ask("GET /v1/messages/?limit=5"),
        ask("GET /v1/messages/{message}"),
        say("PATCH /v1/agents/{agent}/messages/{message}", json!({"message_type": "user_message", "content": "x"}))
            .refused(405),
        say("POST /v1/messages/search", json!({"query": "Hello"})),
        say("POST /v1/agents/messages/search", json!({"query": "Hello"})),
        say("POST /v1/agents/{agent}/messages/preview-raw-payload", user("Hello")),
        say(
            "POST /v1/chat/completions",
            json!({"model": "{agent}", "stream": true, "messages": [{"role": "user", "content": "Hi"}]}),
        ),
        say("POST /v1/voice-beta/{agent}/chat/completions", json!({})).refused(410),
        say("POST /v1/agents/{agent}/summarize", json!({})),
    ]
}

fn runs() -> Vec<Request> {
    vec![
        ask("GET /v1/runs/?agent_id={agent}&limit=3"),
        ask("GET /v1/runs/active?agent_id={agent}"),
        ask("GET /v1/runs/{run}"),
        ask("GET /v1/runs/{run}/messages"),
        ask("GET /v1/runs/{run}/usage"),
        ask("GET /v1/runs/{run}/metrics"),
        ask("GET /v1/runs/{run}/steps"),
        ask("GET /v1/runs/{run}/trace"),
        ask("GET /v1/steps/?agent_id={agent}&limit=3"),
        ask("GET /v1/steps/{step}"),
        ask("GET /v1/steps/{step}/metrics"),
        ask("GET /v1/steps/{step}/trace"),
        ask("GET /v1/telemetry/{step}"),
        ask("GET /v1/steps/{step}/messages"),
        say("PATCH /v1/steps/{step}/feedback", json!({"feedback": "positive", "tags": ["good"]})),
    ]
}

fn conversations() -> Vec<Request> {
    vec![
        say("POST /v1/conversations/?agent_id={agent}", json!({"summary": "first"})).keep("conversation", "/id"),
        ask("GET /v1/conversations/?agent_id={agent}"),
        ask("GET /v1/conversations/{conversation}"),
        say("PATCH /v1/conversations/{conversation}", json!({"summary": "renamed"})),
        say("POST /v1/conversations/{conversation}/messages", json!({"input": "Hello"})),
        say("POST /v1/conversations/{conversation}/messages", json!({"input": "Hello again", "streaming": false})),
        ask("GET /v1/conversations/{conversation}/messages"),
        say("POST /v1/conversations/{conversation}/messages/preview-raw-payload", json!({"input": "Hello"})),
        ask("POST /v1/conversations/{conversation}/recompile"),
        ask("POST /v1/conversations/{conversation}/fork").keep("fork", "/id"),
        say("POST /v1/conversations/{conversation}/compact", json!({})),
        say(
            "POST /v1/conversations/{conversation}/messages",
            json!({"input": "Beside", "background": true, "stream_tokens": true}),
        )
        .keep("conversation_run", "/0/data/run_id"),
        say("POST /v1/conversations/{conversation}/stream", json!({"run_id": "{conversation_run}"})),
        ask("POST /v1/conversations/{fork}/cancel").refused(409),
        ask("DELETE /v1/conversations/{fork}"),
    ]
}

fn passages() -> Vec<Request> {
    vec![
        say("POST /v1/agents/{agent}/archival-memory", json!({"text": "Sam likes tea", "tags": ["food"]}))
            .keep("memory", "/0/id"),
        ask("GET /v1/agents/{agent}/archival-memory"),
        ask("GET /v1/agents/{agent}/archival-memory/search?query=tea"),
        ask("DELETE /v1/agents/{agent}/archival-memory/{memory}"),
        say("POST /v1/archives/", json!({"name": "walk", "embedding": "openai/text-embedding-3-small"}))
            .keep("archive", "/id"),
        ask("GET /v1/archives/?name=walk"),
        ask("GET /v1/archives/{archive}"),
        say("PATCH /v1/archives/{archive}", json!({"description": "d"})),
        say("POST /v1/archives/{archive}/passages", json!({"text": "one", "tags": ["x"], "metadata": {"k": "v"}}))
            .keep("passage", "/id"),
        say("POST /v1/archives/{archive}/passages/batch", json!({"passages": [{"text": "two"}, {"text": "three"}]})),
        say("POST /v1/passages/search", json!({"query": "one", "archive_id": "{archive}"})),
        ask("PATCH /v1/agents/{imported}/archives/attach/{archive}"),
        ask("GET /v1/archives/{archive}/agents"),
        ask("PATCH /v1/agents/{imported}/archives/detach/{archive}"),
        ask("DELETE /v1/archives/{archive}/passages/{passage}"),
        ask("DELETE /v1/archives/{archive}"),
    ]
}

fn folders() -> Vec<Request> {
    vec![
        say("POST /v1/folders/", json!({"name": "papers", "embedding": "openai/text-embedding-3-small"}))
            .keep("folder", "/id"),
        ask("GET /v1/folders/"),
        ask("GET /v1/folders/count"),
        ask("GET /v1/folders/metadata?include_detailed_per_source_metadata=true"),
        ask("GET /v1/folders/name/papers"),
        ask("GET /v1/folders/{folder}"),
        say("PATCH /v1/folders/{folder}", json!({"description": "d"})),
        upload("POST /v1/folders/{folder}/upload", "note.txt", "hello file").keep("file", "/id"),
        ask("GET /v1/folders/{folder}/files?include_content=true"),
        ask("GET /v1/folders/{folder}/files/{file}"),
        ask("GET /v1/folders/{folder}/passages"),
        ask("PATCH /v1/agents/{agent}/folders/attach/{folder}"),
        ask("GET /v1/agents/{agent}/folders"),
        ask("GET /v1/folders/{folder}/agents"),
        ask("GET /v1/agents/{agent}/files"),
        ask("PATCH /v1/agents/{agent}/files/{file}/open"),
        ask("PATCH /v1/agents/{agent}/files/{file}/close"),
        ask("PATCH /v1/agents/{agent}/files/close-all"),
        ask("PATCH /v1/agents/{agent}/folders/detach/{folder}"),
        ask("DELETE /v1/folders/{folder}/{file}"),
        ask("DELETE /v1/folders/{folder}"),
        say("POST /v1/sources/", json!({"name": "books", "embedding": "openai/text-embedding-3-small"}))
            .keep("source", "/id"),
        ask("GET /v1/sources/"),
        ask("GET /v1/sources/count"),
        ask("GET /v1/sources/metadata"),
        ask("GET /v1/sources/name/books"),
        ask("GET /v1/sources/{source}"),
        say("PATCH /v1/sources/{source}", json!({"instructions": "i"})),
        upload("POST /v1/sources/{source}/upload", "book.md", "# A book").keep("book", "/id"),
        ask("GET /v1/sources/{source}/files"),
        ask("GET /v1/sources/{source}/files/{book}"),
        ask("GET /v1/sources/{source}/passages"),
        ask("PATCH /v1/agents/{agent}/sources/attach/{source}"),
        ask("GET /v1/agents/{agent}/sources"),
        ask("GET /v1/sources/{source}/agents"),
        ask("PATCH /v1/agents/{agent}/sources/detach/{source}"),
        ask("DELETE /v1/sources/{source}/{book}"),
        ask("DELETE /v1/sources/{source}"),
    ]
}

fn identities() -> Vec<Request> {
    let sam = json!({
        "identifier_key": "sam", "name": "Sam", "identity_type": "user",
        "properties": [{"key": "age", "value": 7, "type": "number"}],
    });
    vec![
        say("POST /v1/identities/", sam.clone()).keep("identity", "/id"),
        say("PUT /v1/identities/", sam),
        ask("GET /v1/identities/?name=Sam"),
        ask("GET /v1/identities/count"),
        ask("GET /v1/identities/{identity}"),
        say("PATCH /v1/identities/{identity}", json!({"name": "Samuel"})),
        say("PUT /v1/identities/{identity}/properties", json!([{"key": "town", "value": "Rome", "type": "string"}])),
        ask("PATCH /v1/agents/{agent}/identities/attach/{identity}"),
        ask("GET /v1/agents/{agent}?include=agent.identities"),
        ask("GET /v1/identities/{identity}/agents"),
        ask("PATCH /v1/blocks/{block}/identities/attach/{identity}"),
        ask("GET /v1/identities/{identity}/blocks"),
        ask("PATCH /v1/blocks/{block}/identities/detach/{identity}"),
        ask("PATCH /v1/agents/{agent}/identities/detach/{identity}"),
        ask("DELETE /v1/identities/{identity}"),
    ]
}

fn groups() -> Vec<Request> {
    vec![
        say("POST /v1/groups/", json!({"agent_ids": ["{agent}"], "description": "g"})).keep("group", "/id"),
        ask("GET /v1/groups/"),
        ask("GET /v1/groups/count"),
        ask("GET /v1/groups/{group}"),
        say("PATCH /v1/groups/{group}", json!({"description": "h"})),
        ask("PATCH /v1/groups/{group}/blocks/attach/{block}"),
        ask("PATCH /v1/groups/{group}/blocks/detach/{block}"),
        ask("GET /v1/groups/{group}/messages"),
        say("PATCH /v1/groups/{group}/messages/{message}", json!({"message_type": "user_message", "content": "x"}))
            .refused(405),
        ask("PATCH /v1/groups/{group}/reset-messages"),
        ask("DELETE /v1/groups/{group}"),
    ]
}

fn batches() -> Vec<Request> {
    let request = json!({"agent_id": "{agent}", "messages": [{"role": "user", "content": "In a batch"}]});
    vec![
        say("POST /v1/messages/batches", json!({"requests": [request]})).keep("batch", "/id"),
        ask("GET /v1/messages/batches"),
        ask("GET /v1/messages/batches/{batch}"),
        ask("GET /v1/messages/batches/{batch}/messages"),
        ask("PATCH /v1/messages/batches/{batch}/cancel"),
        ask("GET /v1/jobs/"),
        ask("GET /v1/jobs/active"),
        ask("GET /v1/jobs/{batch}").open(404),
        ask("PATCH /v1/jobs/{batch}/cancel").open(404),
        ask("DELETE /v1/jobs/{batch}").open(404),
    ]
}

fn providers() -> Vec<Request> {
    let provider = json!({"name": "mine", "provider_type": "openai", "api_key": "secret"});
    vec![
        say("POST /v1/providers/", provider).keep("provider", "/id"),
        ask("GET /v1/providers/"),
        ask("GET /v1/providers/{provider}"),
        say("PATCH /v1/providers/{provider}", json!({"api_key": "other"})),
        ask("PATCH /v1/providers/{provider}/refresh"),
        say("POST /v1/providers/check", json!({"provider_type": "openai", "api_key": "secret"})),
        ask("POST /v1/providers/{provider}/check"),
        ask("DELETE /v1/providers/{provider}"),
    ]
}

fn mcp_servers() -> Vec<Request> {
    let config = json!({"mcp_server_type": "streamable_http", "server_url": "https://mcp.example/"});
    let legacy = json!({"server_name": "old", "type": "sse", "server_url": "https://mcp.example/sse"});
    vec![
        say("POST /v1/mcp-servers/", json!({"server_name": "walk", "config": config})).keep("mcp_server", "/id"),
        ask("GET /v1/mcp-servers/"),
        ask("GET /v1/mcp-servers/{mcp_server}"),
        say(
            "PATCH /v1/mcp-servers/{mcp_server}",
            json!({"config": {"mcp_server_type": "streamable_http", "server_url": "https://other.example/"}}),
        ),
        ask("GET /v1/mcp-servers/{mcp_server}/tools").keep("mcp_tool", "/0/id"),
        ask("GET /v1/mcp-servers/{mcp_server}/tools/{mcp_tool}"),
        say("POST /v1/mcp-servers/{mcp_server}/tools/{mcp_tool}/run", json!({"args": {}})),
        ask("PATCH /v1/mcp-servers/{mcp_server}/refresh"),
        ask("GET /v1/mcp-servers/connect/{mcp_server}"),
        ask("DELETE /v1/mcp-servers/{mcp_server}"),
        say("PUT /v1/tools/mcp/servers", legacy.clone()),
        ask("GET /v1/tools/mcp/servers"),
        ask("GET /v1/tools/mcp/servers/old/tools").keep("old_tool", "/0/name"),
        ask("POST /v1/tools/mcp/servers/old/{old_tool}"),
        say("POST /v1/tools/mcp/servers/old/tools/{old_tool}/execute", json!({"args": {}})),
        ask("POST /v1/tools/mcp/servers/old/resync"),
        say("POST /v1/tools/mcp/servers/test", legacy.clone()),
        say("POST /v1/tools/mcp/servers/connect", legacy),
        say("PATCH /v1/tools/mcp/servers/old", json!({"server_url": "https://other.example/sse"})),
        ask("DELETE /v1/tools/mcp/servers/old"),
    ]
}

fn templates() -> Vec<Request> {
    vec![
        say("POST /v1/templates", json!({"type": "agent", "agent_id": "{agent}", "name": "walk"})),
        ask("GET /v1/templates?name=walk").keep("template_project", "/templates/0/project_id"),
        say("POST /v1/templates/walk/save", json!({})),
        say("POST /v1/templates/walk:latest/agents", json!({"agent_name": "sprout", "tags": ["walk"]}))
            .keep("deployment", "/deployment_id"),
        say("POST /v1/templates/{template_project}/walk:latest/agents", json!({"agent_name": "shoot"})),
        say("POST /v1/templates/walk/rollback", json!({"version": "1"})),
        say("PATCH /v1/templates/walk", json!({"agent_file_json": "{agent_file}"})),
        say("PUT /v1/templates/{template_project}/walk/agent-file", json!({"agent_file_json": "{agent_file}"})),
        ask("GET /v1/templates/{template_project}/walk/versions"),
        ask("GET /v1/templates/{template_project}/walk:latest/snapshot").keep("snapshot", ""),
        say("PUT /v1/templates/{template_project}/walk:latest/snapshot", json!("{snapshot}")),
        say("POST /v1/templates/{template_project}/walk:latest/fork", json!({"name": "fork"})),
        say("POST /v1/templates/{template_project}/walk/rollback", json!({"version": "1"})),
        say("POST /v1/templates/{template_project}/walk", json!({})),
        say(
            "POST /v1/templates/{template_project}/walk/deployments/{deployment}/migrate",
            json!({"version": "latest"}),
        ),
        say("PATCH /v1/templates/{template_project}/walk/description", json!({"description": "d"})),
        say("PATCH /v1/templates/{template_project}/walk/name", json!({"new_name": "stroll"})),
        ask("DELETE /v1/templates/stroll"),
        ask("DELETE /v1/templates/{template_project}/fork"),
        say("POST /v1/templates/{template_project}", json!({"type": "agent", "agent_id": "{agent}"})),
    ]
}

fn cloud() -> Vec<Request> {
    let later = json!({"type": "one-time", "scheduled_at": 4_102_444_800_000_u64});
    let policy = json!([{"type": "agent", "id": "{agent}", "access": ["read_messages"]}]);
    vec![
        say("POST /v1/client-side-access-tokens", json!({"policy": policy, "hostname": "https://app.example"}))
            .keep("token", "/token"),
        ask("GET /v1/client-side-access-tokens?agentId={agent}"),
        ask("DELETE /v1/client-side-access-tokens/{token}"),
        say("POST /v1/projects", json!({"name": "walks"})).keep("project", "/id"),
        ask("GET /v1/projects?name=walks"),
        ask("DELETE /v1/projects/{project}"),
        ask("GET /v1/metadata/balance"),
        ask("GET /v1/metadata/user"),
        ask("GET /v1/metadata/status"),
        say("POST /v1/metadata/feedback", json!({"message": "good"})),
        say("POST /v1/metadata/telemetry", json!({"service": "letta-code", "events": []})),
        say(
            "POST /v1/agents/{agent}/schedule",
            json!({"messages": [{"role": "user", "content": "Wake up"}], "schedule": later}),
        )
        .keep("scheduled", "/id"),
        ask("GET /v1/agents/{agent}/schedule"),
        ask("GET /v1/agents/{agent}/schedule/{scheduled}"),
        ask("DELETE /v1/agents/{agent}/schedule/{scheduled}"),
        ask("GET /v1/environments"),
        ask("GET /v1/environments/device").refused(404),
        say("POST /v1/environments/connection/messages", json!({"messages": [{"role": "user", "content": "x"}]}))
            .refused(404),
        ask("DELETE /v1/environments/device").refused(404),
    ]
}

/// The requests that end it all.
pub(super) fn last() -> Vec<Request> {
    vec![
        say("PATCH /v1/agents/{agent}/reset-messages", json!({"add_default_initial_messages": true})),
        ask("DELETE /v1/runs/{run}"),
        ask("DELETE /v1/conversations/{conversation}"),
        ask("PATCH /v1/agents/{agent}/tools/detach/{tool}"),
        ask("DELETE /v1/tools/{tool}"),
        ask("DELETE /v1/blocks/{block}"),
        ask("DELETE /v1/agents/{second}"),
        ask("DELETE /v1/agents/{agent}"),
    ]
}
