//! The program itself, as a child process.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::LazyLock,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use super::{Client, Cluster, Engine};

/// The program under test: the one built with the suite, unless `GATELET_BINARY` names another build.
pub(crate) fn program() -> &'static str {
    static PROGRAM: LazyLock<String> =
        LazyLock::new(|| env::var("GATELET_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_gatelet").to_owned()));
    &PROGRAM
}

/// A master key for tests on PostgreSQL, where one must be given.
pub(crate) const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// How a server is to be started.
#[derive(Debug)]
pub(crate) struct Program {
    folder: TempDir,
    database_url: Option<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// What a shell does before it starts it.
    shell: Option<String>,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Gatelet {
    child: Child,
    /// Its folder, with the database and the log; none: another server owns it.
    folder: Option<TempDir>,
    log: PathBuf,
    /// What it printed when it was up.
    pub(crate) banner: Value,
    key: String,
}

/// What a command printed.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Program {
    /// A server on a fresh database.
    pub(crate) async fn on(engine: Engine) -> Self {
        let folder = TempDir::new().unwrap();
        let (database_url, environment) = match engine {
            Engine::Sqlite => (format!("sqlite://{}", folder.path().join("gatelet.db").display()), Vec::new()),
            Engine::Postgres => (
                Cluster::shared().await.create_database().await,
                vec![("GATELET_MASTER_KEY".to_owned(), MASTER_KEY.to_owned())],
            ),
        };
        Self { folder, database_url: Some(database_url), arguments: Vec::new(), environment, shell: None }
    }

    /// A server that keeps everything in memory.
    pub(crate) fn ephemeral() -> Self {
        let arguments = vec!["--ephemeral".to_owned()];
        Self { folder: TempDir::new().unwrap(), database_url: None, arguments, environment: Vec::new(), shell: None }
    }

    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it as a shell would that lets programs open so many files, unless they ask for more.
    pub(crate) fn open_files(mut self, count: u32) -> Self {
        self.shell = Some(format!("ulimit -S -n {count}"));
        self
    }

    /// Starts it as a shell would that has such a umask.
    pub(crate) fn umask(mut self, mask: &str) -> Self {
        self.shell = Some(format!("umask {mask}"));
        self
    }

    /// Another address of the same database, such as a proxy's.
    pub(crate) fn database_url(mut self, url: &str) -> Self {
        self.database_url = Some(url.to_owned());
        self
    }

    pub(crate) fn url(&self) -> &str {
        self.database_url.as_deref().unwrap()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The program with these arguments, in its folder and with nothing but its environment.
    pub(crate) fn command(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = match &self.shell {
            Some(before) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("{before} && exec \"$0\" \"$@\""), program()]);
                shell
            }
            None => Command::new(program()),
        };
        command.args(arguments).current_dir(self.folder.path()).env_clear().kill_on_drop(true);
        if let Some(url) = &self.database_url {
            command.env("GATELET_DATABASE_URL", url);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command on the same database and waits for its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Printed {
        let output = self.command(arguments).stdin(Stdio::null()).output().await.unwrap();
        Printed {
            success: output.status.success(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Starts a server; the folder stays with this program, so that another can be started on the same database.
    pub(crate) async fn start(&self) -> Gatelet {
        self.try_start().await.unwrap_or_else(|stderr| panic!("the server did not start: {stderr}"))
    }

    /// Starts a server and gives it the folder.
    pub(crate) async fn start_alone(self) -> Gatelet {
        let mut server = self.start().await;
        server.folder = Some(self.folder);
        server
    }

    /// Starts a server, or tells what it said when it would not.
    pub(crate) async fn try_start(&self) -> Result<Gatelet, String> {
        let log = self.folder.path().join(format!("{}.log", uuid::Uuid::new_v4()));
        let mut child = self
            .command(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let banner = tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await.unwrap().unwrap();
        match banner {
            Some(banner) => {
                let banner: Value = serde_json::from_str(&banner).unwrap();
                let key = banner["api_key"].as_str().unwrap_or_default().to_owned();
                // Keep the pipe open, or a later line would end the server.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                Ok(Gatelet { child, folder: None, log, banner, key })
            }
            None => {
                let _ = child.wait().await;
                Err(fs::read_to_string(&log).unwrap())
            }
        }
    }
}

impl Gatelet {
    /// A server on a fresh database of this engine.
    pub(crate) async fn on(engine: Engine) -> Self {
        let program = Program::on(engine).await;
        let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
        let mut server = program.start_alone().await;
        server.key = key;
        server
    }

    /// A server that keeps everything in memory.
    pub(crate) async fn ephemeral() -> Self {
        Program::ephemeral().start_alone().await
    }

    pub(crate) fn url(&self) -> &str {
        self.banner["url"].as_str().unwrap()
    }

    /// The API key that the server, or the harness, made.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// A caller without a bearer.
    pub(crate) fn stranger(&self) -> Client {
        Client::new(self.url(), self.banner["mode"] == "mock")
    }

    /// The holder of the API key.
    pub(crate) fn owner(&self) -> Client {
        self.stranger().bearer(self.key())
    }

    /// The id of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("the server runs")
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// How much memory it has, in bytes.
    pub(crate) fn memory(&self) -> usize {
        let pid = self.child.id().expect("the server runs");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        1024 * line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let status = std::process::Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for its end; returns the exit code.
    pub(crate) async fn exit(&mut self) -> Option<i32> {
        tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await.unwrap().unwrap().code()
    }

    /// Ends it the hard way.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }
}

impl Printed {
    /// What a command printed that must have succeeded.
    #[track_caller]
    pub(crate) fn ok(&self) -> String {
        assert!(self.success, "{}", self.stderr);
        self.stdout.trim_end().to_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.ok()).unwrap()
    }

    /// The one sentence of a command that must have failed.
    #[track_caller]
    pub(crate) fn failed(&self) -> &str {
        assert!(!self.success, "{}", self.stdout);
        assert_eq!(self.stderr.trim_end().lines().count(), 1, "{}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self.stderr.trim_end()
    }
}

/// Runs a command that needs no database.
pub(crate) async fn run(arguments: &[&str]) -> Printed {
    Program::ephemeral().run(arguments).await
}
