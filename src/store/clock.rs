//! The record of the time that processes share.

use super::{Result, Store, reading, writing};
use crate::clock::Record;

impl Store {
    /// The last record and the process that wrote it; `None` if no process has run yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn clock_record(&self) -> Result<Option<(String, Record)>> {
        const LAST: &str = "SELECT writer, settled_at, seen_at FROM clock WHERE singleton = 1";
        let row: Option<(String, i64, i64)> = reading!(self, pool => sqlx::query_as(LAST).fetch_optional(pool).await)?;
        Ok(row.map(|(writer, settled_at, seen_at)| (writer, Record { settled_at, seen_at })))
    }

    /// Replaces the record.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn write_clock_record(&self, writer: &str, record: Record) -> Result<()> {
        const WRITE: &str = "INSERT INTO clock (singleton, writer, settled_at, seen_at) VALUES (1, $1, $2, $3) \
            ON CONFLICT (singleton) DO UPDATE SET \
            writer = excluded.writer, settled_at = excluded.settled_at, seen_at = excluded.seen_at";
        writing!(self, pool => sqlx::query(WRITE).bind(writer).bind(record.settled_at).bind(record.seen_at)
            .execute(pool).await.map(|_| ()))?;
        Ok(())
    }
}
