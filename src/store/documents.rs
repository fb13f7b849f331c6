//! Documents: everything the mock stores except messages. Their bodies are JSON that only the mock interprets.

use sqlx::QueryBuilder;

use super::{
    ROWS_AT_ONCE, Result, Store, StoreError, Tx,
    bounded::{HasSize, ROW, Rows},
    reading,
    transaction::Open,
    within,
};

/// A stored document.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Document {
    /// Its position in the order of creation.
    pub seq: i64,
    /// Its id.
    pub id: String,
    /// The project it belongs to.
    pub project: String,
    /// The document with which it is deleted.
    pub parent: Option<String>,
    /// Its JSON.
    pub body: String,
}

/// A document to be stored.
#[derive(Clone, Copy, Debug)]
pub struct NewDocument<'a> {
    /// Its kind.
    pub kind: &'a str,
    /// Its id, unique within its kind.
    pub id: &'a str,
    /// The project it belongs to.
    pub project: &'a str,
    /// The document with which it is deleted.
    pub parent: Option<&'a str>,
    /// Its JSON.
    pub body: &'a str,
}

/// Which documents of a kind to read, and in which order. The default is all of them, oldest first.
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
    /// Kind of link, and where the links start.
    LinkedFrom(&'a str, &'a str),
    /// Kind of link, and where the links lead.
    LinkedTo(&'a str, &'a str),
    /// Kind of the parents, and whose children they are.
    Grandparent(&'a str, &'a str),
    /// Kind of link, and where the links to the parents start.
    UnderLinked(&'a str, &'a str),
}

/// The statement that selects documents by `condition`, for both orders of `place`, as constant texts.
macro_rules! in_order {
    (@$condition:literal, $place:literal, $order:literal) => {
        concat!(
            "SELECT seq, id, project, parent, body FROM documents WHERE ",
            $condition,
            " AND ",
            $place,
            " > $3 AND ",
            $place,
            " < $4 ORDER BY ",
            $place,
            $order,
            " LIMIT $5"
        )
    };
    ($newest_first:expr, $condition:literal, $place:literal) => {
        if $newest_first { in_order!(@$condition, $place, " DESC") } else { in_order!(@$condition, $place, " ASC") }
    };
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

    /// The documents of a kind to which links lead from `source`.
    #[must_use]
    pub fn linked_from(kind: &'a str, link: &'a str, source: &'a str) -> Self {
        Self::new(kind, Within::LinkedFrom(link, source))
    }

    /// The documents of a kind from which links lead to `target`.
    #[must_use]
    pub fn linked_to(kind: &'a str, link: &'a str, target: &'a str) -> Self {
        Self::new(kind, Within::LinkedTo(link, target))
    }

    /// The documents of a kind that belong to any document of `parent_kind` that belongs to `grandparent`.
    #[must_use]
    pub fn of_grandparent(kind: &'a str, parent_kind: &'a str, grandparent: &'a str) -> Self {
        Self::new(kind, Within::Grandparent(parent_kind, grandparent))
    }

    /// The documents of a kind that belong to any document to which links lead from `source`.
    #[must_use]
    pub fn under_linked(kind: &'a str, link: &'a str, source: &'a str) -> Self {
        Self::new(kind, Within::UnderLinked(link, source))
    }

    fn new(kind: &'a str, within: Within<'a>) -> Self {
        Self { kind, within, after: 0, before: i64::MAX, newest_first: false, limit: i64::MAX }
    }

    /// Only documents created after the one at this position.
    #[must_use]
    pub fn after(self, seq: i64) -> Self {
        Self { after: seq, ..self }
    }

    /// Only documents created before the one at this position.
    #[must_use]
    pub fn before(self, seq: i64) -> Self {
        Self { before: seq, ..self }
    }

    /// Whether the newest come first.
    #[must_use]
    pub fn newest_first(self, newest_first: bool) -> Self {
        Self { newest_first, ..self }
    }

    /// At most this many.
    #[must_use]
    pub fn limit(self, limit: i64) -> Self {
        Self { limit, ..self }
    }

    /// Whether the filter matches a document of its kind, ignoring positions and limit; `None` if that depends on
    /// links.
    #[must_use]
    pub fn holds(&self, document: &Document) -> Option<bool> {
        match self.within {
            Within::Project(project) => Some(document.project == project),
            Within::Parent(parent) => Some(document.parent.as_deref() == Some(parent)),
            Within::LinkedFrom(..) | Within::LinkedTo(..) | Within::Grandparent(..) | Within::UnderLinked(..) => None,
        }
    }

    /// The statement, its second parameter, and its sixth if it has one. Linked documents must be found by id: `seq +
    /// 0` is in no index, which keeps the planner from walking them in order of `seq`.
    fn statement(&self) -> (&'static str, &'a str, Option<&'a str>) {
        let newest_first = self.newest_first;
        match self.within {
            Within::Project(project) => (in_order!(newest_first, "kind = $1 AND project = $2", "seq"), project, None),
            Within::Parent(parent) => (in_order!(newest_first, "kind = $1 AND parent = $2", "seq"), parent, None),
            Within::LinkedFrom(link, source) => (
                in_order!(
                    newest_first,
                    "kind = $1 AND id IN (SELECT target FROM links WHERE source = $2 AND kind = $6)",
                    "seq + 0"
                ),
                source,
                Some(link),
            ),
            Within::LinkedTo(link, target) => (
                in_order!(
                    newest_first,
                    "kind = $1 AND id IN (SELECT source FROM links WHERE target = $2 AND kind = $6)",
                    "seq + 0"
                ),
                target,
                Some(link),
            ),
            Within::Grandparent(parent_kind, grandparent) => (
                in_order!(
                    newest_first,
                    "kind = $1 AND parent IN (SELECT id FROM documents WHERE parent = $2 AND kind = $6)",
                    "seq + 0"
                ),
                grandparent,
                Some(parent_kind),
            ),
            Within::UnderLinked(link, source) => (
                in_order!(
                    newest_first,
                    "kind = $1 AND parent IN (SELECT target FROM links WHERE source = $2 AND kind = $6)",
                    "seq + 0"
                ),
                source,
                Some(link),
            ),
        }
    }
}

pub(super) const BY_ID: &str = "SELECT seq, id, project, parent, body FROM documents WHERE id = $1 AND kind = $2";

const BY_ID_AND_SIZE: &str = "SELECT seq, id, project, parent, body FROM documents \
    WHERE id = $1 AND kind = $2 AND octet_length(body) <= $3";

const INSERT: &str = "INSERT INTO documents (kind, id, project, parent, body) VALUES ($1, $2, $3, $4, $5)";

/// The insert statement, for a pool or a transaction of either engine.
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

impl HasSize for Document {
    fn size(&self) -> usize {
        ROW + self.body.len()
    }
}

impl Store {
    /// The document of this kind and id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn document(&self, kind: &str, id: &str) -> Result<Option<Document>> {
        Ok(reading!(self, pool => sqlx::query_as(BY_ID).bind(id).bind(kind).fetch_optional(pool).await)?)
    }

    /// The document of this kind and id, unless its body has more than `most` bytes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn document_up_to(&self, kind: &str, id: &str, most: i64) -> Result<Option<Document>> {
        Ok(reading!(self, pool => sqlx::query_as(BY_ID_AND_SIZE).bind(id).bind(kind).bind(most)
            .fetch_optional(pool).await)?)
    }

    /// The document of this kind and id, if it is no larger than [`Store::most_read`].
    ///
    /// # Errors
    /// When it is larger; when the database fails.
    pub async fn document_if_small(&self, kind: &str, id: &str) -> Result<Option<Document>> {
        self.check_size(kind, &[id]).await?;
        self.document(kind, id).await
    }

    /// Refuses documents that together are larger than [`Store::most_read`], without reading them.
    ///
    /// # Errors
    /// When they are larger; when the database fails.
    pub async fn check_size(&self, kind: &str, ids: &[&str]) -> Result<()> {
        const SIZE: &str = "SELECT CAST(octet_length(body) AS BIGINT) FROM documents WHERE id = $1 AND kind = $2";
        let mut size = 0;
        for id in ids {
            let one: Option<i64> = reading!(self, pool => sqlx::query_scalar(SIZE).bind(*id).bind(kind)
                .fetch_optional(pool).await)?;
            size += one.and_then(|one| usize::try_from(one).ok()).unwrap_or_default();
            if size > self.most_read {
                return Err(StoreError::TooMuch(self.most_read));
            }
        }
        Ok(())
    }

    /// The documents that match a filter.
    ///
    /// # Errors
    /// When together they are larger than [`Store::most_read`]; when the database fails.
    pub async fn documents(&self, filter: &DocumentFilter<'_>) -> Result<Vec<Document>> {
        self.rows(filter, true).await
    }

    /// The first of the documents that match a filter, up to [`Store::most_read`] bytes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn documents_chunk(&self, filter: &DocumentFilter<'_>) -> Result<Vec<Document>> {
        self.rows(filter, false).await
    }

    async fn rows(&self, filter: &DocumentFilter<'_>, all: bool) -> Result<Vec<Document>> {
        let (sql, owner, sixth) = filter.statement();
        let mut rows = Rows::new(self.most_read);
        // PostgreSQL rejects U+0000 in parameters, and no id contains it.
        if owner.contains('\0') {
            return Ok(rows.found);
        }
        reading!(self, pool => {
            let query = sqlx::query_as(sql).bind(filter.kind).bind(owner);
            let query = query.bind(filter.after).bind(filter.before).bind(filter.limit);
            let query = if let Some(sixth) = sixth { query.bind(sixth) } else { query };
            if all { rows.read(query.fetch(pool)).await } else { rows.read_some(query.fetch(pool)).await }
        })?;
        Ok(rows.found)
    }

    /// The documents of a kind that have one of these ids, in the order of creation.
    ///
    /// # Errors
    /// When together they are larger than [`Store::most_read`]; when the database fails.
    pub async fn documents_by_ids(&self, kind: &str, ids: &[&str]) -> Result<Vec<Document>> {
        const OF_IDS: &str = "SELECT seq, id, project, parent, body FROM documents WHERE kind = ";
        let mut rows = Rows::new(self.most_read);
        for ids in ids.chunks(ROWS_AT_ONCE) {
            reading!(self, pool => {
                let mut query = QueryBuilder::new(OF_IDS);
                query.push_bind(kind).push(" AND id IN (");
                let mut list = query.separated(", ");
                for id in ids {
                    list.push_bind(*id);
                }
                rows.read(query.push(") ORDER BY seq").build_query_as().fetch(pool)).await
            })?;
        }
        Ok(rows.found)
    }

    /// The number of documents of a kind that belong to another document.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_children(&self, kind: &str, parent: &str) -> Result<i64> {
        const COUNT: &str = "SELECT COUNT(*) FROM documents WHERE parent = $1 AND kind = $2";
        Ok(reading!(self, pool => sqlx::query_scalar(COUNT).bind(parent).bind(kind).fetch_one(pool).await)?)
    }

    /// The number of documents of a kind in a project.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_in_project(&self, kind: &str, project: &str) -> Result<i64> {
        const COUNT: &str = "SELECT COUNT(*) FROM documents WHERE kind = $1 AND project = $2";
        Ok(reading!(self, pool => sqlx::query_scalar(COUNT).bind(kind).bind(project).fetch_one(pool).await)?)
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

    /// The documents of a kind that belong to another document, oldest first, as this transaction sees them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn children(&mut self, kind: &str, parent: &str) -> Result<Vec<Document>> {
        const CHILDREN: &str =
            "SELECT seq, id, project, parent, body FROM documents WHERE parent = $1 AND kind = $2 ORDER BY seq";
        Ok(within!(self, connection => sqlx::query_as(CHILDREN).bind(parent).bind(kind).fetch_all(connection).await)?)
    }

    /// The ids of the documents of a kind that belong to any document of `parent_kind` that belongs to `grandparent`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn grandchildren(&mut self, kind: &str, parent_kind: &str, grandparent: &str) -> Result<Vec<String>> {
        const GRANDCHILDREN: &str = "SELECT child.id FROM documents parent \
            JOIN documents child ON child.parent = parent.id AND child.kind = $1 \
            WHERE parent.kind = $2 AND parent.parent = $3 ORDER BY child.id";
        Ok(within!(self, connection => sqlx::query_scalar(GRANDCHILDREN).bind(kind).bind(parent_kind)
            .bind(grandparent).fetch_all(connection).await)?)
    }

    /// The document of this kind and id, as this transaction sees it, unless its body has more than `most` bytes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn document_up_to(&mut self, kind: &str, id: &str, most: i64) -> Result<Option<Document>> {
        Ok(within!(self, connection => sqlx::query_as(BY_ID_AND_SIZE).bind(id).bind(kind).bind(most)
            .fetch_optional(connection).await)?)
    }

    /// The newest `limit` documents of a kind that belong to another document, newest first, as this transaction sees
    /// them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn newest_children(&mut self, kind: &str, parent: &str, limit: i64) -> Result<Vec<Document>> {
        const NEWEST: &str = "SELECT seq, id, project, parent, body FROM documents WHERE parent = $1 AND kind = $2 \
            ORDER BY seq DESC LIMIT $3";
        Ok(within!(self, connection => sqlx::query_as(NEWEST).bind(parent).bind(kind).bind(limit)
            .fetch_all(connection).await)?)
    }

    /// Stores a document.
    ///
    /// # Errors
    /// When the database fails, or there is a document of this kind and id.
    pub async fn insert_document(&mut self, document: &NewDocument<'_>) -> Result<()> {
        self.order.made(document.id);
        within!(self, connection => insert!(document).execute(connection).await.map(|_| ()))?;
        Ok(())
    }

    /// Stores a name unless there is one of this kind and id. Returns whether it did. If two transactions try at the
    /// same time, the second waits for the first. `is_guarded` says that a lock already keeps others from taking such a
    /// name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_name_if_absent(&mut self, document: &NewDocument<'_>, is_guarded: bool) -> Result<bool> {
        const CLAIM: &str = "INSERT INTO documents (kind, id, project, parent, body) VALUES ($1, $2, $3, $4, $5) \
            ON CONFLICT (id, kind) DO NOTHING";
        let stored = within!(self, connection => sqlx::query(CLAIM).bind(document.kind).bind(document.id)
            .bind(document.project).bind(document.parent).bind(document.body)
            .execute(connection).await.map(|done| done.rows_affected()))?;
        if stored == 1 && !is_guarded {
            self.order.name(document.id);
        }
        Ok(stored == 1)
    }

    /// Stores documents, in this order, with as few statements as possible.
    ///
    /// # Errors
    /// When the database fails, or there is a document of the same kind and id.
    pub async fn insert_documents(&mut self, documents: &[NewDocument<'_>]) -> Result<()> {
        const INSERT_MANY: &str = "INSERT INTO documents (kind, id, project, parent, body) ";
        for document in documents {
            self.order.made(document.id);
        }
        for rows in documents.chunks(ROWS_AT_ONCE) {
            within!(self, connection => QueryBuilder::new(INSERT_MANY)
                .push_values(rows, |mut row, new| {
                    row.push_bind(new.kind).push_bind(new.id).push_bind(new.project).push_bind(new.parent)
                        .push_bind(new.body);
                })
                .build().execute(connection).await.map(|_| ()))?;
        }
        Ok(())
    }

    /// Replaces a document's body. Returns false when there is no such document.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn update_document(&mut self, kind: &str, id: &str, body: &str) -> Result<bool> {
        const UPDATE: &str = "UPDATE documents SET body = $3 WHERE id = $1 AND kind = $2";
        self.order.changes(kind, id);
        let updated = within!(self, connection => sqlx::query(UPDATE).bind(id).bind(kind).bind(body)
            .execute(connection).await.map(|done| done.rows_affected()))?;
        Ok(updated == 1)
    }

    /// Deletes a document that the transaction has locked, and everything that belongs to it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_document(&mut self, kind: &str, id: &str) -> Result<()> {
        macro_rules! with_doomed {
            ($rest:literal) => {
                concat!(
                    "WITH RECURSIVE doomed (seq, id) AS ( \
                        SELECT seq, id FROM documents WHERE id = $1 AND kind = $2 \
                        UNION \
                        SELECT child.seq, child.id FROM documents child JOIN doomed ON child.parent = doomed.id \
                    )",
                    $rest
                )
            };
        }
        const DELETE: &str = with_doomed!(" DELETE FROM documents WHERE seq IN (SELECT seq FROM doomed)");
        // Locking the oldest first keeps two overlapping deletions from deadlocking.
        const LOCK_AND_DELETE: &str = with_doomed!(
            ", locked (seq) AS MATERIALIZED ( \
                SELECT seq FROM documents WHERE seq IN (SELECT seq FROM doomed) ORDER BY seq FOR UPDATE \
            ) DELETE FROM documents WHERE seq IN (SELECT seq FROM locked)"
        );
        self.order.changes(kind, id);
        match &mut self.open {
            Open::Postgres(tx) => sqlx::query(LOCK_AND_DELETE).bind(id).bind(kind).execute(&mut **tx).await.map(|_| ()),
            Open::Sqlite(tx) => sqlx::query(DELETE).bind(id).bind(kind).execute(&mut **tx).await.map(|_| ()),
        }?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{StoreOptions, transaction};

    /// A store with documents of two kinds, in one project and below one parent, linked in pairs, and a child of each
    /// pair.
    async fn filled() -> Store {
        let options = StoreOptions {
            url: None,
            max_connections: 1,
            statement_timeout: std::time::Duration::from_secs(10),
            if_missing: crate::store::IfMissing::Create,
            most_read: usize::MAX,
        };
        let store = Store::open(&options).await.unwrap();
        store.migrate().await.unwrap();
        let filled: Result<()> = transaction!(@store store, tx => {
        for number in 0..500 {
            let (agent, block) = (format!("agent-{number}"), format!("block-{number}"));
            for (kind, id) in [("agent", &agent), ("block", &block)] {
                let document = NewDocument { kind, id, project: "default", parent: Some("agent-0"), body: "{}" };
                tx.insert_document(&document).await?;
            }
            let file = format!("file-{number}");
            let file = NewDocument { kind: "file", id: &file, project: "default", parent: Some(&block), body: "{}" };
            tx.insert_document(&file).await?;
            tx.link("agent_block", &agent, &block).await?;
        }
        Ok(())
        });
        filled.unwrap();
        store
    }

    #[tokio::test]
    async fn lists_are_read_by_index() {
        let store = filled().await;
        for (filter, index) in [
            (DocumentFilter::of_project("block", "default"), "documents_by_project"),
            (DocumentFilter::of_parent("block", "agent-0"), "documents_by_parent"),
            (DocumentFilter::linked_from("block", "agent_block", "agent-1"), "sqlite_autoindex_documents"),
            (DocumentFilter::linked_to("agent", "agent_block", "block-1"), "sqlite_autoindex_documents"),
            (DocumentFilter::of_grandparent("file", "block", "agent-0"), "documents_by_parent"),
            (DocumentFilter::under_linked("file", "agent_block", "agent-1"), "documents_by_parent"),
        ] {
            for newest_first in [false, true] {
                let filter = filter.newest_first(newest_first).limit(50);
                let (sql, owner, sixth) = filter.statement();
                let explained = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
                let plan: Vec<(i64, i64, i64, String)> = reading!(store, pool => {
                    let query = sqlx::query_as(explained).bind(filter.kind).bind(owner);
                    let query = query.bind(filter.after).bind(filter.before).bind(filter.limit);
                    let query = if let Some(sixth) = sixth { query.bind(sixth) } else { query };
                    query.fetch_all(pool).await.unwrap()
                });
                let plan: Vec<String> = plan.into_iter().map(|(_, _, _, detail)| detail).collect();
                assert!(plan.iter().any(|step| step.contains(index)), "{plan:?}");
                assert!(plan.iter().all(|step| !step.contains("SCAN") && !step.contains("PRIMARY KEY")), "{plan:?}");
                assert!(!store.documents(&filter).await.unwrap().is_empty());
            }
        }
    }
}
