//! Lists of rows with a limit on their size in bytes.

use std::pin::pin;

use futures_util::{Stream, TryStreamExt};

use super::{Result, StoreError};

/// A row whose size varies.
pub trait HasSize {
    /// The size that it counts as, in bytes.
    fn size(&self) -> usize;
}

/// The least that a row takes up once it is part of a response, in bytes.
pub(super) const ROW: usize = 1_000;

/// Rows that are read together.
#[derive(Debug)]
pub(super) struct Rows<T> {
    pub(super) found: Vec<T>,
    size: usize,
    most: usize,
}

impl<T: HasSize> Rows<T> {
    /// An empty list that takes at most `most` bytes. A single row may be larger.
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
    /// When together they exceed the limit; when the database fails.
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

    /// Reads rows until they reach the limit.
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
