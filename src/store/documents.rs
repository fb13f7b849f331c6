//! Documents: everything the mock keeps but messages. Their bodies are JSON that only the mock understands.

use super::{Result, Store, Tx, reading, within, writing};

/// A stored document.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Document {
    /// Its place in the order of creation.
    pub seq: i64,
    /// Its id.
    pub id: String,
    /// The project it belongs to.
    pub project: String,
    /// The document that it goes away with.
    pub parent: Option<String>,
    /// Its JSON.
    pub body: String,
}

/// A document to be stored.
#[derive(Clone, Copy, Debug)]
pub struct NewDocument<'a> {
    /// What it is.
    pub kind: &'a str,
    /// Its id, unique within its kind.
    pub id: &'a str,
    /// The project it belongs to.
    pub project: &'a str,
    /// The document that it goes away with.
    pub parent: Option<&'a str>,
    /// Its JSON.
    pub body: &'a str,
}

/// Which documents of a kind to read, and from which end. Unless told otherwise: all of them, oldest first.
#[derive(Clone, Copy, Debug)]
pub struct DocumentFilter<'a> {
    kind: &'a str,
    within: Within<'a>,
    after: i64,
    before: i64,
    newest_first: bool,
    limit: i64,
}

#[derive(Clone, Copy, Debug)]
enum Within<'a> {
    Project(&'a str),
    Parent(&'a str),
}

impl<'a> DocumentFilter<'a> {
    /// The documents of a kind in a project.
    #[must_use]
    pub fn of_project(kind: &'a str, project: &'a str) -> Self {
        Self::new(kind, Within::Project(project))
    }

    /// The documents of a kind that belong to another document.
    #[must_use]
    pub fn of_parent(kind: &'a str, parent: &'a str) -> Self {
        Self::new(kind, Within::Parent(parent))
    }

    fn new(kind: &'a str, within: Within<'a>) -> Self {
        Self { kind, within, after: 0, before: i64::MAX, newest_first: false, limit: i64::MAX }
    }

    /// Only what was created after the document at this place.
    #[must_use]
    pub fn after(self, seq: i64) -> Self {
        Self { after: seq, ..self }
    }

    /// Only what was created before the document at this place.
    #[must_use]
    pub fn before(self, seq: i64) -> Self {
        Self { before: seq, ..self }
    }

    /// Whether to begin with the newest.
    #[must_use]
    pub fn newest_first(self, newest_first: bool) -> Self {
        Self { newest_first, ..self }
    }

    /// At most this many.
    #[must_use]
    pub fn limit(self, limit: i64) -> Self {
        Self { limit, ..self }
    }
}

const BY_ID: &str = "SELECT seq, id, project, parent, body FROM documents WHERE id = $1 AND kind = $2";

const INSERT: &str = "INSERT INTO documents (kind, id, project, parent, body) VALUES ($1, $2, $3, $4, $5)";

/// The statement is the same whether it runs on a pool or in a transaction, on either engine.
macro_rules! insert {
    ($document:ident) => {
        sqlx::query(INSERT)
            .bind($document.kind)
            .bind($document.id)
            .bind($document.project)
            .bind($document.parent)
            .bind($document.body)
    };
}

impl Store {
    /// The document of this kind and id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn document(&self, kind: &str, id: &str) -> Result<Option<Document>> {
        Ok(reading!(self, pool => sqlx::query_as(BY_ID).bind(id).bind(kind).fetch_optional(pool).await)?)
    }

    /// The documents that a filter names.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn documents(&self, filter: &DocumentFilter<'_>) -> Result<Vec<Document>> {
        const OF_PROJECT: &str = "SELECT seq, id, project, parent, body FROM documents \
            WHERE kind = $1 AND project = $2 AND seq > $3 AND seq < $4 ORDER BY seq LIMIT $5";
        const OF_PROJECT_NEWEST: &str = "SELECT seq, id, project, parent, body FROM documents \
            WHERE kind = $1 AND project = $2 AND seq > $3 AND seq < $4 ORDER BY seq DESC LIMIT $5";
        const OF_PARENT: &str = "SELECT seq, id, project, parent, body FROM documents \
            WHERE kind = $1 AND parent = $2 AND seq > $3 AND seq < $4 ORDER BY seq LIMIT $5";
        const OF_PARENT_NEWEST: &str = "SELECT seq, id, project, parent, body FROM documents \
            WHERE kind = $1 AND parent = $2 AND seq > $3 AND seq < $4 ORDER BY seq DESC LIMIT $5";
        let (sql, owner) = match (filter.within, filter.newest_first) {
            (Within::Project(project), false) => (OF_PROJECT, project),
            (Within::Project(project), true) => (OF_PROJECT_NEWEST, project),
            (Within::Parent(parent), false) => (OF_PARENT, parent),
            (Within::Parent(parent), true) => (OF_PARENT_NEWEST, parent),
        };
        Ok(reading!(self, pool => sqlx::query_as(sql).bind(filter.kind).bind(owner)
            .bind(filter.after).bind(filter.before).bind(filter.limit)
            .fetch_all(pool).await)?)
    }

    /// Stores a document on its own.
    ///
    /// # Errors
    /// When the database fails, or there is one of this kind and id.
    pub async fn insert_document(&self, document: &NewDocument<'_>) -> Result<()> {
        writing!(self, pool => insert!(document).execute(pool).await.map(|_| ()))?;
        Ok(())
    }
}

impl Tx {
    /// The document of this kind and id, as this transaction sees it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn document(&mut self, kind: &str, id: &str) -> Result<Option<Document>> {
        Ok(within!(self, connection => sqlx::query_as(BY_ID).bind(id).bind(kind).fetch_optional(connection).await)?)
    }

    /// The document of this kind and id, which no other transaction can change until this one ends.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn document_for_update(&mut self, kind: &str, id: &str) -> Result<Option<Document>> {
        const LOCKING: &str =
            "SELECT seq, id, project, parent, body FROM documents WHERE id = $1 AND kind = $2 FOR UPDATE";
        Ok(match self {
            Self::Postgres(tx) => sqlx::query_as(LOCKING).bind(id).bind(kind).fetch_optional(&mut **tx).await?,
            // The whole database is ours since BEGIN IMMEDIATE.
            Self::Sqlite(tx) => sqlx::query_as(BY_ID).bind(id).bind(kind).fetch_optional(&mut **tx).await?,
        })
    }

    /// Stores a document.
    ///
    /// # Errors
    /// When the database fails, or there is one of this kind and id.
    pub async fn insert_document(&mut self, document: &NewDocument<'_>) -> Result<()> {
        within!(self, connection => insert!(document).execute(connection).await.map(|_| ()))?;
        Ok(())
    }

    /// Replaces a document's body; false when there is no such document.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn update_document(&mut self, kind: &str, id: &str, body: &str) -> Result<bool> {
        const UPDATE: &str = "UPDATE documents SET body = $3 WHERE id = $1 AND kind = $2";
        let updated = within!(self, connection => sqlx::query(UPDATE).bind(id).bind(kind).bind(body)
            .execute(connection).await.map(|done| done.rows_affected()))?;
        Ok(updated == 1)
    }

    /// Deletes a document and everything that belongs to it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_document(&mut self, kind: &str, id: &str) -> Result<()> {
        const DELETE: &str = "WITH RECURSIVE doomed (seq, id) AS ( \
                SELECT seq, id FROM documents WHERE id = $1 AND kind = $2 \
                UNION ALL \
                SELECT child.seq, child.id FROM documents child JOIN doomed ON child.parent = doomed.id \
            ) DELETE FROM documents WHERE seq IN (SELECT seq FROM doomed)";
        within!(self, connection => sqlx::query(DELETE).bind(id).bind(kind).execute(connection).await.map(|_| ()))?;
        Ok(())
    }
}
