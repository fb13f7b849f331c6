//! What is specific to PostgreSQL: the schema, the advisory lock around migrations, statement timeouts.

use std::{str::FromStr, time::Duration};

use sqlx::{
    Connection, Executor, PgConnection, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{Engine, OpenError, StoreOptions};

pub(super) static MIGRATOR: Migrator = Migrator { ignore_missing: true, ..sqlx::migrate!("migrations/postgres") };

/// Serialises the migrations of replicas that start at once: `gatelet` in ASCII.
const MIGRATION_LOCK: i64 = 0x0067_6174_656c_6574;

/// Reads a URL, without connecting.
pub(super) fn read(url: &str, options: &StoreOptions) -> Result<PgConnectOptions, OpenError> {
    Ok(PgConnectOptions::from_str(url)
        .map_err(|error| OpenError::Url(error.to_string()))?
        .application_name("gatelet")
        .options([
            ("search_path", "gatelet".to_owned()),
            // Hides the notice "already exists, skipping".
            ("client_min_messages", "warning".to_owned()),
            ("statement_timeout", options.statement_timeout.as_millis().to_string()),
            ("idle_in_transaction_session_timeout", "60000".to_owned()),
        ]))
}

pub(super) async fn open(connect: PgConnectOptions, options: &StoreOptions) -> Result<Engine, OpenError> {
    let pool = PgPoolOptions::new()
        // One connection listens for notifications.
        .max_connections(options.max_connections.max(2))
        .acquire_timeout(options.statement_timeout.min(Duration::from_secs(5)))
        .connect_with(connect)
        .await
        .map_err(OpenError::Connect)?;
    Ok(Engine::Postgres(pool))
}

pub(super) async fn migrate(pool: &PgPool) -> Result<(), OpenError> {
    // A separate connection: a migration may exceed the statement timeout, and closing the connection frees the lock.
    let options = (*pool.connect_options()).clone().options([("statement_timeout", "0")]);
    let mut connection = PgConnection::connect_with(&options).await.map_err(OpenError::Connect)?;
    sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(MIGRATION_LOCK)
        .execute(&mut connection)
        .await
        .map_err(OpenError::Connect)?;
    connection.execute("CREATE SCHEMA IF NOT EXISTS gatelet").await.map_err(OpenError::Connect)?;
    MIGRATOR.run(&mut connection).await.map_err(OpenError::Migrate)?;
    connection.close().await.map_err(OpenError::Connect)
}
