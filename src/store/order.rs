//! The order in which a transaction locks documents. Two transactions that lock the same documents in different orders may
//! wait for each other; here no transaction can.
//!
//! - A transaction names all documents that it is going to change at once, as [`Locks`], and [`Tx::lock`] locks them in the
//!   order of `KINDS` and, within a kind, of their ids. It may lock more later, but only what comes later in that order.
//! - What is not in `KINDS` is changed only by who has locked the document that it belongs to.
//! - A link is made and removed only by who has locked the document that it starts from (that of a run that has not ended:
//!   or the run). Who makes one has locked both ends, so that none leads to nothing.
//! - Names come last, and a transaction takes one of them, or all that it takes after [`Tx::lock_names`].
//!
//! Debug builds, and so all tests, fail where a transaction does otherwise.

use std::collections::{BTreeSet, HashSet};

use sqlx::QueryBuilder;

use super::{Document, ROWS_AT_ONCE, Result, Tx, transaction::Open};

/// The kinds of documents that are locked, in this order. What agents share is locked before they are: who changes a block
/// locks it and then looks for the agents that show it.
const KINDS: &[&str] = &[
    "template",
    "deployment",
    "project",
    "provider",
    "job",
    "batch",
    "mcp_server",
    "identity",
    "block",
    "source",
    "tool",
    "agent",
    "conversation",
    "scheduled_message",
    "run",
    "step",
    "group",
    "archive",
    "passage",
];

/// Where links lead that are also changed by who has locked their target alone.
const RUN: &str = "run-";

/// Documents that are to be locked together: places in `KINDS` and ids.
#[derive(Clone, Debug, Default)]
pub struct Locks(BTreeSet<(usize, String)>);

impl Locks {
    /// Documents of one kind.
    #[must_use]
    pub fn of(kind: &str, ids: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self::default().and(kind, ids)
    }

    /// These, and documents of another kind.
    #[must_use]
    pub fn and(mut self, kind: &str, ids: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let place = place(kind);
        debug_assert!(place.is_some(), "documents of the kind {kind} are not locked by themselves");
        // PostgreSQL refuses to look for U+0000, and no id holds it.
        let ids = ids.into_iter().filter(|id| !id.as_ref().contains('\0'));
        self.0.extend(ids.map(|id| (place.unwrap_or(KINDS.len()), id.as_ref().to_owned())));
        self
    }
}

fn place(kind: &str) -> Option<usize> {
    KINDS.iter().position(|known| *known == kind)
}

/// Documents that are locked; those of them that are there.
#[derive(Debug, Default)]
pub struct Locked(Vec<(String, Document)>);

impl Locked {
    /// Whether this document is there.
    #[must_use]
    pub fn holds(&self, kind: &str, id: &str) -> bool {
        self.0.iter().any(|(of_kind, document)| of_kind == kind && document.id == id)
    }

    /// This document, if it is there.
    #[must_use]
    pub fn get(&self, kind: &str, id: &str) -> Option<Document> {
        let found = self.0.iter().find(|(of_kind, document)| of_kind == kind && document.id == id);
        found.map(|(_, document)| document.clone())
    }

    /// The same, taken out.
    pub fn take(&mut self, kind: &str, id: &str) -> Option<Document> {
        let place = self.0.iter().position(|(of_kind, document)| of_kind == kind && document.id == id)?;
        Some(self.0.swap_remove(place).1)
    }

    /// The documents of a kind, in the order of their ids.
    pub fn of(&self, kind: &str) -> impl Iterator<Item = Document> {
        self.0.iter().filter(move |(of_kind, _)| of_kind == kind).map(|(_, document)| document.clone())
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    kind: String,
    #[sqlx(flatten)]
    document: Document,
}

impl Tx {
    /// Locks documents, in the one order, until the transaction ends.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lock(&mut self, wanted: &Locks) -> Result<Locked> {
        const LOCK: &str = "SELECT d.kind, d.seq, d.id, d.project, d.parent, d.body \
            FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS wanted (kind, id, place) \
            JOIN documents d ON d.id = wanted.id AND d.kind = wanted.kind ORDER BY wanted.place FOR UPDATE OF d";
        const READ: &str = "SELECT kind, seq, id, project, parent, body FROM documents WHERE id IN (";
        let wanted: Vec<(&str, &str)> =
            wanted.0.iter().filter_map(|(place, id)| Some((*KINDS.get(*place)?, id.as_str()))).collect();
        for (kind, id) in &wanted {
            self.order.lock(kind, id);
        }
        if let [(kind, id)] = wanted[..] {
            let document = self.read_locked(kind, id).await?;
            return Ok(Locked(document.map(|document| (kind.to_owned(), document)).into_iter().collect()));
        }
        let mut rows: Vec<Row> = Vec::new();
        if wanted.is_empty() {
            return Ok(Locked::default());
        }
        match &mut self.open {
            Open::Postgres(tx) => {
                let (kinds, ids): (Vec<&str>, Vec<&str>) = wanted.iter().copied().unzip();
                rows = sqlx::query_as(LOCK).bind(kinds).bind(ids).fetch_all(&mut **tx).await?;
            }
            // The whole database is ours since BEGIN IMMEDIATE.
            Open::Sqlite(tx) => {
                for wanted in wanted.chunks(ROWS_AT_ONCE) {
                    let mut query = QueryBuilder::new(READ);
                    let mut list = query.separated(", ");
                    for (_, id) in wanted {
                        list.push_bind(*id);
                    }
                    let found: Vec<Row> = query.push(")").build_query_as().fetch_all(&mut **tx).await?;
                    rows.extend(found.into_iter().filter(|row| wanted.contains(&(&row.kind, &row.document.id))));
                }
                rows.sort_by_cached_key(|row| (place(&row.kind), row.document.id.clone()));
            }
        }
        Ok(Locked(rows.into_iter().map(|row| (row.kind, row.document)).collect()))
    }

    /// The document of this kind and id, which no other transaction can change until this one ends.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn document_for_update(&mut self, kind: &str, id: &str) -> Result<Option<Document>> {
        self.order.lock(kind, id);
        self.read_locked(kind, id).await
    }

    async fn read_locked(&mut self, kind: &str, id: &str) -> Result<Option<Document>> {
        const LOCKING: &str =
            "SELECT seq, id, project, parent, body FROM documents WHERE id = $1 AND kind = $2 FOR UPDATE";
        Ok(match &mut self.open {
            Open::Postgres(tx) => sqlx::query_as(LOCKING).bind(id).bind(kind).fetch_optional(&mut **tx).await?,
            Open::Sqlite(tx) => {
                sqlx::query_as(super::documents::BY_ID).bind(id).bind(kind).fetch_optional(&mut **tx).await?
            }
        })
    }

    /// Lets this transaction take several names of a project, beside others that take one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lock_names(&mut self, project: &str) -> Result<()> {
        const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
        self.order.takes_several_names = true;
        if let Open::Postgres(tx) = &mut self.open {
            sqlx::query(LOCK).bind(format!("gatelet names of {project}")).execute(&mut **tx).await?;
        }
        Ok(())
    }
}

/// What a transaction has locked. Only debug builds remember it.
#[derive(Debug, Default)]
pub(super) struct Order {
    locked: BTreeSet<(usize, String)>,
    /// The ids of what it has locked or made.
    ids: HashSet<String>,
    has_name: bool,
    takes_several_names: bool,
}

impl Order {
    fn lock(&mut self, kind: &str, id: &str) {
        if !cfg!(debug_assertions) {
            return;
        }
        let place = place(kind);
        debug_assert!(place.is_some(), "documents of the kind {kind} are not locked by themselves");
        // What it has made, nobody else sees.
        if self.ids.contains(id) {
            return;
        }
        let lock = (place.unwrap_or(KINDS.len()), id.to_owned());
        let last = self.locked.last();
        debug_assert!(last.is_none_or(|last| *last < lock), "{lock:?} is locked after {last:?}");
        debug_assert!(!self.has_name, "{kind} {id} is locked after a name was taken");
        self.locked.insert(lock);
        self.ids.insert(id.to_owned());
    }

    /// A document was made.
    pub(super) fn made(&mut self, id: &str) {
        if cfg!(debug_assertions) {
            self.ids.insert(id.to_owned());
        }
    }

    /// A document is changed or deleted.
    pub(super) fn changes(&self, kind: &str, id: &str) {
        debug_assert!(
            place(kind).is_none() || self.ids.contains(id),
            "{kind} {id} is changed by a transaction that has not locked it"
        );
    }

    /// A link is made or removed.
    pub(super) fn links(&self, kind: &str, source: &str, target: &str) {
        debug_assert!(
            self.ids.contains(source) || target.starts_with(RUN) && self.ids.contains(target),
            "a link {kind} from {source} to {target} is changed by a transaction that has not locked {source}"
        );
    }

    /// The links that start from a document are removed.
    pub(super) fn links_of(&self, source: &str) {
        debug_assert!(
            self.ids.contains(source),
            "the links from {source} are removed by a transaction that has not locked it"
        );
    }

    /// A name is taken that others may want.
    pub(super) fn name(&mut self, name: &str) {
        debug_assert!(
            self.takes_several_names || !self.has_name,
            "a second name, {name}, is taken without Tx::lock_names"
        );
        self.has_name = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_are_put_in_order() {
        let locks = Locks::of("agent", ["b", "a", "b"]).and("block", ["c", "nul\0"]).and("run", ["d"]);
        let order: Vec<(&str, &str)> = locks.0.iter().map(|(place, id)| (KINDS[*place], id.as_str())).collect();
        assert_eq!(order, [("block", "c"), ("agent", "a"), ("agent", "b"), ("run", "d")]);
    }

    #[test]
    fn what_comes_later_may_be_locked_later_and_anything_again() {
        let mut order = Order::default();
        for (kind, id) in [("block", "b"), ("agent", "a"), ("agent", "c"), ("block", "b"), ("run", "a-run")] {
            order.lock(kind, id);
        }
        order.made("made");
        order.lock("identity", "made");
    }

    #[test]
    #[should_panic(expected = "is locked after")]
    fn what_comes_earlier_may_not() {
        let mut order = Order::default();
        order.lock("agent", "b");
        order.lock("agent", "a");
    }

    #[test]
    #[should_panic(expected = "has not locked")]
    fn what_is_not_locked_may_not_be_changed() {
        Order::default().changes("agent", "a");
    }

    #[test]
    #[should_panic(expected = "without Tx::lock_names")]
    fn names_are_not_taken_one_by_one() {
        let mut order = Order::default();
        order.name("a");
        order.name("b");
    }
}
