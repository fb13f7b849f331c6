//! Lists of rows that are no larger than they may be.

use std::pin::pin;

use futures_util::{Stream, TryStreamExt};

use super::{Document, Link, Result, StoreError, StoredMessage, links::Linked};

/// A row with a text of any size.
pub trait HasSize {
    /// How many bytes it counts as.
    fn size(&self) -> usize;
}

/// What a row takes at least by the time that it stands in an answer.
const ROW: usize = 1_000;

impl HasSize for Document {
    fn size(&self) -> usize {
        ROW + self.body.len()
    }
}

impl HasSize for Linked {
    fn size(&self) -> usize {
        self.document.size()
    }
}

impl HasSize for StoredMessage {
    fn size(&self) -> usize {
        ROW + self.body.len()
    }
}

impl HasSize for Link {
    fn size(&self) -> usize {
        self.document.as_ref().map_or(0, HasSize::size)
    }
}

/// Rows that are read together.
#[derive(Debug)]
pub(super) struct Rows<T> {
    pub(super) found: Vec<T>,
    size: usize,
    most: usize,
}

impl<T: HasSize> Rows<T> {
    /// None yet; `most`: how many bytes all of them may have. One row may have any number.
    pub(super) fn new(most: usize) -> Self {
        Self { found: Vec::new(), size: 0, most }
    }

    fn take(&mut self, row: T) {
        self.size = self.size.saturating_add(row.size());
        self.found.push(row);
    }

    fn are_too_large(&self) -> bool {
        self.size > self.most && self.found.len() > 1
    }

    /// Reads all rows.
    ///
    /// # Errors
    /// When they are too large together; when the database fails.
    pub(super) async fn read(&mut self, rows: impl Stream<Item = sqlx::Result<T>>) -> Result<()> {
        let mut rows = pin!(rows);
        while let Some(row) = rows.try_next().await? {
            self.take(row);
            if self.are_too_large() {
                return Err(StoreError::TooMuch(self.most));
            }
        }
        Ok(())
    }

    /// Reads rows until they are large enough.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn read_some(&mut self, rows: impl Stream<Item = sqlx::Result<T>>) -> Result<()> {
        let mut rows = pin!(rows);
        while self.size < self.most
            && let Some(row) = rows.try_next().await?
        {
            self.take(row);
        }
        Ok(())
    }
}
