//! Storage: one set of SQL for two engines.
//!
//! Queries are written once, in the dialect that PostgreSQL and SQLite share, and dispatched by three small macros:
//! `reading!` and `writing!` pick a pool, `within!` a transaction. Several statements that belong
//! together run in `transaction!`. What is specific to an engine has a file of its own.

mod api_keys;
mod bounded;
mod change_feed;
mod client_tokens;
mod clock;
mod documents;
mod error;
mod held;
mod image;
mod links;
mod locking;
mod messages;
mod order;
mod postgres;
mod signing_keys;
mod sqlite;
mod transaction;

use std::fmt;

use sqlx::{PgPool, SqlitePool, postgres::PgConnectOptions, sqlite::SqliteConnectOptions};

pub use api_keys::{ApiKeyRow, NewApiKey};
pub use bounded::HasSize;
pub use change_feed::{Change, ChangeKind, Listener};
pub use client_tokens::{ClientTokenRow, TokenFilter};
pub use documents::{Document, DocumentFilter, NewDocument};
pub use error::StoreError;
pub use held::Held;
pub use image::{AdoptError, Image, RowCounts};
pub use links::Link;
pub use locking::{Locked, Locks};
pub use messages::{MessageFilter, NewMessage, StoredMessage};
pub use signing_keys::SigningKeyRow;
pub(crate) use transaction::transaction;
pub use transaction::{Attempts, TransactionFailure, Tx};

/// The result of revoking something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Revocation<T> {
    /// It was revoked now.
    Done(T),
    /// It was revoked before, at that time; nothing changed.
    Already(crate::clock::Millis),
    /// There is no such thing.
    Unknown,
}

/// The result of a store operation.
pub type Result<T> = std::result::Result<T, StoreError>;

/// The largest number of rows that one statement inserts or selects by id: engines limit a statement's parameters.
const ROWS_AT_ONCE: usize = 500;

/// The database, on either engine.
#[derive(Clone, Debug)]
pub struct Store {
    engine: Engine,
    most_read: usize,
}

#[derive(Clone, Debug)]
enum Engine {
    Postgres(PgPool),
    /// SQLite takes one writer at a time. A pool with one connection queues writers fairly; without it they would poll
    /// for the lock.
    Sqlite {
        readers: SqlitePool,
        writer: SqlitePool,
        location: Location,
    },
}

/// Where a SQLite database lives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Location {
    /// In the memory of this process.
    Memory,
    /// In a file, with its companions `-wal` and `-shm`.
    File(std::path::PathBuf),
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// `sqlite://FILE` or `postgres://...`; `None` for an in-memory store.
    pub url: Option<String>,
    /// The largest number of connections.
    pub max_connections: u32,
    /// How long one statement may run (PostgreSQL), or wait for another process's lock (SQLite).
    pub statement_timeout: std::time::Duration,
    /// What to do when there is no SQLite file.
    pub if_missing: IfMissing,
    /// The largest size of documents or messages that are read into memory together, in bytes.
    pub most_read: usize,
}

/// What to do when there is no SQLite file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IfMissing {
    /// Create it.
    Create,
    /// Refuse to open the store.
    Refuse,
}

/// What a URL names.
enum Address {
    Memory,
    Sqlite(SqliteConnectOptions),
    Postgres(PgConnectOptions),
}

impl StoreOptions {
    /// Reads the URL without opening anything.
    ///
    /// # Errors
    /// When it does not name a supported database. The error does not contain the URL's password.
    pub fn check(&self) -> std::result::Result<(), OpenError> {
        Address::read(self).map(|_| ())
    }
}

impl Address {
    fn read(options: &StoreOptions) -> std::result::Result<Self, OpenError> {
        match options.url.as_deref() {
            None => Ok(Self::Memory),
            Some(url) if url.starts_with("sqlite:") => sqlite::read(url, options).map(Self::Sqlite),
            Some(url) if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
                postgres::read(url, options).map(Self::Postgres)
            }
            Some(url) => Err(OpenError::Url(match url.split_once("://") {
                Some((scheme, _)) => format!("'{scheme}' is not a database this program knows"),
                None => "it does not say what kind of database it names".into(),
            })),
        }
    }
}

/// A failure to open or migrate a store, in words for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL does not name a supported database.
    #[error("database URL: {0}; use sqlite://FILE or postgres://USER@HOST/DATABASE")]
    Url(String),
    /// The database does not respond.
    #[error("cannot open the database: {0}")]
    Connect(#[source] sqlx::Error),
    /// There is no such file, and it may not be created.
    #[error("there is no database at {}, and so no API key, token or signing key; name it with --database-url", .0.display())]
    Missing(std::path::PathBuf),
    /// The file cannot be created.
    #[error("cannot make the database {}: {error}", .path.display())]
    File {
        /// Its path.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// A migration failed.
    #[error("cannot migrate the database: {0}")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// Migrations are pending and may not be run.
    #[error("the database lacks {0} migration(s); run `gatelet migrate`, or start without --no-migrate")]
    Pending(usize),
}

/// Runs a query on the pool for reading.
macro_rules! reading {
    ($store:expr, $pool:ident => $query:expr) => {{
        $crate::store::held::check_free();
        match &$store.engine {
            $crate::store::Engine::Postgres($pool) => $query,
            $crate::store::Engine::Sqlite { readers: $pool, .. } => $query,
        }
    }};
}

/// Runs a single writing statement on its own.
macro_rules! writing {
    ($store:expr, $pool:ident => $query:expr) => {{
        $crate::store::held::check_free();
        match &$store.engine {
            $crate::store::Engine::Postgres($pool) => $query,
            $crate::store::Engine::Sqlite { writer: $pool, .. } => $query,
        }
    }};
}

/// Runs a query inside a transaction.
macro_rules! within {
    ($tx:expr, $connection:ident => $query:expr) => {
        match &mut $tx.open {
            $crate::store::transaction::Open::Postgres(tx) => {
                let $connection = &mut **tx;
                $query
            }
            $crate::store::transaction::Open::Sqlite(tx) => {
                let $connection = &mut **tx;
                $query
            }
        }
    };
}

pub(crate) use {reading, within, writing};

impl Store {
    /// Opens the database, without migrating it. Creates a missing SQLite file if the options say so.
    ///
    /// # Errors
    /// When the URL is invalid or the database does not respond.
    pub async fn open(options: &StoreOptions) -> std::result::Result<Self, OpenError> {
        let engine = match Address::read(options)? {
            Address::Memory => sqlite::open_in_memory().await?,
            Address::Sqlite(connect) => sqlite::open(connect, options).await?,
            Address::Postgres(connect) => postgres::open(connect, options).await?,
        };
        Ok(Self { engine, most_read: options.most_read })
    }

    /// Brings the schema up to date. Any number of processes may do so at once.
    ///
    /// # Errors
    /// When the database does not respond or a migration fails.
    pub async fn migrate(&self) -> std::result::Result<(), OpenError> {
        match &self.engine {
            Engine::Postgres(pool) => postgres::migrate(pool).await,
            Engine::Sqlite { writer, .. } => sqlite::migrate(writer).await,
        }
    }

    /// Refuses when migrations are pending.
    ///
    /// # Errors
    /// [`OpenError::Pending`], or when the database does not respond.
    pub async fn check_migrated(&self) -> std::result::Result<(), OpenError> {
        let wanted = match &self.engine {
            Engine::Postgres(_) => &postgres::MIGRATOR,
            Engine::Sqlite { .. } => &sqlite::MIGRATOR,
        };
        let applied = self.applied_migrations().await?;
        match wanted.iter().filter(|migration| !applied.contains(&migration.version)).count() {
            0 => Ok(()),
            pending => Err(OpenError::Pending(pending)),
        }
    }

    /// Whether this is a database of Gatelet, of any version.
    ///
    /// # Errors
    /// When the database does not respond.
    pub async fn is_installed(&self) -> std::result::Result<bool, OpenError> {
        Ok(!self.applied_migrations().await?.is_empty())
    }

    async fn applied_migrations(&self) -> std::result::Result<Vec<i64>, OpenError> {
        const APPLIED: &str = "SELECT version FROM _sqlx_migrations WHERE success";
        match reading!(self, pool => sqlx::query_scalar(APPLIED).fetch_all(pool).await) {
            Ok(applied) => Ok(applied),
            Err(sqlx::Error::Database(_)) => Ok(Vec::new()),
            Err(error) => Err(OpenError::Connect(error)),
        }
    }

    /// Where a SQLite store lives; `None` for PostgreSQL.
    #[must_use]
    pub fn sqlite_location(&self) -> Option<&Location> {
        match &self.engine {
            Engine::Postgres(_) => None,
            Engine::Sqlite { location, .. } => Some(location),
        }
    }

    /// Whether this store lives in the memory of this process.
    #[must_use]
    pub fn is_ephemeral(&self) -> bool {
        self.sqlite_location() == Some(&Location::Memory)
    }

    /// The largest size of documents or messages that are read into memory together, in bytes.
    #[must_use]
    pub fn most_read(&self) -> usize {
        self.most_read
    }

    /// Closes all connections, after running statements have finished.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Postgres(pool) => pool.close().await,
            Engine::Sqlite { readers, writer, .. } => {
                readers.close().await;
                writer.close().await;
            }
        }
    }
}

/// The engine and where the database is, without user name and password.
impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.engine {
            Engine::Postgres(pool) => {
                let options = pool.connect_options();
                let database = options.get_database().unwrap_or(options.get_username());
                write!(f, "postgres://{}:{}/{database}", options.get_host(), options.get_port())
            }
            Engine::Sqlite { location: Location::Memory, .. } => f.write_str("memory"),
            Engine::Sqlite { location: Location::File(path), .. } => write!(f, "sqlite://{}", path.display()),
        }
    }
}
