//! Links: many-to-many relations between documents, in the order in which they were made.

use futures_util::TryStreamExt;
use sqlx::QueryBuilder;

use super::{
    Document, ROWS_AT_ONCE, Result, Store, Tx,
    bounded::{HasSize, Rows},
    reading, within,
};

/// A document that a link leads to.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Linked {
    source: String,
    #[sqlx(flatten)]
    pub(super) document: Document,
}

/// A link, and the document that it leads to.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its kind.
    pub kind: String,
    /// Where it starts.
    pub source: String,
    /// Where it leads.
    pub target: String,
    /// The document there; `None` if it is not stored.
    pub document: Option<Document>,
}

/// The number of sources in one statement, so that its text is constant. Unused parameters are the empty text, which is
/// no document's id.
const BATCH: usize = 16;
const KINDS: usize = 8;
macro_rules! batch {
    () => {
        "($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)"
    };
}
const TARGETS: &str =
    concat!("SELECT source, target FROM links WHERE kind = $1 AND source IN ", batch!(), " ORDER BY seq");
const SOURCES_OF_MANY: &str =
    concat!("SELECT target, source FROM links WHERE kind = $1 AND target IN ", batch!(), " ORDER BY seq");
const DOCUMENTS: &str = concat!(
    "SELECT l.source, d.seq, d.id, d.project, d.parent, d.body FROM links l \
     JOIN documents d ON d.id = l.target AND d.kind = $18 WHERE l.kind = $1 AND l.source IN ",
    batch!(),
    " ORDER BY l.seq"
);

impl HasSize for Linked {
    fn size(&self) -> usize {
        self.document.size()
    }
}

impl HasSize for Link {
    fn size(&self) -> usize {
        self.document.as_ref().map_or(0, HasSize::size)
    }
}

impl Store {
    /// The links of a kind that start from any of `sources`, as pairs of source and target, oldest first for each
    /// source.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn links_from(&self, kind: &str, sources: &[&str]) -> Result<Vec<(String, String)>> {
        self.pairs(TARGETS, kind, sources).await
    }

    /// The links of a kind that lead to any of `targets`, as pairs of target and source, oldest first for each target.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn links_to(&self, kind: &str, targets: &[&str]) -> Result<Vec<(String, String)>> {
        self.pairs(SOURCES_OF_MANY, kind, targets).await
    }

    async fn pairs(&self, sql: &'static str, kind: &str, ids: &[&str]) -> Result<Vec<(String, String)>> {
        let mut found = Vec::new();
        for chunk in ids.chunks(BATCH) {
            let links: Vec<(String, String)> = reading!(self, pool => {
                let mut query = sqlx::query_as(sql).bind(kind);
                for place in 0..BATCH {
                    query = query.bind(chunk.get(place).copied().unwrap_or_default());
                }
                query.fetch_all(pool).await
            })?;
            found.extend(links);
        }
        Ok(found)
    }

    /// The documents of `document_kind` that links of a kind lead to from any of `sources`, each with its source,
    /// oldest link first for each source.
    ///
    /// # Errors
    /// When together they are larger than [`Store::most_read`]; when the database fails.
    pub async fn linked_documents(
        &self,
        kind: &str,
        sources: &[&str],
        document_kind: &str,
    ) -> Result<Vec<(String, Document)>> {
        let mut rows = Rows::new(self.most_read);
        for chunk in sources.chunks(BATCH) {
            reading!(self, pool => {
                let mut query = sqlx::query_as(DOCUMENTS).bind(kind);
                for place in 0..BATCH {
                    query = query.bind(chunk.get(place).copied().unwrap_or_default());
                }
                rows.read(query.bind(document_kind).fetch(pool)).await
            })?;
        }
        Ok(rows.found.into_iter().map(|Linked { source, document }| (source, document)).collect())
    }

    /// The links of several kinds, at most eight, that start from any of `sources`, oldest first for each source.
    ///
    /// # Errors
    /// When together they are larger than [`Store::most_read`]; when the database fails.
    pub async fn links_of_kinds(&self, kinds: &[&str], sources: &[&str]) -> Result<Vec<Link>> {
        const WITH_DOCUMENTS: &str = "SELECT l.kind, l.source, l.target, d.seq, d.project, d.parent, d.body \
            FROM links l LEFT JOIN documents d ON d.id = l.target \
            WHERE l.source IN ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
            AND l.kind IN ($17, $18, $19, $20, $21, $22, $23, $24) ORDER BY l.seq";
        type Row = (String, String, String, Option<i64>, Option<String>, Option<String>, Option<String>);
        debug_assert!(kinds.len() <= KINDS, "{kinds:?}");
        let link = |(kind, source, target, seq, project, parent, body): Row| {
            let present = seq.zip(project).zip(body);
            let document =
                present.map(|((seq, project), body)| Document { seq, id: target.clone(), project, parent, body });
            Link { kind, source, target, document }
        };
        let mut rows = Rows::new(self.most_read);
        for chunk in sources.chunks(BATCH) {
            reading!(self, pool => {
                let mut query = sqlx::query_as(WITH_DOCUMENTS);
                for place in 0..BATCH {
                    query = query.bind(chunk.get(place).copied().unwrap_or_default());
                }
                for place in 0..KINDS {
                    query = query.bind(kinds.get(place).copied().unwrap_or_default());
                }
                rows.read(query.fetch(pool).map_ok(link)).await
            })?;
        }
        Ok(rows.found)
    }

    /// The sources of the links of a kind that lead to `target`, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn linked_from(&self, kind: &str, target: &str) -> Result<Vec<String>> {
        Ok(reading!(self, pool => sqlx::query_scalar(SOURCES).bind(kind).bind(target).fetch_all(pool).await)?)
    }

    /// The number of links of a kind to each target.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_links_by_target(&self, kind: &str) -> Result<Vec<(String, i64)>> {
        const COUNTS: &str = "SELECT target, COUNT(*) FROM links WHERE kind = $1 GROUP BY target";
        Ok(reading!(self, pool => sqlx::query_as(COUNTS).bind(kind).fetch_all(pool).await)?)
    }

    /// All links of a kind, oldest first, as pairs of source and target.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn links(&self, kind: &str) -> Result<Vec<(String, String)>> {
        const ALL: &str = "SELECT source, target FROM links WHERE kind = $1 ORDER BY seq + 0";
        Ok(reading!(self, pool => sqlx::query_as(ALL).bind(kind).fetch_all(pool).await)?)
    }
}

const SOURCES: &str = "SELECT source FROM links WHERE kind = $1 AND target = $2 ORDER BY seq";

impl Tx {
    /// The documents of `document_kind` that links of a kind lead to from `source`, oldest link first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn linked_documents(&mut self, kind: &str, source: &str, document_kind: &str) -> Result<Vec<Document>> {
        const FROM_ONE: &str = "SELECT d.seq, d.id, d.project, d.parent, d.body FROM links l \
            JOIN documents d ON d.id = l.target AND d.kind = $3 WHERE l.kind = $1 AND l.source = $2 ORDER BY l.seq";
        Ok(within!(self, connection => sqlx::query_as(FROM_ONE).bind(kind).bind(source).bind(document_kind)
            .fetch_all(connection).await)?)
    }

    /// The sources of the links of a kind that lead to `target`, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn linked_from(&mut self, kind: &str, target: &str) -> Result<Vec<String>> {
        Ok(within!(self, connection => sqlx::query_scalar(SOURCES).bind(kind).bind(target)
            .fetch_all(connection).await)?)
    }

    /// The sources of the links of a kind that lead to any of `targets`, each once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn linked_from_any(&mut self, kind: &str, targets: &[String]) -> Result<Vec<String>> {
        const SOURCES: &str = "SELECT DISTINCT source FROM links WHERE kind = ";
        let mut found = Vec::new();
        for targets in targets.chunks(ROWS_AT_ONCE) {
            let sources: Vec<String> = within!(self, connection => {
                let mut query = QueryBuilder::new(SOURCES);
                query.push_bind(kind).push(" AND target IN (");
                let mut list = query.separated(", ");
                for target in targets {
                    list.push_bind(target);
                }
                query.push(")").build_query_scalar().fetch_all(connection).await
            })?;
            found.extend(sources);
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Whether there is a link.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_linked(&mut self, kind: &str, source: &str, target: &str) -> Result<bool> {
        const IS_LINKED: &str = "SELECT COUNT(*) FROM links WHERE kind = $1 AND source = $2 AND target = $3";
        let count: i64 = within!(self, connection => sqlx::query_scalar(IS_LINKED).bind(kind).bind(source).bind(target)
            .fetch_one(connection).await)?;
        Ok(count > 0)
    }

    /// Makes a link, unless it exists.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn link(&mut self, kind: &str, source: &str, target: &str) -> Result<()> {
        const LINK: &str = "INSERT INTO links (kind, source, target) VALUES ($1, $2, $3) \
            ON CONFLICT (source, kind, target) DO NOTHING";
        self.order.links(kind, source, target);
        within!(self, connection => sqlx::query(LINK).bind(kind).bind(source).bind(target)
            .execute(connection).await.map(|_| ()))?;
        Ok(())
    }

    /// Removes a link, if it exists.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unlink(&mut self, kind: &str, source: &str, target: &str) -> Result<()> {
        const UNLINK: &str = "DELETE FROM links WHERE kind = $1 AND source = $2 AND target = $3";
        self.order.links(kind, source, target);
        within!(self, connection => sqlx::query(UNLINK).bind(kind).bind(source).bind(target)
            .execute(connection).await.map(|_| ()))?;
        Ok(())
    }

    /// Removes the links of a kind that start from `source`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unlink_kind(&mut self, kind: &str, source: &str) -> Result<()> {
        const UNLINK: &str = "DELETE FROM links WHERE kind = $1 AND source = $2";
        self.order.links_of(source);
        within!(self, connection => sqlx::query(UNLINK).bind(kind).bind(source)
            .execute(connection).await.map(|_| ()))?;
        Ok(())
    }

    /// Removes the links of a kind that lead to `target` from any of `sources`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unlink_from(&mut self, kind: &str, sources: &[String], target: &str) -> Result<()> {
        const UNLINK: &str = "DELETE FROM links WHERE kind = ";
        for source in sources {
            self.order.links(kind, source, target);
        }
        for sources in sources.chunks(ROWS_AT_ONCE) {
            within!(self, connection => {
                let mut query = QueryBuilder::new(UNLINK);
                query.push_bind(kind).push(" AND target = ").push_bind(target).push(" AND source IN (");
                let mut list = query.separated(", ");
                for source in sources {
                    list.push_bind(source);
                }
                query.push(")").build().execute(connection).await.map(|_| ())
            })?;
        }
        Ok(())
    }

    /// Removes every link that starts from `source`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unlink_all(&mut self, source: &str) -> Result<()> {
        const UNLINK: &str = "DELETE FROM links WHERE source = $1";
        self.order.links_of(source);
        within!(self, connection => sqlx::query(UNLINK).bind(source).execute(connection).await.map(|_| ()))?;
        Ok(())
    }
}
