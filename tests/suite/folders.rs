//! Folders and their files, under both of their names, and what agents see of them.

use std::{slice, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{
    Answer, Client, Gatelet, NOBODY, Resource, column, eventually, form, id, ids, keys, on_both_engines,
    shows_every_item_once,
};

const FOLDERS: &str = "/v1/folders/";
const FOLDER: &str = "name description instructions metadata id embedding_config organization_id created_by_id \
    last_updated_by_id created_at updated_at";
const FILE: &str = "source_id file_name original_file_name file_path file_type file_size file_creation_date \
    file_last_modified_date processing_status error_message total_chunks chunks_embedded content id organization_id \
    created_at updated_at";

fn folders() -> Resource {
    Resource {
        collection: FOLDERS,
        list: FOLDERS,
        prefix: "source",
        keys: FOLDER,
        create: |number| json!({"name": format!("shelf {number}"), "embedding": "openai/text-embedding-3-small"}),
        change: json!({"name": "other", "description": "said", "instructions": "read", "metadata": {"k": [1]}}),
        newest_first: false,
        deleted: (200, 404),
    }
}

fn path(folder: &str, rest: &str) -> String {
    format!("{FOLDERS}{folder}{rest}")
}

async fn upload(client: &Client, folder: &str, query: &str, name: &str, text: &str) -> Answer {
    let body = form(&[("file", Some((name, "text/plain")), text.as_bytes())]);
    client.send_form(&path(folder, &format!("/upload{query}")), body).await
}

async fn attach(client: &Client, agent: &str, folder: &str) {
    let path = format!("/v1/agents/{agent}/folders/attach/{folder}");
    client.send(Method::PATCH, &path, None).await.expect(200);
}

fn files_of(agent: &str) -> String {
    format!("/v1/agents/{agent}/files")
}

on_both_engines! {
    async fn folders_live_their_life(engine: Engine) {
        let server = Gatelet::on(engine).await;
        folders().lives_its_life(&server.owner()).await;
    }

    async fn a_name_names_one_folder(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let one = folders().create(&owner, 1).await;
        let two = folders().create(&owner, 2).await;
        let elsewhere = folders().create(&owner.with("x-project-id", "elsewhere"), 1).await;
        let body = (folders().create)(1);
        owner.post(FOLDERS, &body).await.refused(409, "conflict");
        owner.patch(&path(&two, ""), &json!({"name": "shelf 1"})).await.refused(409, "conflict");
        owner.patch(&path(&one, ""), &json!({"name": "shelf 1"})).await.expect(200);
        owner.patch(&path(&one, ""), &json!({"name": "ü ?"})).await.expect(200);
        let three = id(&owner.post(FOLDERS, &body).await.expect(200));
        for (name, expected) in [("shelf%201", Some(&three)), ("%C3%BC%20%3F", Some(&one)), ("none", None)] {
            for collection in ["folders", "sources"] {
                let found = owner.get(&format!("/v1/{collection}/name/{name}")).await;
                match expected {
                    Some(id) => assert_eq!(found.expect(200), json!(id)),
                    None => drop(found.refused(404, "not_found")),
                }
            }
        }
        for (query, expected) in [
            ("name=shelf", vec![&two, &three]),
            ("name=shelf+2", vec![&two]),
            ("name=none", vec![]),
        ] {
            let list = owner.get(&format!("{FOLDERS}?{query}")).await.expect(200);
            assert_eq!(ids(&list).iter().collect::<Vec<_>>(), expected, "{query}");
        }
        assert_eq!(owner.get("/v1/folders/count").await.expect(200), 3);
        assert_eq!(owner.get("/v1/sources/count").await.expect(200), 3);
        // Both names show the same things.
        assert_eq!(ids(&owner.get("/v1/sources/").await.expect(200)), [one.clone(), two, three]);
        let source = owner.get(&format!("/v1/sources/{one}")).await.expect(200);
        assert_eq!(keys(&source), format!("{FOLDER} vector_db_provider"));
        owner.delete(&format!("/v1/sources/{one}")).await.expect(200);
        owner.get(&path(&one, "")).await.refused(404, "not_found");
        owner.get(&path(&elsewhere, "")).await.expect(200);
        // A name is free again when its folder is gone.
        owner.post(FOLDERS, &json!({"name": "ü ?"})).await.expect(200);
        // 0 stands for the usual size of pieces.
        for (size, expected) in [(0, 300), (50, 50)] {
            let body = json!({"name": format!("of {size}"), "embedding_chunk_size": size});
            let made = owner.post(FOLDERS, &body).await.expect(200);
            assert_eq!(made["embedding_config"]["embedding_chunk_size"], expected);
        }
    }

    async fn a_file_is_uploaded_and_read(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let folder = folders().create(&owner, 1).await;
        let other = folders().create(&owner, 2).await;
        let text = "hello file\n".repeat(150);
        let made = upload(&owner, &folder, "", "dir/note.txt", &text).await.expect(200);
        assert_eq!(keys(&made), FILE);
        for (key, expected) in [
            ("source_id", json!(folder)),
            ("file_name", json!("shelf 1/note.txt")),
            ("original_file_name", json!("note.txt")),
            ("file_type", json!("text/plain")),
            ("file_size", json!(text.len())),
            ("processing_status", json!("parsing")),
            ("total_chunks", json!(null)),
            ("content", json!(null)),
        ] {
            assert_eq!(made[key], expected, "{key}");
        }
        let files = path(&folder, "/files");
        let file = id(&made);
        let one = format!("{files}/{file}");
        eventually("the file is read", Duration::from_secs(10), || async {
            owner.get(&one).await.expect(200)["processing_status"] == "completed"
        })
        .await;
        let shown = owner.get(&one).await.expect(200);
        assert_eq!((keys(&shown).as_str(), &shown["file_name"]), (FILE, &json!("note.txt")));
        assert_eq!((&shown["total_chunks"], &shown["chunks_embedded"]), (&json!(2), &json!(2)));
        assert_eq!(shown["content"], json!(null));
        for url in [format!("{one}?include_content=true"), format!("/v1/sources/{folder}/files/{file}?include_content=1")] {
            assert_eq!(owner.get(&url).await.expect(200)["content"], text, "{url}");
        }
        let list = owner.get(&format!("{files}?include_content=true")).await.expect(200);
        assert_eq!((list[0]["content"].as_str(), &list[0]["id"]), (Some(text.as_str()), &json!(file)));

        let passages = owner.get(&path(&folder, "/passages")).await.expect(200);
        assert_eq!(passages.as_array().unwrap().len(), 2);
        for passage in passages.as_array().unwrap() {
            assert_eq!((&passage["file_id"], &passage["source_id"]), (&json!(file), &json!(folder)));
            assert!(passage["archive_id"].is_null() && passage["text"].as_str().unwrap().starts_with("hello file"));
        }
        let newest_first = ids(&passages);
        shows_every_item_once(&owner, &path(&folder, "/passages"), &newest_first).await;
        assert_eq!(owner.get(&path(&other, "/passages")).await.expect(200), json!([]));

        owner.get(&format!("{FOLDERS}{other}/files/{file}")).await.refused(404, "not_found");
        owner.delete(&path(&other, &format!("/{file}"))).await.refused(404, "not_found");
        assert_eq!(owner.delete(&path(&folder, &format!("/{file}"))).await.status, 204);
        owner.delete(&path(&folder, &format!("/{file}"))).await.refused(404, "not_found");
        owner.get(&one).await.refused(404, "not_found");
        assert_eq!(owner.get(&files).await.expect(200), json!([]));
        assert_eq!(owner.get(&path(&folder, "/passages")).await.expect(200), json!([]));
    }

    async fn a_second_file_of_a_name_is_handled_as_asked(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let folder = folders().create(&owner, 1).await;
        let first = id(&upload(&owner, &folder, "", "a.txt", "1").await.expect(200));
        let mut files = vec![first.clone()];
        for expected in ["shelf 1/a_(1).txt", "shelf 1/a_(2).txt"] {
            let made = upload(&owner, &folder, "", "a.txt", "2").await.expect(200);
            assert_eq!((&made["file_name"], &made["original_file_name"]), (&json!(expected), &json!("a.txt")));
            files.push(id(&made));
        }
        let skipped = upload(&owner, &folder, "?duplicate_handling=skip", "a.txt", "3").await;
        assert_eq!(skipped.header("x-upload-result"), Some("skipped"));
        assert_eq!(id(&skipped.expect(200)), first);
        let refused = upload(&owner, &folder, "?duplicate_handling=error", "a.txt", "3").await;
        assert!(refused.refused(400, "invalid_request").contains("File 'a.txt' already exists in folder 'shelf 1'"));
        upload(&owner, &folder, "?duplicate_handling=perhaps", "a.txt", "3").await.refused(422, "validation_failed");
        assert_eq!(upload(&owner, &folder, "?name=b.txt", "a.txt", "4").await.expect(200)["file_name"], "shelf 1/b.txt");
        let replaced = upload(&owner, &folder, "?duplicate_handling=replace", "a.txt", "new").await.expect(200);
        assert_eq!(replaced["file_name"], "shelf 1/a.txt");
        let url = format!("{FOLDERS}{folder}/files/{first}");
        owner.get(&url).await.refused(404, "not_found");
        let list = owner.get(&path(&folder, "/files?order=asc")).await.expect(200);
        assert_eq!(column(&list, "file_name"), ["a_(1).txt", "a_(2).txt", "b.txt", "a.txt"]);
        shows_every_item_once(&owner, &path(&folder, "/files?order=asc"), &ids(&list)).await;

        let statistics = owner.get("/v1/folders/metadata?include_detailed_per_source_metadata=true").await.expect(200);
        assert_eq!(
            (&statistics["total_sources"], &statistics["total_files"], &statistics["total_size"]),
            (&json!(1), &json!(4), &json!(6))
        );
        assert_eq!(statistics["sources"][0]["files"][3]["file_id"], replaced["id"]);
        assert_eq!(owner.get("/v1/sources/metadata").await.expect(200)["sources"], json!([]));
    }

    async fn an_agent_opens_the_files_of_its_folders(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({"max_files_open": 2})).await;
        let (one, two) = (folders().create(&owner, 1).await, folders().create(&owner, 2).await);
        let a = id(&upload(&owner, &one, "", "a.txt", "text a\nline 2").await.expect(200));
        attach(&owner, &agent, &one).await;
        attach(&owner, &agent, &one).await;
        let listed = owner.get(&files_of(&agent)).await.expect(200);
        assert_eq!(keys(&listed), "files next_cursor has_more");
        let attachment = &listed["files"][0];
        assert_eq!(
            keys(attachment),
            "id file_id file_name folder_id folder_name is_open last_accessed_at visible_content start_line end_line"
        );
        for (key, expected) in [
            ("file_id", json!(a)),
            ("file_name", json!("shelf 1/a.txt")),
            ("folder_id", json!(one)),
            ("folder_name", json!("shelf 1")),
            ("is_open", json!(true)),
            ("visible_content", json!("[Viewing file start (out of 2 lines)]\n1: text a\n2: line 2")),
        ] {
            assert_eq!(attachment[key], expected, "{key}");
        }
        assert_eq!((&listed["next_cursor"], &listed["has_more"]), (&attachment["id"], &json!(false)));

        // What is uploaded into an attached folder lies open, and the oldest makes room for it.
        attach(&owner, &agent, &two).await;
        let b = id(&upload(&owner, &two, "", "b.txt", "b").await.expect(200));
        let c = id(&upload(&owner, &one, "", "c.txt", "c").await.expect(200));
        let shown = async |query: &str| -> Vec<String> {
            let listed = owner.get(&format!("{}?order=asc&{query}", files_of(&agent))).await.expect(200);
            column(&listed["files"], "file_id")
        };
        assert_eq!(shown("").await, [a.clone(), b.clone(), c.clone()]);
        assert_eq!(shown("is_open=true").await, [b.clone(), c.clone()]);
        assert_eq!(shown("is_open=false").await, slice::from_ref(&a));
        let change = async |rest: &str| owner.send(Method::PATCH, &format!("{}{rest}", files_of(&agent)), None).await;
        assert_eq!(change(&format!("/{a}/open")).await.expect(200), json!(["shelf 2/b.txt"]));
        assert_eq!(change(&format!("/{a}/open")).await.expect(200), json!([]));
        assert_eq!(shown("is_open=true").await, [a.clone(), c.clone()]);
        let closed = change(&format!("/{a}/close")).await.expect(200);
        assert_eq!(closed, json!({"message": format!("File id={a} successfully closed")}));
        assert_eq!(shown("is_open=true").await, slice::from_ref(&c));
        assert_eq!(change(&format!("/{b}/open")).await.expect(200), json!([]));
        assert_eq!(change("/close-all").await.expect(200), json!(["shelf 1/c.txt", "shelf 2/b.txt"]));
        assert_eq!(change("/close-all").await.expect(200), json!([]));

        // Pages, by the ids of the attachments.
        let mut seen = Vec::new();
        let mut query = "limit=2".to_owned();
        loop {
            let page = owner.get(&format!("{}?order=asc&{query}", files_of(&agent))).await.expect(200);
            seen.extend(column(&page["files"], "file_id"));
            assert_eq!(page["has_more"], json!(seen.len() < 3), "{page}");
            if page["has_more"] == false {
                break;
            }
            query = format!("limit=2&cursor={}", page["next_cursor"].as_str().unwrap());
        }
        assert_eq!(seen, [a.clone(), b.clone(), c.clone()]);
        assert_eq!(shown("after=file_agent-none").await, [] as [&str; 0]);

        // What is detached is out of sight.
        let detach = format!("/v1/agents/{agent}/folders/detach/{one}");
        for _ in 0..2 {
            assert_eq!(owner.send(Method::PATCH, &detach, None).await.status, 200);
        }
        assert_eq!(shown("").await, slice::from_ref(&b));
        change(&format!("/{a}/open")).await.refused(404, "not_found");
        change(&format!("/file-{}/close", &NOBODY[6..])).await.refused(404, "not_found");
        assert_eq!(ids(&owner.get(&format!("/v1/agents/{agent}/folders")).await.expect(200)), slice::from_ref(&two));
        owner.delete(&path(&two, "")).await.expect(200);
        assert_eq!(shown("").await, [] as [&str; 0]);
        assert_eq!(owner.get(&format!("/v1/agents/{agent}/folders")).await.expect(200), json!([]));
        owner.delete(&format!("/v1/agents/{agent}")).await.expect(200);
        owner.get(&files_of(&agent)).await.refused(404, "not_found");
    }

    async fn an_agents_tools_read_its_files(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({"max_files_open": 2})).await;
        let mut shelves = Vec::new();
        for (number, files) in [
            (1, &[("tea.txt", "green tea\nblack tea\nherbs\nwater\nmilk"), ("same.txt", "one")][..]),
            (2, &[("same.txt", "two\nGreen light")]),
        ] {
            let folder = folders().create(&owner, number).await;
            for (name, text) in files {
                upload(&owner, &folder, "", name, text).await.expect(200);
            }
            attach(&owner, &agent, &folder).await;
            shelves.push(folder);
        }
        owner.patch(&format!("{}/close-all", files_of(&agent)), &json!({})).await.expect(200);
        for (call, expected) in [
            (r#"open_files {"file_requests": [{"file_name": "shelf 1/tea.txt", "offset": 1, "length": 2}]}"#,
                Ok("shelf 1/tea.txt is open. It has 5 lines:\n2: black tea\n3: herbs")),
            (r#"open_files {"file_requests": [{"file_name": "same.txt"}]}"#, Err("say which")),
            (r#"open_files {"file_requests": [{"file_name": "none.txt"}]}"#,
                Err("the files are: shelf 1/tea.txt, shelf 1/same.txt, shelf 2/same.txt")),
            (r#"open_files {"file_requests": [{"file_name": "tea.txt", "offset": 5}]}"#, Err("5 lines")),
            (r#"open_files {"file_requests": [{"file_name": "tea.txt", "length": 0}]}"#, Err("length must be")),
            (r#"open_files {"file_requests": [{"file_name": "tea.txt", "length": -1}]}"#, Err("length must be")),
            (r#"open_files {"file_requests": []}"#, Err("at least one file")),
            (r#"grep_files {"pattern": "^green", "context_lines": 1}"#,
                Ok("Matches 1 to 2 of 2.\n\nshelf 1/tea.txt, line 1:\n1: green tea\n2: black tea\n\n\
                    shelf 2/same.txt, line 2:\n1: two\n2: Green light")),
            (r#"grep_files {"pattern": "green", "context_lines": 0, "include": "shelf 2", "offset": 0}"#,
                Ok("Matches 1 to 1 of 1.\n\nshelf 2/same.txt, line 2:\n2: Green light")),
            (r#"grep_files {"pattern": "tea", "offset": 5}"#, Ok("No more matches; 2 in total.")),
            (r#"grep_files {"pattern": "("}"#, Err("pattern is not a valid regular expression")),
            (r"grep_files {}", Err("pattern is missing")),
            (r#"semantic_search_files {"query": "green light", "limit": 1}"#,
                Ok("shelf 2/same.txt:\ntwo\nGreen light")),
            (r#"semantic_search_files {"query": "nobody"}"#, Ok("No passage matches.")),
            (r#"semantic_search_files {"query": " "}"#, Err("query is missing")),
        ] {
            let said = json!({"input": format!("[[call:{call}]]")});
            let answer = owner.post(&format!("/v1/agents/{agent}/messages"), &said).await.expect(200);
            let returned = answer["messages"].as_array().unwrap().iter();
            let returned = returned.filter(|one| one["message_type"] == "tool_return_message").collect::<Vec<_>>();
            let (text, status) = (returned[0]["tool_return"].as_str().unwrap(), &returned[0]["status"]);
            match expected {
                Ok(expected) => assert_eq!((text, status), (expected, &json!("success")), "{call}"),
                Err(part) => assert!(text.contains(part) && status == "error", "{call}: {text}"),
            }
        }
        let open = async || {
            let mut open = column(&owner.get(&format!("{}?is_open=true", files_of(&agent))).await.expect(200)["files"], "file_name");
            open.sort();
            open
        };
        assert_eq!(open().await, ["shelf 1/tea.txt"], "what could not be opened is not");
        for (request, expected) in [
            (json!({"file_requests": [{"file_name": "shelf 1/same.txt"}, {"file_name": "shelf 2/same.txt"}]}),
                &["shelf 1/same.txt", "shelf 2/same.txt"][..]),
            (json!({"file_requests": [{"file_name": "tea.txt"}], "close_all_others": true}), &["shelf 1/tea.txt"]),
        ] {
            // By the API as in a turn.
            let run = format!("/v1/agents/{agent}/tools/open_files/run");
            owner.post(&run, &json!({"args": request})).await.expect(200);
            assert_eq!(open().await, expected);
        }
    }

    async fn a_folder_knows_its_agents_and_they_know_it(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let (current, legacy) = (server.owner().with("x-stainless-package-version", "1.12.1"), server.owner());
        let legacy = legacy.with("user-agent", "letta-client/0.1.324");
        let (one, two) = (current.create_agent(&json!({})).await, current.create_agent(&json!({})).await);
        let folder = folders().create(&current, 1).await;
        let elsewhere = folders().create(&current.with("x-project-id", "elsewhere"), 1).await;
        let attach = |agent: &str, name: &str, folder: &str| format!("/v1/agents/{agent}/{name}/attach/{folder}");
        for (client, path, shows_agent) in [
            (&current, attach(&one, "folders", &folder), false),
            (&current, attach(&two, "sources", &folder), true),
            (&legacy, attach(&two, "folders", &folder), true),
        ] {
            let answer = client.send(Method::PATCH, &path, None).await.expect(200);
            assert_eq!(!answer.is_null(), shows_agent, "{path}");
            if shows_agent {
                assert_eq!(answer["sources"][0]["id"], folder, "{path}");
            }
        }
        for (path, status) in [
            (attach(&one, "folders", &elsewhere), 404),
            (attach(NOBODY, "folders", &folder), 404),
            (attach(&one, "folders", &folder.to_uppercase()), 422),
        ] {
            assert_eq!(current.send(Method::PATCH, &path, None).await.status.as_u16(), status, "{path}");
        }
        let list = current.get(&path(&folder, "/agents")).await.expect(200);
        assert_eq!(list, json!([two, one]));
        let list = current.get(&format!("/v1/sources/{folder}/agents?limit=1&after={two}")).await.expect(200);
        assert_eq!(list, json!([one]));
        assert_eq!(ids(&current.get(&format!("/v1/agents/{one}/sources")).await.expect(200)), slice::from_ref(&folder));
        let seen = async |client: &Client, query: &str| -> usize {
            let agent = client.get(&format!("/v1/agents/{one}{query}")).await.expect(200);
            agent["sources"].as_array().unwrap().len()
        };
        assert_eq!(seen(&current, "").await, 0);
        assert_eq!(seen(&current, "?include=agent.sources").await, 1);
        assert_eq!(seen(&legacy, "").await, 1);
    }

    async fn uploads_are_jobs_that_end(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let (one, two) = (folders().create(&owner, 1).await, folders().create(&owner, 2).await);
        for folder in [&one, &two, &two] {
            upload(&owner, folder, "", "a.txt", "a").await.expect(200);
        }
        eventually("every job has ended", Duration::from_secs(10), || async {
            owner.get("/v1/jobs/active").await.expect(200) == json!([])
        })
        .await;
        let jobs = owner.get("/v1/jobs/").await.expect(200);
        assert_eq!(column(&jobs, "status"), ["completed"; 3]);
        shows_every_item_once(&owner, "/v1/jobs/", &ids(&jobs)).await;
        let of_two = owner.get(&format!("/v1/jobs/?source_id={two}")).await.expect(200);
        assert_eq!(of_two.as_array().unwrap().len(), 2);
        assert_eq!(owner.get("/v1/jobs/?active=true").await.expect(200), json!([]));
        let job = id(&jobs[0]);
        let url = format!("/v1/jobs/{job}");
        assert_eq!(owner.get(&url).await.expect(200), jobs[0]);
        // What has ended cannot be cancelled.
        let cancelled = owner.send(Method::PATCH, &format!("{url}/cancel"), None).await.expect(200);
        assert_eq!(cancelled, jobs[0]);
        assert_eq!(owner.delete(&url).await.expect(200), jobs[0]);
        owner.get(&url).await.refused(404, "not_found");
        owner.delete(&url).await.refused(404, "not_found");
        owner.get("/v1/jobs/job-1").await.refused(422, "validation_failed");
    }
}

#[tokio::test]
async fn what_is_no_file_is_refused() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let folder = folders().create(&owner, 1).await;
    let url = path(&folder, "/upload");
    let cases: [(Vec<u8>, &str); 7] = [
        (form(&[("file", Some(("a.png", "image/png")), b"x")]), "415 unsupported_media_type"),
        (form(&[("file", Some(("a", "application/octet-stream")), b"x")]), "415 unsupported_media_type"),
        (form(&[("file", None, b"x")]), "422 validation_failed"),
        (form(&[("other", Some(("a.txt", "text/plain")), b"x")]), "422 validation_failed"),
        (form(&[]), "422 validation_failed"),
        (b"--b0\r\nnonsense".to_vec(), "400 invalid_request"),
        (form(&[("file", Some(("a.pdf", "application/pdf")), b"%PDF \xff\xfe")]), "200"),
    ];
    for (body, expected) in cases {
        let shown = String::from_utf8_lossy(&body).into_owned();
        assert_eq!(owner.send_form(&url, body).await.outcome(), expected, "{shown}");
    }
    owner.post(&url, &json!({"file": "x"})).await.refused(422, "validation_failed");
    let nowhere = path(&format!("source-{}", &NOBODY[6..]), "/upload");
    let body = form(&[("file", Some(("a.txt", "text/plain")), b"x")]);
    owner.send_form(&nowhere, body).await.refused(404, "not_found");
    for (body, field) in [
        (json!({}), "body.name"),
        (json!({"name": 1}), "body.name"),
        (json!({"name": "a", "metadata": []}), "body.metadata"),
        (json!({"name": "a", "unheard_of": 1}), "body.unheard_of"),
        (json!({"name": "a", "embedding_chunk_size": "0"}), "body.embedding_chunk_size"),
    ] {
        let refused = owner.post(FOLDERS, &body).await.refused(422, "validation_failed");
        assert!(refused.starts_with(field), "{refused}");
    }
    let refused = owner.patch(&path(&folder, ""), &json!({"embedding": "a/b"})).await;
    assert!(refused.refused(422, "validation_failed").starts_with("body.embedding"));
    assert_eq!(owner.get("/v1/folders/count").await.expect(200), 1);
}

#[tokio::test]
async fn a_page_opens_only_what_its_agent_sees() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let (agent, other) = (owner.create_agent(&json!({})).await, owner.create_agent(&json!({})).await);
    let (shared, foreign) = (folders().create(&owner, 1).await, folders().create(&owner, 2).await);
    let seen = id(&upload(&owner, &shared, "", "a.txt", "a").await.expect(200));
    let unseen = id(&upload(&owner, &foreign, "", "b.txt", "b").await.expect(200));
    for (agent, folder) in [(&agent, &shared), (&other, &shared), (&other, &foreign)] {
        attach(&owner, agent, folder).await;
    }
    let page = server.stranger().page(&owner.create_token(&agent, &["read_agent", "write_agent"]).await);
    let open = |agent: &str, file: &str, what: &str| format!("{}/{file}/{what}", files_of(agent));
    for (path, expected) in [
        (open(&agent, &seen, "close"), "200"),
        (open(&agent, &seen, "open"), "200"),
        (open(&agent, &unseen, "open"), "404 not_found"),
        (open(&other, &seen, "open"), "403 agent_not_in_policy"),
    ] {
        assert_eq!(page.send(Method::PATCH, &path, None).await.outcome(), expected, "{path}");
    }
    let listed = page.get(&files_of(&agent)).await.expect(200);
    assert_eq!(column(&listed["files"], "file_id"), [seen]);
    let folders: Value = page.get(&format!("/v1/agents/{agent}/folders")).await.expect(200);
    assert_eq!(ids(&folders), [shared]);
    assert_eq!(folders[0]["embedding_config"]["embedding_endpoint"], json!(null));
    let reader = server.stranger().page(&owner.create_token(&agent, &["read_agent"]).await);
    reader
        .send(Method::PATCH, &format!("{}/close-all", files_of(&agent)), None)
        .await
        .refused(403, "access_not_granted");
}
