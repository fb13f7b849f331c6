//! A private PostgreSQL cluster, started by the first test that needs one and ended with the test process.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::eventually;

/// A running cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Where a superuser connects, without a database.
    base_url: String,
    /// Ends the cluster when the test process ends, however it does: its standard input closes then. None: somebody else
    /// has started the cluster.
    keeper: Option<Child>,
}

static SHARED: OnceCell<Cluster> = OnceCell::const_new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

impl Cluster {
    /// The cluster of this test process: the one that `GATELET_TEST_DATABASE_URL` names, else a private one.
    pub(crate) async fn shared() -> &'static Self {
        SHARED
            .get_or_init(|| async {
                match std::env::var("GATELET_TEST_DATABASE_URL") {
                    Ok(url) if !url.is_empty() => Self { base_url: without_database(&url), keeper: None },
                    _ => Self::start()
                        .await
                        .expect("PostgreSQL is not installed; set GATELET_TEST_DATABASE_URL or install it"),
                }
            })
            .await
    }

    /// A cluster of one test's own, which may be restarted. None: PostgreSQL is not installed here.
    pub(crate) async fn private() -> Option<Self> {
        Self::start().await
    }

    /// Restarts a private cluster with a signal to stop: `INT` ends connections and closes the files, `QUIT` is a crash.
    /// Returns as soon as it is asked to.
    pub(crate) fn restart(&mut self, signal: &str) {
        let keeper = self.keeper.as_mut().and_then(|keeper| keeper.stdin.as_mut()).expect("the cluster is private");
        writeln!(keeper, "{signal}").unwrap();
    }

    /// Whether it accepts connections.
    pub(crate) async fn is_up(&self) -> bool {
        PgConnection::connect(&format!("{}/postgres", self.base_url)).await.is_ok()
    }

    /// Makes a database and returns its URL.
    pub(crate) async fn create_database(&self) -> String {
        let name = format!("gatelet_{}_{}", std::process::id(), DATABASES.fetch_add(1, Ordering::Relaxed));
        self.execute(&format!("CREATE DATABASE {name}")).await;
        format!("{}/{name}", self.base_url)
    }

    /// Runs a statement as superuser.
    pub(crate) async fn execute(&self, statement: &str) {
        let mut connection = PgConnection::connect(&format!("{}/postgres", self.base_url)).await.unwrap();
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    async fn start() -> Option<Self> {
        let binaries = binaries()?;
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("data");
        // PostgreSQL refuses to run as root.
        let user = (effective_user() == 0).then(|| {
            let (uid, gid) = (id("-u", "postgres"), id("-g", "postgres"));
            chown(folder.path(), Some(uid), Some(gid)).unwrap();
            fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            (uid, gid)
        });
        let as_user = |program: &Path| match user {
            Some((uid, gid)) => {
                let mut command = Command::new("setpriv");
                command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".into()]);
                command.arg(program);
                command
            }
            None => Command::new(program),
        };
        let made = as_user(&binaries.join("initdb"))
            .args(["--username=gatelet", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data)
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success(), "initdb failed");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = format!(
            "start() {{ '{}' -D '{}' -p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='{}' -c fsync=off \
             -c max_connections=300 >>'{}' 2>&1 & server=$!; }}; start; \
             while read -r signal; do kill -s \"$signal\" $server; wait $server; start; done; \
             kill -INT $server; wait $server; rm -rf '{}'",
            binaries.join("postgres").display(),
            data.display(),
            folder.path().display(),
            folder.path().join("postgres.log").display(),
            folder.path().display(),
        );
        let keeper = as_user(Path::new("/bin/sh"))
            .args(["-c", &script])
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        // The keeper removes it: what is static is never dropped.
        let _ = folder.keep();
        let base_url = format!("postgres://gatelet@127.0.0.1:{port}");
        let cluster = Self { base_url, keeper: Some(keeper) };
        eventually("PostgreSQL accepts connections", Duration::from_mins(1), || cluster.is_up()).await;
        Some(cluster)
    }
}

/// Where the server programs are: on the path, or where Debian keeps them; the newest version wins.
fn binaries() -> Option<PathBuf> {
    let on_path = std::env::split_paths(&std::env::var_os("PATH")?).find(|folder| folder.join("initdb").exists());
    let debian = || {
        let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
            .collect();
        versions.sort();
        versions.into_iter().rev().find(|folder| folder.join("initdb").exists())
    };
    on_path.or_else(debian)
}

fn without_database(url: &str) -> String {
    let authority = url.find("://").map_or(0, |index| index + 3);
    let end = url[authority..].find('/').map_or(url.len(), |index| authority + index);
    url[..end].to_owned()
}

fn effective_user() -> u32 {
    let output = Command::new("id").arg("-u").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

fn id(flag: &str, user: &str) -> u32 {
    let output = Command::new("id").args([flag, user]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}
