//! `gatelet run`: a command with a mock of its own.

use std::{process::Stdio, time::Duration};

use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::harness::{Client, Engine, Program, program, run};

/// Starts a command with every stream at hand, and reads its output by lines.
fn start(mut command: Command) -> (Child, Lines<BufReader<ChildStdout>>) {
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

async fn next(lines: &mut Lines<BufReader<ChildStdout>>) -> Option<String> {
    tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await.unwrap().unwrap()
}

/// Its exit code, and what it wrote to stderr.
async fn end(mut child: Child) -> (Option<i32>, String) {
    let mut stderr = String::new();
    let mut pipe = child.stderr.take().unwrap();
    let ended = async {
        pipe.read_to_string(&mut stderr).await.unwrap();
        child.wait().await.unwrap()
    };
    let status = tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap();
    (status.code(), stderr)
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_finds_the_mock_in_its_environment_and_its_code_is_kept() {
    // Settings for another server do not matter: it is in memory.
    let program = Program::on(Engine::Sqlite).await;
    let script = "echo \"$LETTA_BASE_URL $LETTA_API_KEY $GATELET_URL $GATELET_KEY\"; read line; echo \"$line\"; exit 7";
    let (mut child, mut lines) = start(program.command(["run", "--", "sh", "-c", script]));
    let variables = next(&mut lines).await.unwrap();
    let [url, key, same_url, same_key] = variables.split(' ').collect::<Vec<_>>()[..] else { panic!("{variables}") };
    assert_eq!((url, key), (same_url, same_key));
    let owner = Client::new(url, true).bearer(key);
    let agent = owner.create_agent(&json!({"name": "a"})).await;
    let token = owner.create_token(&agent, &["read_agent"]).await;
    let no_origin = Client::new(url, true).bearer(&token);
    no_origin.get(&format!("/v1/agents/{agent}")).await.refused(403, "origin_missing");
    // Its input is the command's.
    child.stdin.take().unwrap().write_all(b"go on\n").await.unwrap();
    assert_eq!(next(&mut lines).await.as_deref(), Some("go on"));
    assert_eq!(next(&mut lines).await, None, "the output is the command's alone");
    let (code, stderr) = end(child).await;
    assert_eq!(code, Some(7));
    assert!(stderr.starts_with("gatelet: 3 requests: 2 with 2xx, 1 with 4xx; refused: 1 origin_missing\n"), "{stderr}");
    assert_eq!(program.folder().read_dir().unwrap().count(), 0, "nothing is written");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_last_line_tells_when_nothing_was_asked() {
    let quiet = run(&["run", "sh", "-c", "exit 0"]).await;
    assert!(quiet.success && quiet.stdout.is_empty());
    assert!(quiet.stderr.starts_with("gatelet: no requests") && quiet.stderr.contains("LETTA_BASE_URL"));
    let json = run(&["--json", "run", "--", "true"]).await;
    let summary: serde_json::Value = serde_json::from_str(&json.stderr).unwrap();
    let expected = json!({"event": "summary", "requests": 0, "statuses": {}, "refused": {}, "verdicts": [], "allowed": [],
        "unused": {"replies": [], "faults": []}, "policy": {"used": [], "over_granted": []}});
    assert_eq!(summary, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_reach_the_whole_group_of_the_command() {
    for (name, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        // An interactive program's `&` would ignore SIGINT, so the inner one is not in the background.
        let script = format!(
            "trap 'exit {code}' {name}; sh -c 'trap \"echo inner; exit\" {name}; echo ready; while :; do sleep 0.02; done'"
        );
        let program = Program::ephemeral();
        let (child, mut lines) = start(program.command(["run", "--", "sh", "-c", &script]));
        assert_eq!(next(&mut lines).await.as_deref(), Some("ready"));
        signal(&child, name);
        assert_eq!(next(&mut lines).await.as_deref(), Some("inner"), "{name}");
        // Whoever is left would still hold the pipe.
        assert_eq!(next(&mut lines).await, None, "{name}");
        assert_eq!(end(child).await.0, Some(code), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_decides_itself_what_a_signal_means() {
    let script = "trap 'echo told' TERM; echo ready; read line; while :; do read line && exit 4; done";
    let program = Program::ephemeral();
    let (mut child, mut lines) = start(program.command(["run", "--", "sh", "-c", script]));
    assert_eq!(next(&mut lines).await.as_deref(), Some("ready"));
    for _ in 0..2 {
        signal(&child, "TERM");
        assert_eq!(next(&mut lines).await.as_deref(), Some("told"));
    }
    child.stdin.take().unwrap().write_all(b"end\nend\n").await.unwrap();
    assert_eq!(end(child).await.0, Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_run_or_is_killed_has_a_shells_code() {
    let program = Program::ephemeral();
    for (command, code, said) in [
        (&["/nowhere/at/all"][..], 127, "cannot run /nowhere/at/all"),
        (&["no-such-command"], 127, "cannot run no-such-command"),
        (&["/"], 126, "cannot run /"),
        (&["sh", "-c", "kill -s KILL $$"], 137, "no requests"),
    ] {
        let (child, _lines) = start(program.command([&["run", "--"], command].concat()));
        let (ended, stderr) = end(child).await;
        assert_eq!(ended, Some(code), "{command:?}");
        assert!(stderr.contains(said) && stderr.lines().count() == 1, "{stderr}");
    }
    for (arguments, said) in [(&["run"][..], "COMMAND"), (&["run", "--scrip", "x", "true"], "--scrip")] {
        assert!(run(arguments).await.failed().contains(said));
    }
    let refused = Program::ephemeral().env("GATELET_UPSTREAM_URL", "http://127.0.0.1:1").run(&["run", "true"]).await;
    assert!(refused.failed().contains("upstream"), "{}", refused.stderr);
}

/// Only the terminal's foreground group may read from it: another group is stopped.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_may_read_from_the_terminal() {
    let program = program();
    let mut terminal = Command::new("script");
    terminal.args([
        "-q",
        "-e",
        "-c",
        &format!("{program} run -- sh -c 'echo ready; read line; echo got-$line; exit 6'"),
        "/dev/null",
    ]);
    let (mut child, mut lines) = start(terminal);
    assert_eq!(next(&mut lines).await.unwrap().trim_end(), "ready");
    child.stdin.as_mut().unwrap().write_all(b"hello\n").await.unwrap();
    while next(&mut lines).await.expect("the command goes on").trim_end() != "got-hello" {}
    assert_eq!(end(child).await.0, Some(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_end_with_the_program_that_holds_its_stdin() {
    let serve = ["serve", "--ephemeral", "--listen", "127.0.0.1:0", "--log-format", "json", "--until-stdin-closes"];
    let program = Program::ephemeral();
    let (mut child, mut lines) = start(program.command(serve));
    let banner: serde_json::Value = serde_json::from_str(&next(&mut lines).await.unwrap()).unwrap();
    let stranger = Client::new(banner["url"].as_str().unwrap(), true);
    child.stdin.as_mut().unwrap().write_all(b"what it is told does not matter\n").await.unwrap();
    stranger.get("/readyz").await.expect(200);
    drop(child.stdin.take());
    let (code, log) = end(child).await;
    assert_eq!(code, Some(0));
    assert!(log.contains("Stopping"), "{log}");
}
