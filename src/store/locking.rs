//! Locking documents until a transaction ends, in the order of [`super::order`].

use std::collections::BTreeSet;

use sqlx::QueryBuilder;

use super::{
    Document, ROWS_AT_ONCE, Result, Tx,
    documents::BY_ID,
    order::{KINDS, place},
    transaction::Open,
};

/// Documents to lock together: positions in `KINDS` and ids.
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
        // PostgreSQL rejects U+0000 in parameters, and no id contains it.
        let ids = ids.into_iter().filter(|id| !id.as_ref().contains('\0'));
        self.0.extend(ids.map(|id| (place.unwrap_or(KINDS.len()), id.as_ref().to_owned())));
        self
    }
}

/// The documents that were locked and exist.
#[derive(Debug, Default)]
pub struct Locked(Vec<(String, Document)>);

impl Locked {
    /// Whether this document exists.
    #[must_use]
    pub fn holds(&self, kind: &str, id: &str) -> bool {
        self.0.iter().any(|(of_kind, document)| of_kind == kind && document.id == id)
    }

    /// This document, if it exists.
    #[must_use]
    pub fn get(&self, kind: &str, id: &str) -> Option<Document> {
        let found = self.0.iter().find(|(of_kind, document)| of_kind == kind && document.id == id);
        found.map(|(_, document)| document.clone())
    }

    /// Removes this document from the list and returns it, if it exists.
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
    /// Locks documents, in order, until the transaction ends.
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
            // BEGIN IMMEDIATE has locked the whole database.
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

    /// Locks and returns the document of this kind and id: no other transaction can change it until this one ends.
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
            Open::Sqlite(tx) => sqlx::query_as(BY_ID).bind(id).bind(kind).fetch_optional(&mut **tx).await?,
        })
    }

    /// Lets this transaction take several names of a project without deadlocking with others.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_are_put_in_order() {
        let locks = Locks::of("agent", ["b", "a", "b"]).and("block", ["c", "nul\0"]).and("run", ["d"]);
        let order: Vec<(&str, &str)> = locks.0.iter().map(|(place, id)| (KINDS[*place], id.as_str())).collect();
        assert_eq!(order, [("block", "c"), ("agent", "a"), ("agent", "b"), ("run", "d")]);
    }
}
