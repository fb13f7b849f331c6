//! Images: an in-memory database as bytes, and a new store that is opened from them.
//!
//! A namespace's store is opened from the template, the image of an empty migrated database, so that no namespace runs
//! migrations. A snapshot of a namespace contains an image of its store.

use std::{collections::BTreeMap, fmt, sync::Arc};

use futures_util::TryStreamExt;
use sqlx::{SqliteConnection, SqlitePool, migrate::Migrator, pool::PoolConnection, sqlite::SqliteOwnedBuf};
use tokio::sync::OnceCell;

use super::{Engine, Result, Store, StoreError, held, reading, sqlite};

/// The bytes of a database, as a SQLite file contains them. Cheap to clone.
#[derive(Clone)]
pub struct Image(Arc<[u8]>);

/// The number of stored things by kind, such as `agent` or `client_token`.
pub type RowCounts = BTreeMap<String, i64>;

/// Why foreign bytes do not become a store.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// They are not an intact SQLite database.
    #[error("it is not an intact SQLite database: {0}")]
    Damaged(String),
    /// It is a database, but not one that Gatelet made.
    #[error("it is a database that Gatelet did not make: {0}")]
    Foreign(String),
    /// A newer version made it.
    #[error("a newer version of Gatelet made it")]
    Newer,
    /// This process cannot open another database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Image {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The image of an empty, migrated database. It is made once in the life of the process.
    ///
    /// # Errors
    /// When no in-memory database can be opened.
    pub async fn template() -> Result<Self> {
        static TEMPLATE: OnceCell<Image> = OnceCell::const_new();
        TEMPLATE.get_or_try_init(|| async { Ok(Self(migrated(&sqlite::MIGRATOR).await?.0)) }).await.cloned()
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({} bytes)", self.0.len())
    }
}

impl Store {
    /// The image of this in-memory store, and what `read` returns. No statement runs in between: `read` can read what
    /// must belong to the same moment.
    ///
    /// # Errors
    /// When the store is not in memory, or memory is exhausted.
    pub async fn image<T>(&self, read: impl FnOnce() -> T) -> Result<(Image, T)> {
        held::check_free();
        let mut connection = self.memory()?.acquire().await?;
        let image = image_of(&mut connection).await?;
        Ok((image, read()))
    }

    /// Opens an image as a store of its own.
    ///
    /// # Errors
    /// When no in-memory database can be opened.
    pub async fn open_image(image: &Image, most_read: usize) -> Result<Self> {
        let pool = sqlite::open_memory_pool().await?;
        let mut connection = pool.acquire().await?;
        load(&mut connection, image.bytes()).await?;
        drop(connection);
        Ok(Self { engine: sqlite::in_memory(pool), most_read })
    }

    /// Opens bytes that were made elsewhere, without trusting them: everything in the schema that is not of a known
    /// version of Gatelet is refused before any of it can run. An older version is migrated.
    ///
    /// # Errors
    /// When the bytes are not an intact database that this version can read.
    pub async fn adopt(bytes: &[u8], most_read: usize) -> std::result::Result<Self, AdoptError> {
        check_header(bytes)?;
        let pool = sqlite::open_memory_pool().await.map_err(StoreError::from)?;
        let mut connection = pool.acquire().await.map_err(StoreError::from)?;
        check(&mut connection, bytes).await?;
        drop(connection);
        sqlite::MIGRATOR.run(&pool).await.map_err(|error| AdoptError::Foreign(error.to_string()))?;
        check_rows(&pool).await?;
        Ok(Self { engine: sqlite::in_memory(pool), most_read })
    }

    /// Deletes everything by which a caller is recognised: API keys, client tokens and signing keys, and the record of
    /// the time that goes with them. The deleted bytes are overwritten.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn strip_credentials(&self) -> Result<()> {
        const STRIP: &str = "PRAGMA secure_delete = ON; \
            BEGIN; \
            DELETE FROM client_token_agents; DELETE FROM client_tokens; DELETE FROM changes; DELETE FROM signing_keys; \
            DELETE FROM api_keys; DELETE FROM installation; DELETE FROM clock; UPDATE change_head SET seq = 0; \
            COMMIT; \
            PRAGMA secure_delete = OFF;";
        held::check_free();
        sqlx::raw_sql(STRIP).execute(self.memory()?).await?;
        Ok(())
    }

    /// Rebuilds the database, so that no byte of what was deleted is left in it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn compact(&self) -> Result<()> {
        held::check_free();
        sqlx::raw_sql("VACUUM").execute(self.memory()?).await?;
        Ok(())
    }

    /// How many things of each kind are stored.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn row_counts(&self) -> Result<RowCounts> {
        const COUNT: &str = "SELECT kind, COUNT(*) FROM documents GROUP BY kind \
            UNION ALL SELECT 'message', COUNT(*) FROM messages \
            UNION ALL SELECT 'client_token', COUNT(*) FROM client_tokens";
        let counts: Vec<(String, i64)> = reading!(self, pool => sqlx::query_as(COUNT).fetch_all(pool).await)?;
        Ok(counts.into_iter().filter(|(_, count)| *count > 0).collect())
    }

    fn memory(&self) -> Result<&SqlitePool> {
        match &self.engine {
            Engine::Sqlite { writer, .. } if self.is_ephemeral() => Ok(writer),
            _ => Err(StoreError::Inconsistent("only a store in memory has an image".into())),
        }
    }
}

async fn image_of(connection: &mut PoolConnection<sqlx::Sqlite>) -> Result<Image> {
    Ok(Image(connection.serialize(None).await?.as_ref().into()))
}

async fn load(connection: &mut SqliteConnection, bytes: &[u8]) -> std::result::Result<(), sqlx::Error> {
    connection.deserialize(None, SqliteOwnedBuf::try_from(bytes)?, false).await
}

/// The schema of a database: type, name, table and statement of each entry. SQLite stores statements as they were
/// written, so white space is evened out.
type Schema = Vec<(String, String, String, String)>;

async fn schema(connection: &mut SqliteConnection) -> std::result::Result<Schema, sqlx::Error> {
    const SCHEMA: &str = "SELECT CAST(type AS TEXT), CAST(name AS TEXT), CAST(tbl_name AS TEXT), \
        CAST(COALESCE(sql, '') AS TEXT) FROM sqlite_master ORDER BY 1, 2, 3, 4";
    let mut schema: Schema = sqlx::query_as(SCHEMA).fetch_all(connection).await?;
    for (.., sql) in &mut schema {
        *sql = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    Ok(schema)
}

/// An empty database after these migrations, as an image, and its schema.
async fn migrated(migrator: &Migrator) -> Result<(Arc<[u8]>, Schema)> {
    let pool = sqlite::open_memory_pool().await?;
    migrator.run(&pool).await.map_err(|error| StoreError::Inconsistent(error.to_string()))?;
    let mut connection = pool.acquire().await?;
    let schema = schema(&mut connection).await?;
    Ok((image_of(&mut connection).await?.0, schema))
}

/// The schema after each migration, with its version; oldest first.
async fn known_schemas() -> Result<&'static [(i64, Schema)]> {
    static KNOWN: OnceCell<Vec<(i64, Schema)>> = OnceCell::const_new();
    let make = || async {
        let mut known = Vec::new();
        let migrations: Vec<_> = sqlite::MIGRATOR.iter().cloned().collect();
        for count in 1..=migrations.len() {
            let migrator = Migrator::with_migrations(migrations[..count].to_vec());
            known.push((migrations[count - 1].version, migrated(&migrator).await?.1));
        }
        Ok::<_, StoreError>(known)
    };
    KNOWN.get_or_try_init(make).await.map(Vec::as_slice)
}

/// Checks the fields of a file's first 100 bytes that a later check cannot see: a size that is a number of pages, no
/// write-ahead log, text in UTF-8 (<https://www.sqlite.org/fileformat.html#the_database_header>).
fn check_header(bytes: &[u8]) -> std::result::Result<(), AdoptError> {
    let damaged = |what: &str| Err(AdoptError::Damaged(what.into()));
    let Some(header) = bytes.first_chunk::<100>().filter(|header| header.starts_with(b"SQLite format 3\0")) else {
        return damaged("the header is missing");
    };
    let page_size = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        size => usize::from(size),
    };
    let pages = usize::try_from(u32::from_be_bytes([header[28], header[29], header[30], header[31]])).unwrap_or(0);
    if !page_size.is_power_of_two() || page_size < 512 || pages.checked_mul(page_size) != Some(bytes.len()) {
        return damaged("its size is not what its header says");
    }
    if header[18..20] != [1, 1] {
        return damaged("it has a write-ahead log");
    }
    if header[56..60] != [0, 0, 0, 1] {
        return Err(AdoptError::Foreign("its text is not in UTF-8".into()));
    }
    Ok(())
}

async fn check(connection: &mut SqliteConnection, bytes: &[u8]) -> std::result::Result<(), AdoptError> {
    let damaged = |error: sqlx::Error| AdoptError::Damaged(error.to_string());
    let foreign = |what: &str| Err(AdoptError::Foreign(what.into()));
    let known = known_schemas().await?;
    load(connection, bytes).await.map_err(damaged)?;
    sqlx::raw_sql("PRAGMA cell_size_check = ON").execute(&mut *connection).await.map_err(damaged)?;
    let found = schema(connection).await.map_err(damaged)?;
    // The list of migrations is read only if it is the very table: a view could run anything.
    let (newest, template) = known.last().ok_or_else(|| StoreError::Inconsistent("there are no migrations".into()))?;
    let list = |schema: &Schema| schema.iter().find(|(_, name, ..)| name == "_sqlx_migrations").cloned();
    if list(&found).is_none() || list(&found) != list(template) {
        return foreign("it has no list of migrations");
    }
    let version: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations")
        .fetch_one(&mut *connection)
        .await
        .map_err(damaged)?;
    if version > *newest {
        return Err(AdoptError::Newer);
    }
    if !known.iter().any(|(known, schema)| *known == version && *schema == found) {
        return foreign("its schema is not of any version");
    }
    let verdict: String =
        sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut *connection).await.map_err(damaged)?;
    if verdict != "ok" {
        return Err(AdoptError::Damaged(verdict));
    }
    Ok(())
}

/// Checks that every row is text where this program reads text, and JSON where it reads JSON.
async fn check_rows(pool: &SqlitePool) -> std::result::Result<(), AdoptError> {
    const DOCUMENTS: &str = "SELECT kind || id || project || COALESCE(parent, ''), body FROM documents";
    const MESSAGES: &str =
        "SELECT id || project || agent_id || conversation_id || COALESCE(run_id, ''), body FROM messages";
    const LINKS: &str = "SELECT kind || source || target, 'null' FROM links";
    for rows in [DOCUMENTS, MESSAGES, LINKS] {
        let mut rows = sqlx::query_as::<_, (String, String)>(rows).fetch(pool);
        while let Some((_, body)) = rows.try_next().await.map_err(|error| AdoptError::Foreign(error.to_string()))? {
            if serde_json::from_str::<serde::de::IgnoredAny>(&body).is_err() {
                return Err(AdoptError::Foreign("a body in it is not JSON".into()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{IfMissing, NewDocument, StoreOptions};

    const MOST: usize = usize::MAX;

    async fn sample() -> Store {
        let store = Store::open_image(&Image::template().await.unwrap(), MOST).await.unwrap();
        insert(&store, "block-1").await.unwrap();
        store
    }

    async fn insert(store: &Store, id: &str) -> Result<()> {
        let block = NewDocument { kind: "block", id, project: "default", parent: None, body: "{}" };
        super::super::transaction!(@store store, tx => { tx.insert_document(&block).await })
    }

    /// The sample's bytes, after statements that a stranger ran on it.
    async fn after(sql: &'static str) -> Vec<u8> {
        let store = sample().await;
        sqlx::raw_sql(sql).execute(store.memory().unwrap()).await.unwrap();
        store.image(|| ()).await.unwrap().0.bytes().to_vec()
    }

    #[tokio::test]
    async fn an_image_opens_as_a_store_of_its_own() {
        let one = sample().await;
        let (image, read) = one.image(|| 7).await.unwrap();
        assert_eq!(read, 7);
        let two = Store::open_image(&image, MOST).await.unwrap();
        insert(&two, "block-2").await.unwrap();
        assert_eq!(one.row_counts().await.unwrap()["block"], 1);
        assert_eq!(two.row_counts().await.unwrap()["block"], 2);
        two.check_migrated().await.unwrap();
        // It grows beyond the bytes that it was opened from.
        for count in 0..2_000 {
            insert(&two, &format!("block-of-a-longer-name-{count}")).await.unwrap();
        }
    }

    #[tokio::test]
    async fn credentials_leave_no_byte() {
        let store = sample().await;
        let key = crate::store::NewApiKey {
            id: "key-of-somebody",
            name: "name-of-a-key",
            project: None,
            secret_sha256: b"0123456789abcdef0123456789abcdef",
            created_at: 1,
            expires_at: None,
        };
        store.insert_api_key(&key).await.unwrap();
        let holds = |image: &Image, text: &[u8]| image.bytes().windows(text.len()).any(|window| window == text);
        let secrets = [&b"key-of-somebody"[..], b"name-of-a-key", b"0123456789abcdef"];
        let (before, ()) = store.image(|| ()).await.unwrap();
        assert!(secrets.iter().all(|secret| holds(&before, secret)));
        store.strip_credentials().await.unwrap();
        store.compact().await.unwrap();
        let (stripped, ()) = store.image(|| ()).await.unwrap();
        assert!(!secrets.iter().any(|secret| holds(&stripped, secret)) && holds(&stripped, b"block-1"));
        assert!(!store.has_api_keys().await.unwrap());
    }

    #[tokio::test]
    async fn what_another_made_is_adopted_only_if_it_is_a_database_of_ours() {
        let good = after("SELECT 1").await;
        let adopted = Store::adopt(&good, MOST).await.unwrap();
        assert_eq!(adopted.row_counts().await.unwrap()["block"], 1);
        for sql in [
            "CREATE TRIGGER stranger AFTER INSERT ON documents BEGIN DELETE FROM documents; END",
            "CREATE VIEW stranger AS SELECT * FROM documents",
            "CREATE TABLE stranger (a)",
            "CREATE INDEX stranger ON documents (body)",
            "ALTER TABLE documents ADD COLUMN stranger TEXT",
            "DROP TABLE _sqlx_migrations",
            "DROP TABLE _sqlx_migrations; CREATE VIEW _sqlx_migrations AS SELECT 1 AS version",
            "UPDATE _sqlx_migrations SET checksum = x'00'",
            "DELETE FROM _sqlx_migrations WHERE version = 2",
            "DELETE FROM _sqlx_migrations",
            "UPDATE documents SET body = '{'",
            "UPDATE documents SET body = x'ff'",
            "UPDATE documents SET body = CAST(x'22ff22' AS TEXT)",
        ] {
            let refused = Store::adopt(&after(sql).await, MOST).await;
            assert!(matches!(refused, Err(AdoptError::Foreign(_))), "{sql}: {refused:?}");
        }
        let newer = after("UPDATE _sqlx_migrations SET version = 9000 WHERE version = 3").await;
        assert!(matches!(Store::adopt(&newer, MOST).await, Err(AdoptError::Newer)));
        for bytes in [&[][..], b"SQLite format 3\0", &good[..good.len() - 1], &good[..4096], &[0; 4096]] {
            let refused = Store::adopt(bytes, MOST).await;
            assert!(matches!(refused, Err(AdoptError::Damaged(_))), "{}: {refused:?}", bytes.len());
        }
    }

    #[tokio::test]
    async fn an_older_version_is_migrated() {
        let pool = sqlite::open_memory_pool().await.unwrap();
        let first = sqlite::MIGRATOR.iter().take(2).cloned().collect();
        Migrator::with_migrations(first).run(&pool).await.unwrap();
        let bytes = image_of(&mut pool.acquire().await.unwrap()).await.unwrap();
        let adopted = Store::adopt(bytes.bytes(), MOST).await.unwrap();
        adopted.check_migrated().await.unwrap();
        insert(&adopted, "block-1").await.unwrap();
    }

    #[tokio::test]
    async fn no_change_of_a_byte_makes_a_panic() {
        let good = after("SELECT 1").await;
        let step = good.len() / 400;
        for at in (0..100).chain((100..good.len()).step_by(step)) {
            let mut bytes = good.clone();
            bytes[at] ^= 0x55;
            if let Ok(store) = Store::adopt(&bytes, MOST).await {
                // It may fail, but not panic.
                let _ = (store.row_counts().await, insert(&store, "block-9").await);
            }
        }
    }

    #[tokio::test]
    async fn a_store_on_disk_has_no_image() {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            url: Some(format!("sqlite://{}", folder.path().join("gatelet.db").display())),
            if_missing: IfMissing::Create,
            most_read: MOST,
            max_connections: 1,
            statement_timeout: std::time::Duration::from_secs(10),
        };
        let store = Store::open(&options).await.unwrap();
        assert!(store.image(|| ()).await.is_err());
        assert!(store.strip_credentials().await.is_err());
    }
}
