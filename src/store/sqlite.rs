//! What is specific to SQLite: files, pragmas, the single writer, and migrations without a lock of their own.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use sqlx::{
    Connection, SqlitePool,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{Engine, IfMissing, Location, OpenError, StoreOptions};
use crate::private_files;

pub(super) static MIGRATOR: Migrator = Migrator { ignore_missing: true, ..sqlx::migrate!("migrations/sqlite") };

/// The number of rows to read ahead. Each may be large.
const ROWS_AHEAD: usize = 8;

/// Opens an in-memory database. It lives as long as its one connection, which is therefore never closed.
pub(super) async fn open_in_memory() -> Result<Engine, OpenError> {
    let pool = open_memory_pool().await.map_err(OpenError::Connect)?;
    Ok(in_memory(pool))
}

/// The engine of an in-memory database.
pub(super) fn in_memory(pool: SqlitePool) -> Engine {
    Engine::Sqlite { readers: pool.clone(), writer: pool, location: Location::Memory }
}

/// The one connection of an empty in-memory database.
pub(super) async fn open_memory_pool() -> Result<SqlitePool, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .in_memory(true)
        .foreign_keys(true)
        // A database that was made elsewhere may call only functions without effects from its schema.
        .pragma("trusted_schema", "OFF")
        .row_buffer_size(ROWS_AHEAD);
    SqlitePoolOptions::new()
        .max_connections(1)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(options)
        .await
}

/// Reads a URL, without looking at the file.
pub(super) fn read(url: &str, options: &StoreOptions) -> Result<SqliteConnectOptions, OpenError> {
    let connect = SqliteConnectOptions::from_str(url)
        .map_err(|error| OpenError::Url(error.to_string()))?
        // [`open`] makes the file, readable only for its owner.
        .create_if_missing(false)
        .foreign_keys(true)
        .row_buffer_size(ROWS_AHEAD)
        .journal_mode(SqliteJournalMode::Wal)
        // In WAL mode, only FULL keeps every acknowledged commit through a power cut.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(options.statement_timeout);
    let path = connect.get_filename();
    if path.as_os_str().is_empty() || path.to_string_lossy().contains(":memory:") || url.contains("mode=memory") {
        return Err(OpenError::Url("an in-memory store is asked for with --ephemeral".into()));
    }
    Ok(connect)
}

pub(super) async fn open(connect: SqliteConnectOptions, options: &StoreOptions) -> Result<Engine, OpenError> {
    let path = connect.get_filename().to_path_buf();
    if !path.exists() {
        if options.if_missing == IfMissing::Refuse {
            return Err(OpenError::Missing(path));
        }
        private_files::create_empty(&path).map_err(|error| OpenError::File { path: path.clone(), error })?;
    }
    // SQLite gives its companion files the mode of the database, whatever the umask. Existing ones may have another
    // mode.
    for suffix in ["", "-wal", "-shm", "-journal"] {
        private_files::tighten(&companion(&path, suffix));
    }
    let pool = |size: u32| {
        SqlitePoolOptions::new()
            .max_connections(size)
            .acquire_timeout(options.statement_timeout + Duration::from_secs(1))
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
    };
    // When the disk is full, SQLite rolls back the whole transaction by itself. sqlx does not notice: its ROLLBACK
    // fails, because no transaction is open, and it refuses every later BEGIN, because it believes that one is. The
    // connection is replaced.
    let writers = pool(1).after_release(|connection, _| {
        Box::pin(async move {
            // The reply comes after the ROLLBACK.
            connection.ping().await?;
            Ok(!connection.is_in_transaction())
        })
    });
    // The writer comes first: it makes the file and switches it to WAL.
    let writer = writers.connect_with(connect.clone()).await.map_err(OpenError::Connect)?;
    let readers = pool(options.max_connections.max(1)).connect_lazy_with(connect);
    Ok(Engine::Sqlite { readers, writer, location: Location::File(path) })
}

/// The companion file of a database with this ending. SQLite puts it next to the target of a symbolic link.
fn companion(database: &Path, suffix: &str) -> PathBuf {
    let mut path = database.canonicalize().unwrap_or_else(|_| database.to_path_buf()).into_os_string();
    path.push(suffix);
    path.into()
}

/// Two processes may find the same migration pending. One of them fails as a whole, and finds the work done when it
/// tries again.
pub(super) async fn migrate(writer: &SqlitePool) -> Result<(), OpenError> {
    const ATTEMPTS: usize = 5;
    let mut attempt = 1;
    loop {
        match MIGRATOR.run(writer).await {
            Ok(()) => return Ok(()),
            Err(error) if attempt == ATTEMPTS => return Err(OpenError::Migrate(error)),
            Err(_) => attempt += 1,
        }
    }
}
