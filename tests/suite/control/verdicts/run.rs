//! `gatelet run`: what it tells at the end, and what makes it fail.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::Command,
};

use super::super::harness::Control;
use crate::harness::{Client, ORIGIN, Program};

/// What a run ended with.
struct Ended {
    code: Option<i32>,
    stderr: String,
}

/// Runs a command that waits, lets a test use the mock meanwhile, and ends it with this code.
async fn run<F: Future<Output = ()>>(arguments: &[&str], code: i32, test: impl FnOnce(Client) -> F) -> Ended {
    let script = format!("echo \"$GATELET_URL $GATELET_KEY\"; read line; exit {code}");
    let all = [arguments, &["--", "sh", "-c", &script]].concat();
    // Its folder lasts as long as it does.
    let program = Program::ephemeral();
    let mut command: Command = program.command(all);
    let pipes = command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = pipes.stderr(std::process::Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let first = BufReader::new(child.stdout.take().unwrap()).lines().next_line().await.unwrap().unwrap();
    let (url, key) = first.split_once(' ').unwrap();
    test(Client::new(url, true).bearer(key)).await;
    child.stdin.take().unwrap().write_all(b"\n").await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    drop(program);
    Ended { code: output.status.code(), stderr: String::from_utf8(output.stderr).unwrap() }
}

/// A test that forgets the origin of its page, in a namespace that it deletes, resets, keeps or allows it in.
async fn forget_origin(owner: Client, end: &str) {
    let created = owner.post("/_gatelet/v1/ns", &json!({"name": "careless"})).await.expect(201);
    let key = created["api_key"].as_str().unwrap();
    let url = created["base_url"].as_str().unwrap();
    let back_end = Client::new(url, true).bearer(key);
    let agent = back_end.create_agent(&json!({"name": "helper"})).await;
    let token = back_end.create_token(&agent, &["read_agent", "write_agent"]).await;
    let path = format!("/v1/agents/{agent}");
    Client::new(url, true).bearer(&token).with("origin", ORIGIN).get(&path).await.expect(200);
    Client::new(url, true).bearer(&token).get(&path).await.refused(403, "origin_missing");
    let control = Control::of(&back_end, "-");
    match end {
        "delete" => drop(owner.delete("/_gatelet/v1/ns/careless").await),
        "reset" => drop(control.post("/reset", &json!({"to": "seed"})).await.expect(200)),
        "allow" => {
            let allowance = json!({"rule": "origin_refused", "reason": "It is what this test is about."});
            control.post("/verdicts/allow", &allowance).await.expect(200);
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passing_command_fails_by_its_verdicts_if_that_is_asked_for() {
    for (arguments, code, end, expected) in [
        (&["run"][..], 0, "keep", 0),
        (&["run", "--fail-on", "error"], 0, "keep", 3),
        (&["run", "--fail-on", "warn"], 0, "keep", 3),
        (&["run", "--fail-on", "unused"], 0, "keep", 0),
        (&["run", "--fail-on", "unused,error"], 0, "keep", 3),
        (&["run", "--fail-on", "error"], 0, "delete", 3),
        (&["run", "--fail-on", "error"], 0, "reset", 3),
        (&["run", "--fail-on", "error"], 0, "allow", 0),
        (&["run", "--fail-on", "error"], 7, "keep", 7),
    ] {
        let Ended { code, stderr } = run(arguments, code, |owner| forget_origin(owner, end)).await;
        assert_eq!(code, Some(expected), "{arguments:?} {end}: {stderr}");
        if end == "allow" {
            assert!(stderr.contains("allowed origin_refused, once") && !stderr.contains("error"), "{stderr}");
        } else {
            assert!(stderr.contains("  error origin_refused: Entry "), "{stderr}");
            assert!(stderr.contains("entries: careless/"), "{stderr}");
        }
        assert!(stderr.contains("granted write_agent, and no request needed it"), "{stderr}");
        assert!(stderr.contains("\"access\": [\"read_agent\"]"), "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_is_told_in_json() {
    let Ended { stderr, .. } = run(&["--json", "run"], 0, |owner| forget_origin(owner, "delete")).await;
    let summary: Value = serde_json::from_str(&stderr).unwrap();
    assert_eq!(summary["verdicts"][0]["rule"], "origin_refused");
    assert_eq!(summary["verdicts"][0]["count"], 1);
    assert_eq!(summary["policy"], json!({"used": ["read_agent"], "over_granted": ["write_agent"]}));
    assert_eq!(summary["unused"], json!({"replies": [], "faults": []}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_nobody_needed_is_told() {
    let script = tempfile::NamedTempFile::new().unwrap();
    let replies = "[[reply]]\ntext = \"hello\"\nsteps = [{ assistant = \"Hi.\" }]\n";
    std::fs::write(script.path(), replies).unwrap();
    let arguments = ["run", "--fail-on", "unused", "--script", script.path().to_str().unwrap()];
    let weather = json!({"id": "weather", "text": "weather", "steps": [{"assistant": "Sunny."}]});
    for (said, end, code, told) in [
        (&["hello", "weather"][..], "keep", 0, None),
        (&["hello"], "keep", 3, Some("unused replies: weather-7/weather")),
        (&["hello"], "delete", 3, Some("unused replies: weather-7/weather")),
        (&["weather"], "delete", 3, Some("unused replies: script/script-1")),
        // The counters of a snapshot do not undo what was used.
        (&["hello", "weather"], "restore", 0, None),
        (&["hello", "weather"], "fault", 3, Some("unused faults: weather-7/never")),
    ] {
        let weather = weather.clone();
        let Ended { code: ended, stderr } = run(&arguments, 0, |owner| async move {
            let creation = json!({"name": "weather-7", "replies": [weather]});
            let created = owner.post("/_gatelet/v1/ns", &creation).await.expect(201);
            let url = created["base_url"].as_str().unwrap();
            let back_end = Client::new(url, true).bearer(created["api_key"].as_str().unwrap());
            let control = Control::of(&back_end, "-");
            control.put("/snapshots/begin", &json!({})).await.expect(201);
            let agent = back_end.create_agent(&json!({"name": "helper"})).await;
            for text in said {
                let path = format!("/v1/agents/{agent}/messages");
                back_end.post(&path, &json!({"input": text})).await.expect(200);
            }
            match end {
                "delete" => drop(owner.delete("/_gatelet/v1/ns/weather-7").await),
                "fault" => {
                    let fault = json!({"id": "never", "where": {"operation": "ListRuns"}, "do": {"status": 503}});
                    control.post("/faults", &fault).await.expect(201);
                }
                "restore" => drop(control.post("/snapshots/begin/restore", &json!({})).await.expect(200)),
                _ => {}
            }
        })
        .await;
        assert_eq!(ended, Some(code), "{said:?} {end}: {stderr}");
        assert!(told.is_none_or(|told| stderr.contains(told)), "{said:?} {end}: {stderr}");
        assert!(told.is_some() || !stderr.contains("unused"), "{stderr}");
    }
}

/// A run of a background turn that is still young may be read later, but not after the end.
#[tokio::test(flavor = "multi_thread")]
async fn at_the_end_nobody_reads_any_more() {
    let Ended { code, stderr } = run(&["run", "--fail-on", "warn"], 0, |owner| async move {
        let agent = owner.create_agent(&json!({"name": "helper"})).await;
        owner.post(&format!("/v1/agents/{agent}/messages/async"), &json!({"input": "later"})).await.expect(200);
    })
    .await;
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("warn  run_never_read: "), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_known_reasons_to_fail_are_taken() {
    let refused = Program::ephemeral().run(&["run", "--fail-on", "info", "--", "true"]).await;
    assert!(refused.failed().contains("error, warn, unused"), "{}", refused.stderr);
}
