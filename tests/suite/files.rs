//! What the program writes to disk is for its owner alone.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::json;

use crate::harness::{Engine, ORIGIN, Program};

/// The files in a folder with their modes, but for the logs that the harness writes.
fn modes(folder: &Path) -> BTreeMap<String, u32> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            // What is gone by now was not there for long.
            let mode = entry.metadata().ok()?.permissions().mode() & 0o777;
            let is_log = Path::new(&name).extension().is_some_and(|extension| extension == "log");
            (!is_log).then_some((name, mode))
        })
        .collect()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_is_its_owners_whatever_the_umask() {
    for umask in ["000", "022", "277"] {
        let program = Program::on(Engine::Sqlite).await.umask(umask);
        // Looked at all the time, so that no file is wider for a moment.
        let started = Arc::new(AtomicBool::new(false));
        let watcher = {
            let (folder, started) = (program.folder().to_owned(), Arc::clone(&started));
            std::thread::spawn(move || {
                while !started.load(Ordering::Relaxed) {
                    for (name, mode) in modes(&folder) {
                        assert_eq!(mode & !0o600, 0, "{name} is {mode:o} under umask {umask}");
                    }
                }
            })
        };
        let mut server = program.start().await;
        let agent = server.owner().create_agent(&json!({"name": "a", "secrets": {"TOOL": "secret"}})).await;
        server.owner().create_token(&agent, &["read_agent"]).await;
        started.store(true, Ordering::Relaxed);
        watcher.join().expect("no file is ever wider");
        let found = modes(program.folder());
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["gatelet.db", "gatelet.db-shm", "gatelet.db-wal", "gatelet.db.key"], "umask {umask}");
        assert!(found.values().all(|mode| *mode == 0o600), "umask {umask}: {found:?}");
        server.kill().await;
        program.run(&["keys", "create", "--name", "second"]).await.ok();
        assert!(modes(program.folder()).values().all(|mode| *mode == 0o600), "umask {umask}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_writes_for_its_owner_alone() {
    let create = ["tokens", "create", "--agent", "agent-1", "--access", "read_agent", "--hostname", ORIGIN];
    for commands in [
        &[&["migrate"][..]][..],
        &[&["keys", "create", "--name", "first"], &["keys", "list"]],
        &[&create, &["tokens", "list"], &["signing-keys", "list"], &["signing-keys", "rotate"]],
        &[&["keygen"], &["config", "example"], &["config", "check"], &["operations"]],
    ] {
        let program = Program::on(Engine::Sqlite).await.umask("000");
        for command in commands {
            program.run(command).await.ok();
            let found = modes(program.folder());
            assert!(found.values().all(|mode| *mode == 0o600), "{command:?}: {found:?}");
        }
    }
    // A master key that is given is read, and neither changed nor copied.
    let program = Program::on(Engine::Sqlite).await;
    let file = program.folder().join("master_key");
    fs::write(&file, program.run(&["keygen"]).await.ok()).unwrap();
    set_mode(&file, 0o640);
    let program = program.umask("000").env("GATELET_MASTER_KEY_FILE", file.to_str().unwrap());
    program.start().await;
    let mut found = modes(program.folder());
    assert_eq!(found.remove("master_key"), Some(0o640));
    assert!(!found.contains_key("gatelet.db.key") && found.values().all(|mode| *mode == 0o600), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_were_open_to_others_are_closed_to_them_and_the_log_says_so() {
    let program = Program::on(Engine::Sqlite).await;
    let mut server = program.start().await;
    let owner = server.owner();
    owner.create_token("agent-1", &["read_agent"]).await;
    // A kill leaves the files beside the database.
    server.kill().await;
    for name in modes(program.folder()).keys() {
        set_mode(&program.folder().join(name), 0o644);
    }
    let server = program.start().await;
    let found = modes(program.folder());
    assert!(found.len() == 4 && found.values().all(|mode| *mode == 0o600), "{found:?}");
    let log = server.log();
    for name in ["gatelet.db", "gatelet.db-wal", "gatelet.db-shm", "gatelet.db.key"] {
        let said = log.lines().any(|line| line.contains(&format!("{name} was open to others (mode 644)")));
        assert!(said, "{name}: {log}");
    }
    // What was in them is still there, and what is narrower is left alone.
    owner.at(server.url()).get("/v1/client-side-access-tokens").await.expect(200);
    drop(server);
    set_mode(&program.folder().join("gatelet.db.key"), 0o400);
    let server = program.start().await;
    assert_eq!(modes(program.folder())["gatelet.db.key"], 0o400);
    assert!(!server.log().contains("was open to others"), "{}", server.log());
}

/// The commands are run as they are written, with programs of the same names that print something.
#[test]
fn the_documented_commands_keep_secrets_to_their_owner() {
    for document in ["docs/operating.md", "docs/gateway.md", "docker-compose.yml", "docker-compose.letta.yml"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document)).unwrap();
        let scripts = scripts(document, &text);
        assert_eq!(scripts.len(), 1, "{document}");
        for script in scripts {
            let folder = tempfile::TempDir::new().unwrap();
            let programs = folder.path().join("programs");
            fs::create_dir(&programs).unwrap();
            for name in ["docker", "openssl", "sudo"] {
                fs::write(programs.join(name), "#!/bin/sh\necho secret\n").unwrap();
                set_mode(&programs.join(name), 0o755);
            }
            let place = folder.path().join("place");
            fs::create_dir(&place).unwrap();
            let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
            let whole = format!("set -e; umask 022\n{script}");
            let run = Command::new("sh").args(["-c", &whole]).current_dir(&place).env("PATH", path).output().unwrap();
            assert!(run.status.success(), "{document}: {}", String::from_utf8_lossy(&run.stderr));
            let mut found = modes(&place);
            assert_eq!(found.remove("secrets"), Some(0o700), "{document}: {script}");
            found.extend(modes(&place.join("secrets")));
            assert!(found.contains_key("master_key"), "{document}: {found:?}");
            assert!(found.values().all(|mode| mode & !0o700 == 0), "{document}: {found:?}\n{script}");
        }
    }
}

/// What a document tells its reader to enter where secrets are made.
fn scripts(document: &str, text: &str) -> Vec<String> {
    let blocks: Vec<String> = if Path::new(document).extension().is_some_and(|extension| extension == "md") {
        let after = text.split("```sh\n").skip(1);
        after.map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
    } else {
        let commands = text.lines().filter_map(|line| line.strip_prefix("#   "));
        vec![commands.collect::<Vec<_>>().join("\n")]
    };
    blocks.into_iter().filter(|block| block.contains("> secrets/")).collect()
}
