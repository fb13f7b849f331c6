//! The files of an agent's folders, as its memory and its system prompt show them.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Client, Gatelet, column, form, id, keys, on_both_engines};

const BLOCK: &str = "value limit project_id template_name is_template template_id base_template_id deployment_id \
    entity_id preserve_on_migration label read_only description metadata hidden id created_by_id last_updated_by_id \
    tags file_id source_id is_open last_accessed_at";

/// An agent with a folder.
struct Desk {
    owner: Client,
    agent: String,
    folder: String,
}

impl Desk {
    async fn new(server: &Gatelet, agent: Value) -> Self {
        let owner = server.owner();
        let agent = owner.create_agent(&agent).await;
        let folder = json!({
            "name": "shelf", "description": "what it is", "instructions": "how to read it",
            "embedding": "openai/text-embedding-3-small",
        });
        let folder = id(&owner.post("/v1/folders/", &folder).await.expect(200));
        Self { owner, agent, folder }
    }

    async fn upload(&self, query: &str, name: &str, text: &str) -> String {
        let body = form(&[("file", Some((name, "text/plain")), text.as_bytes())]);
        let path = format!("/v1/folders/{}/upload{query}", self.folder);
        id(&self.owner.send_form(&path, body).await.expect(200))
    }

    async fn change(&self, rest: &str) {
        let path = format!("/v1/agents/{}/{rest}", self.agent);
        assert_eq!(self.owner.send(Method::PATCH, &path, None).await.status, 200, "{path}");
    }

    async fn attach(&self) {
        self.change(&format!("folders/attach/{}", self.folder)).await;
    }

    /// The blocks, which are the same wherever they are shown.
    async fn blocks(&self) -> Value {
        let agent = format!("/v1/agents/{}", self.agent);
        let memory = self.owner.get(&format!("{agent}/core-memory")).await.expect(200);
        let blocks = memory["file_blocks"].clone();
        let included = self.owner.get(&format!("{agent}?include=agent.blocks")).await.expect(200);
        assert_eq!(included["memory"]["file_blocks"], blocks);
        let listed = self.owner.get("/v1/agents/?include=agent.blocks").await.expect(200);
        let listed = listed.as_array().unwrap().iter().find(|one| one["id"] == *self.agent).unwrap();
        assert_eq!(listed["memory"]["file_blocks"], blocks);
        let bare = self.owner.get(&format!("{agent}?include=agent.tools")).await.expect(200);
        assert_eq!(bare["memory"]["file_blocks"], json!([]));
        blocks
    }

    /// Labels and values of the blocks.
    async fn seen(&self) -> Vec<(String, String)> {
        let blocks = self.blocks().await;
        for block in blocks.as_array().unwrap() {
            assert_eq!(block["is_open"], json!(block["value"] != ""), "{block}");
        }
        column(&blocks, "label").into_iter().zip(column(&blocks, "value")).collect()
    }

    /// The section about files, the same wherever the prompt is compiled.
    async fn directories(&self) -> Option<String> {
        let agent = format!("/v1/agents/{}", self.agent);
        let asked = self.owner.post(&format!("{agent}/recompile?dry_run=true"), &json!({})).await.expect(200);
        let compiled = self.owner.post(&format!("{agent}/recompile"), &json!({})).await.expect(200);
        let messages = self.owner.get(&format!("{agent}/messages?order=asc&limit=1")).await.expect(200);
        let context = self.owner.get(&format!("{agent}/context")).await.expect(200);
        let section = section(compiled.as_str().unwrap());
        assert_eq!(self::section(asked.as_str().unwrap()), section);
        assert_eq!(self::section(messages[0]["content"].as_str().unwrap()), section);
        assert_eq!(context["directories"], json!(section));
        assert_eq!(context["num_tokens_directories"].as_i64().unwrap() > 0, section.is_some());
        section
    }
}

fn section(prompt: &str) -> Option<String> {
    let start = prompt.find("<directories>")?;
    let end = prompt.find("</directories>").expect("it ends") + "</directories>".len();
    let (before, after) = (&prompt[..start], &prompt[end..]);
    assert!(before.contains("</memory_blocks>") && after.contains("<memory_metadata>"), "{prompt}");
    Some(prompt[start..end].to_owned())
}

fn view(text: &str) -> String {
    format!("[Viewing file start (out of 1 lines)]\n1: {text}")
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let value = |text: &str| if text.is_empty() { String::new() } else { view(text) };
    expected.iter().map(|(name, text)| (format!("shelf/{name}"), value(text))).collect()
}

on_both_engines! {
    async fn memory_has_a_block_for_each_file(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let desk = Desk::new(&server, json!({"max_files_open": 2})).await;
        assert_eq!(desk.blocks().await, json!([]));
        assert_eq!(desk.directories().await, None);
        let a = desk.upload("", "a.txt", "text a").await;
        desk.attach().await;
        let blocks = desk.blocks().await;
        let block = &blocks[0];
        assert_eq!(keys(block), BLOCK);
        for (key, expected) in [
            ("value", json!(view("text a"))),
            ("limit", json!(25_000)),
            ("label", json!("shelf/a.txt")),
            ("read_only", json!(true)),
            ("metadata", json!({})),
            ("tags", json!([])),
            ("file_id", json!(a)),
            ("source_id", json!(desk.folder)),
            ("is_open", json!(true)),
        ] {
            assert_eq!(block[key], expected, "{key}");
        }
        assert_eq!(desk.blocks().await, blocks, "and its id stays");
        assert_eq!(
            desk.directories().await.unwrap(),
            "<directories>\n<file_limits>\n- current_files_open=1\n- max_files_open=2\n</file_limits>\n\
             <directory name=\"shelf\">\n<description>what it is</description>\n\
             <instructions>how to read it</instructions>\n\
             <file status=\"open\" name=\"shelf/a.txt\">\n<metadata>\n- read_only=true\n- chars_current=47\n\
             - chars_limit=25000\n</metadata>\n<value>\n[Viewing file start (out of 1 lines)]\n1: text a\n</value>\n\
             </file>\n</directory>\n</directories>"
        );

        // What makes room for others is closed, and what is closed shows nothing.
        let b = desk.upload("", "b.txt", "text b").await;
        desk.upload("?name=chosen.txt", "c.txt", "text c").await;
        let all = pairs(&[("a.txt", ""), ("b.txt", "text b"), ("chosen.txt", "text c")]);
        assert_eq!(desk.seen().await, all);
        desk.change(&format!("files/{b}/close")).await;
        assert_eq!(desk.seen().await, pairs(&[("a.txt", ""), ("b.txt", ""), ("chosen.txt", "text c")]));
        let section = desk.directories().await.unwrap();
        for part in [
            "- current_files_open=1\n",
            "<file status=\"closed\" name=\"shelf/b.txt\">\n<metadata>\n- read_only=true\n- chars_current=0\n",
            "<file status=\"open\" name=\"shelf/chosen.txt\">\n",
        ] {
            assert!(section.contains(part), "{part}: {section}");
        }
        assert_eq!(section.matches("<value>").count(), 1, "{section}");
        desk.change(&format!("files/{b}/open")).await;
        assert_eq!(desk.seen().await, all);

        // A file that takes another's place, or has a name that is taken.
        desk.upload("?duplicate_handling=replace", "a.txt", "new a").await;
        let expected = pairs(&[("b.txt", "text b"), ("chosen.txt", ""), ("a.txt", "new a")]);
        assert_eq!(desk.seen().await, expected);
        desk.upload("", "a.txt", "a again").await;
        let expected = pairs(&[("b.txt", ""), ("chosen.txt", ""), ("a.txt", "new a"), ("a_(1).txt", "a again")]);
        assert_eq!(desk.seen().await, expected);
        desk.owner.delete(&format!("/v1/folders/{}/{b}", desk.folder)).await;
        assert_eq!(desk.seen().await, expected[1..]);
        let section = desk.directories().await.unwrap();
        assert!(!section.contains("b.txt") && section.contains("name=\"shelf/a_(1).txt\""), "{section}");
        desk.change("files/close-all").await;
        let section = desk.directories().await.unwrap();
        assert!(section.contains("current_files_open=0") && !section.contains("status=\"open\""), "{section}");

        // An empty file that is open shows nothing either.
        let empty = desk.upload("", "empty.txt", " \n").await;
        let blocks = desk.blocks().await;
        let block = blocks.as_array().unwrap().iter().find(|block| block["file_id"] == *empty).unwrap();
        assert_eq!((&block["value"], &block["is_open"]), (&json!(""), &json!(true)));

        desk.change(&format!("folders/detach/{}", desk.folder)).await;
        assert_eq!(desk.blocks().await, json!([]));
        assert_eq!(desk.directories().await, None);
    }

    async fn a_turn_opens_files_before_the_agent(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let desk = Desk::new(&server, json!({})).await;
        desk.upload("", "a.py", "def f():\n\n    return 1").await;
        desk.upload("", "b.txt", "text b").await;
        desk.attach().await;
        desk.change("files/close-all").await;
        assert_eq!(desk.seen().await, pairs(&[("a.py", ""), ("b.txt", "")]));
        let open = json!({"file_requests": [{"file_name": "a.py"}]});
        let said = json!({"input": format!("[[call:open_files {open}]]")});
        desk.owner.post(&format!("/v1/agents/{}/messages", desk.agent), &said).await.expect(200);
        let shown = "[Viewing file start (out of 2 lines)]\n1: def f():\n2:     return 1";
        assert_eq!(desk.seen().await[0].1, shown);
        assert!(desk.directories().await.unwrap().contains(&format!("<value>\n{shown}\n</value>")));

        // What is asked for is what is seen, until the file is opened another way.
        desk.upload("", "c.txt", "one\ntwo\nthree\nfour").await;
        let messages = format!("/v1/agents/{}/messages", desk.agent);
        let ask = async |request: Value| {
            let call = json!({"file_requests": [request]});
            let said = desk.owner.post(&messages, &json!({"input": format!("[[call:open_files {call}]]")})).await.expect(200);
            said["messages"][1]["status"].clone()
        };
        let listed = async || {
            let files = desk.owner.get(&format!("/v1/agents/{}/files", desk.agent)).await.expect(200);
            let file = files["files"].as_array().unwrap().iter().find(|file| file["file_name"] == "shelf/c.txt").unwrap();
            assert_eq!(file["visible_content"].as_str().unwrap_or_default(), desk.seen().await[2].1);
            json!([file["start_line"], file["end_line"]])
        };
        for (offset, length, lines, shown) in [
            (json!(1), json!(2), json!([2, 3]), "[Viewing lines 2 to 3 (out of 4 lines)]\n2: two\n3: three"),
            (json!(2), Value::Null, json!([3, null]), "[Viewing lines 3 to end (out of 4 lines)]\n3: three\n4: four"),
            (json!(3), json!(9), json!([4, 12]), "[Viewing lines 4 to 4 (out of 4 lines)]\n4: four"),
            (json!(3), json!(u64::MAX), json!([4, u64::MAX]), "[Viewing lines 4 to 4 (out of 4 lines)]\n4: four"),
            (Value::Null, json!(1), json!([null, null]), "[Viewing file start (out of 4 lines)]\n1: one\n2: two\n3: three\n4: four"),
            (json!(0), json!(1), json!([1, 1]), "[Viewing lines 1 to 1 (out of 4 lines)]\n1: one"),
        ] {
            let request = json!({"file_name": "c.txt", "offset": offset, "length": length});
            assert_eq!(ask(request.clone()).await, "success", "{request}");
            assert_eq!((desk.seen().await[2].1.as_str(), listed().await), (shown, lines), "{request}");
            assert!(desk.directories().await.unwrap().contains(&format!("<value>\n{shown}\n</value>")), "{request}");
        }
        for (offset, length) in [(4, 1), (0, 0), (-1, 1)] {
            assert_eq!(ask(json!({"file_name": "c.txt", "offset": offset, "length": length})).await, "error");
        }
        let exported = desk.owner.get(&format!("/v1/agents/{}/export", desk.agent)).await.expect(200);
        let written = &exported["agents"][0]["files_agents"][2];
        assert_eq!(
            json!([written["visible_content"], written["start_line"], written["end_line"]]),
            json!(["[Viewing lines 1 to 1 (out of 4 lines)]\n1: one", 1, 1])
        );
        desk.change("files/close-all").await;
        assert_eq!((desk.seen().await[2].1.as_str(), listed().await), ("", json!([null, null])));
    }

    async fn an_agent_sees_no_more_of_its_files_than_its_limits(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let limit = 1_000;
        let desk = Desk::new(&server, json!({"per_file_view_window_char_limit": limit, "max_files_open": 30})).await;
        let long = "line of a file\n".repeat(70_000);
        for number in 0..12 {
            desk.upload("", &format!("{number}.txt"), &long).await;
        }
        desk.attach().await;
        let agent = format!("/v1/agents/{}", desk.agent);
        for most in [limit, 10_000_000] {
            desk.owner.patch(&agent, &json!({"per_file_view_window_char_limit": most})).await.expect(200);
            let seen = desk.seen().await;
            assert_eq!(seen.len(), 12);
            for (label, value) in &seen {
                assert!(value.chars().count() <= most.min(160_000) && value.contains("[TRUNCATED]"), "{label}");
            }
            let begin = seen.iter().filter(|(_, value)| value.starts_with("[Viewing file start (out of 70000 lines)]"));
            assert_eq!(begin.count(), if most == limit { 12 } else { 6 }, "together they have bounds of their own");
            let section = desk.directories().await.unwrap();
            assert!(section.len() < 1_100_000 && section.contains("current_files_open=12"), "{}", section.len());
        }
    }
}

#[tokio::test]
async fn agents_that_reason_and_act_see_names_as_tags() {
    let server = Gatelet::ephemeral().await;
    let desk = Desk::new(&server, json!({"agent_type": "react_agent"})).await;
    desk.upload("", "a.txt", "text a").await;
    desk.attach().await;
    let section = desk.directories().await.unwrap();
    let expected = "<file status=\"open\">\n<shelf/a.txt>\n<description>\n\n</description>\n<metadata>\n- read_only=true\n\
        - chars_current=47\n- chars_limit=25000\n</metadata>\n<value>\n[Viewing file start (out of 1 lines)]\n1: text a\n\
        </value>\n</shelf/a.txt>\n</file>\n";
    assert!(section.contains(expected), "{section}");
}

#[tokio::test]
async fn a_new_agents_folders_are_in_its_first_prompt() {
    let server = Gatelet::ephemeral().await;
    let desk = Desk::new(&server, json!({})).await;
    desk.upload("", "a.txt", "text a").await;
    let body = json!({"model": "openai/gpt-4o-mini", "folder_ids": [desk.folder]});
    let made = desk.owner.post("/v1/agents/", &body).await.expect(200);
    assert_eq!(made["memory"]["file_blocks"][0]["value"], view("text a"));
    let messages = desk.owner.get(&format!("/v1/agents/{}/messages?order=asc&limit=1", id(&made))).await.expect(200);
    let section = section(messages[0]["content"].as_str().unwrap()).unwrap();
    assert!(section.contains("<directory name=\"shelf\">") && section.contains("max_files_open=10"), "{section}");
    // A conversation of its own has a prompt of its own.
    let path = format!("/v1/conversations/?agent_id={}", id(&made));
    let conversation = id(&desk.owner.post(&path, &json!({})).await.expect(200));
    let path = format!("/v1/conversations/{conversation}/recompile");
    let prompt = desk.owner.post(&path, &json!({})).await.expect(200);
    assert!(self::section(prompt.as_str().unwrap()).unwrap().contains("status=\"open\" name=\"shelf/a.txt\""));
}

#[tokio::test]
async fn a_page_sees_what_its_agent_sees_and_no_more() {
    let server = Gatelet::ephemeral().await;
    let desk = Desk::new(&server, json!({"per_file_view_window_char_limit": 500})).await;
    desk.upload("", "long.txt", &format!("{}\nbehind the edge", "shown ".repeat(100))).await;
    let closed = desk.upload("", "closed.txt", "behind the edge").await;
    desk.attach().await;
    desk.change(&format!("files/{closed}/close")).await;
    let other = desk.owner.create_agent(&json!({})).await;
    let page = server.stranger().page(&desk.owner.create_token(&desk.agent, &["read_agent"]).await);
    for path in
        [format!("/v1/agents/{}?include=agent.blocks", desk.agent), format!("/v1/agents/{}/core-memory", desk.agent)]
    {
        let answer = page.get(&path).await;
        let shown = answer.expect(200);
        let blocks = shown.get("memory").unwrap_or(&shown)["file_blocks"].clone();
        assert_eq!(column(&blocks, "label"), ["shelf/long.txt", "shelf/closed.txt"]);
        assert!(
            blocks[0]["value"].as_str().unwrap().contains("shown") && !answer.text.contains("behind the edge"),
            "{shown}"
        );
        page.get(&path.replace(&desk.agent, &other)).await.refused(403, "agent_not_in_policy");
    }
}

#[tokio::test]
async fn every_type_of_file_that_letta_takes_is_taken() {
    const TYPES: &str = "pdf txt md markdown json jsonl csv py js ts java cpp cxx c h cs php rb go rs swift kt scala r m \
        html htm css scss sass less vue jsx tsx xml yaml yml toml ini cfg conf sh bash ps1 bat cmd dockerfile sql";
    let server = Gatelet::ephemeral().await;
    let desk = Desk::new(&server, json!({})).await;
    let path = format!("/v1/folders/{}/upload", desk.folder);
    for ending in TYPES.split_whitespace() {
        for said in ["application/octet-stream", "image/png", "text/plain"] {
            let body = form(&[("file", Some((&format!("{said}.{ending}").replace('/', "-"), said)), b"x")]);
            let made = desk.owner.send_form(&path, body).await.expect(200);
            let kind = made["file_type"].as_str().unwrap();
            assert!(kind != "image/png" && kind != "application/octet-stream", "{ending}: {kind}");
        }
    }
    for (name, said, expected) in [
        ("a.jsx", "text/plain", "text/x-jsx"),
        ("a.md", "text/markdown", "text/x-markdown"),
        ("a", "text/x-rust", "text/x-rust"),
        ("b", "text/plain; charset=utf-8", "text/plain"),
        ("c", "Text/X-Tsx", "text/x-tsx"),
    ] {
        let body = form(&[("file", Some((name, said)), b"x")]);
        assert_eq!(desk.owner.send_form(&path, body).await.expect(200)["file_type"], expected, "{name}");
    }
    for (name, said) in
        [("a", "application/octet-stream"), ("a.exe", "text/rtf"), ("a.png", "image/png"), ("a", "text/x-unheard")]
    {
        let body = form(&[("file", Some((name, said)), b"x")]);
        desk.owner.send_form(&path, body).await.refused(415, "unsupported_media_type");
    }
}
