//! Lists of records in the order of creation, with filters, counts and pages. The records that are read grow with the
//! page and with those that the filter rejects, not with those that are stored.

use super::cursor::Page;
use crate::{
    error::ApiError,
    mock::{
        budget::Budget,
        records::Record,
        storage::{Stored, View, parse},
    },
    store::DocumentFilter,
};

/// The most records that are read at once to be filtered.
const CHUNK: usize = 200;

/// Records of one kind.
pub(in crate::mock) struct Listing<'a, T> {
    documents: DocumentFilter<'a>,
    /// The filter without the bounds of the page.
    whole: DocumentFilter<'a>,
    /// Records that exist without being stored: older than all stored ones, oldest first, at negative places.
    built_in: Vec<Stored<T>>,
}

impl<'a, T: Record> Listing<'a, T> {
    /// The records that match a filter.
    pub(in crate::mock) fn of(documents: DocumentFilter<'a>) -> Self {
        Self { documents, whole: documents, built_in: Vec::new() }
    }

    /// Adds records that exist without being stored, as the oldest.
    pub(in crate::mock) fn with_built_in(self, built_in: impl IntoIterator<Item = T>) -> Self {
        let records: Vec<T> = built_in.into_iter().collect();
        let first = -i64::try_from(records.len()).unwrap_or(i64::MAX);
        let stored = (first..).zip(records).map(|(seq, record)| Stored { seq, project: String::new(), record });
        Self { built_in: stored.collect(), ..self }
    }

    /// A page of the records that `accepts` takes. A cursor that is not in the list yields nothing: clients that page
    /// until a page is empty terminate, and do not learn about other lists.
    pub(in crate::mock) async fn page(
        self,
        view: View<'_>,
        page: &Page<'_>,
        accepts: impl Fn(&T) -> bool,
    ) -> Result<Vec<Stored<T>>, ApiError> {
        self.page_of(view, page, |_| true, accepts).await
    }

    /// The same for a list that the store's filter cannot express: a cursor must name a record that `belongs` takes,
    /// but `accepts` may have rejected it since it was shown.
    pub(in crate::mock) async fn page_of(
        mut self,
        view: View<'_>,
        page: &Page<'_>,
        belongs: impl Fn(&T) -> bool,
        accepts: impl Fn(&T) -> bool,
    ) -> Result<Vec<Stored<T>>, ApiError> {
        // With only `before`, the page ends at the cursor, so it is read backwards from there.
        let backwards = page.before.is_some() && page.after.is_none();
        for (cursor, is_after) in [(page.after, true), (page.before, false)] {
            let Some(cursor) = cursor else { continue };
            let Some(seq) = self.place(view, cursor, &belongs).await? else { return Ok(Vec::new()) };
            let newer_than_cursor = is_after != page.newest_first;
            self.narrow(seq, newer_than_cursor);
        }
        let mut scan = Scan::new(self, page.newest_first != backwards, page.limit);
        let (mut records, budget) = (Vec::new(), Budget::of_response(view.store().most_read()));
        while records.len() < page.limit {
            let Some(chunk) = scan.next(view).await? else { break };
            let missing = page.limit - records.len();
            for (stored, size) in chunk.into_iter().filter(|(stored, _)| accepts(&stored.record)).take(missing) {
                // A single record may have any size.
                budget.charge(if records.is_empty() { 0 } else { size })?;
                records.push(stored);
            }
        }
        if backwards {
            records.reverse();
        }
        Ok(records)
    }

    /// A page in the order of `key`, then of creation. All records that `accepts` takes are read.
    pub(in crate::mock) async fn sorted_page<K: Ord>(
        self,
        view: View<'_>,
        page: &Page<'_>,
        accepts: impl Fn(&T) -> bool,
        key: impl Fn(&T) -> K,
    ) -> Result<Vec<Stored<T>>, ApiError> {
        let mut records = self.all(view, accepts).await?;
        records.sort_by(|left, right| {
            let order = key(&left.record).cmp(&key(&right.record)).then(left.seq.cmp(&right.seq));
            if page.newest_first { order.reverse() } else { order }
        });
        Ok(page.cut(records, |stored| stored.record.id()))
    }

    /// All records that `accepts` takes, oldest first.
    pub(in crate::mock) async fn all(
        self,
        view: View<'_>,
        accepts: impl Fn(&T) -> bool,
    ) -> Result<Vec<Stored<T>>, ApiError> {
        let (mut records, budget) = (Vec::new(), Budget::of_response(view.store().most_read()));
        let mut scan = Scan::new(self, false, CHUNK);
        while let Some(chunk) = scan.next(view).await? {
            for (stored, size) in chunk.into_iter().filter(|(stored, _)| accepts(&stored.record)) {
                budget.charge(if records.is_empty() { 0 } else { size })?;
                records.push(stored);
            }
        }
        Ok(records)
    }

    /// The number of records that `accepts` takes.
    pub(in crate::mock) async fn count(self, view: View<'_>, accepts: impl Fn(&T) -> bool) -> Result<usize, ApiError> {
        let mut count = 0;
        let mut scan = Scan::new(self, false, CHUNK);
        while let Some(chunk) = scan.next(view).await? {
            count += chunk.iter().filter(|(stored, _)| accepts(&stored.record)).count();
        }
        Ok(count)
    }

    /// The place of a cursor; `None` if it is not in the list.
    async fn place(&self, view: View<'_>, id: &str, belongs: impl Fn(&T) -> bool) -> Result<Option<i64>, ApiError> {
        if let Some(stored) = self.built_in.iter().find(|stored| stored.record.id() == id) {
            return Ok(Some(stored.seq));
        }
        let Some(document) = view.find_stored::<T>(id).await? else { return Ok(None) };
        let place = document.seq;
        let holds = match self.whole.holds(&document) {
            Some(holds) => holds,
            None => {
                let there = self.whole.after(place - 1).before(place.saturating_add(1)).limit(1);
                !view.store().documents(&there).await?.is_empty()
            }
        };
        let holds = holds && belongs(&parse::<T>(document)?.record);
        Ok(holds.then_some(place))
    }

    /// Keeps only records newer, or only records older, than a place.
    fn narrow(&mut self, seq: i64, newer: bool) {
        if newer {
            self.documents = self.documents.after(seq);
            self.built_in.retain(|stored| stored.seq > seq);
        } else {
            self.documents = self.documents.before(seq);
            self.built_in.retain(|stored| stored.seq < seq);
        }
    }
}

/// Reads a listing chunk by chunk.
struct Scan<'a, T> {
    listing: Listing<'a, T>,
    newest_first: bool,
    /// The size of the next chunk: what the page needs at first, more if that was not enough.
    chunk: usize,
    exhausted: bool,
}

impl<'a, T: Record> Scan<'a, T> {
    fn new(listing: Listing<'a, T>, newest_first: bool, limit: usize) -> Self {
        Self { listing, newest_first, chunk: limit.clamp(1, CHUNK), exhausted: false }
    }

    /// The next records, each with its size in the store; `None` at the end.
    async fn next(&mut self, view: View<'_>) -> Result<Option<Vec<(Stored<T>, usize)>>, ApiError> {
        let mut built_in = std::mem::take(&mut self.listing.built_in);
        let unstored = |built_in: Vec<Stored<T>>| built_in.into_iter().map(|record| (record, 0)).collect();
        if !self.newest_first && !built_in.is_empty() {
            return Ok(Some(unstored(built_in)));
        }
        if self.exhausted {
            built_in.reverse();
            return Ok(Some(unstored(built_in)).filter(|records: &Vec<_>| !records.is_empty()));
        }
        self.listing.built_in = built_in;
        let documents = self.listing.documents.newest_first(self.newest_first);
        let part = view.chunk::<T>(&documents, self.chunk).await?;
        if let Some(seq) = part.end {
            self.listing.documents = if self.newest_first { documents.before(seq) } else { documents.after(seq) };
        }
        self.exhausted = !part.has_more;
        self.chunk = CHUNK;
        Ok(Some(part.records))
    }
}
