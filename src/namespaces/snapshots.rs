//! The snapshots of a namespace: taking, exporting and importing them.

use std::sync::Arc;

use super::{
    Directory, MOST_BYTES, Namespace, SnapshotSummary, check_name, export,
    snapshot::{MOST_BYTES_TOGETHER, Snapshot},
};
use crate::{
    error::{ApiError, Code},
    world::real_now,
};

impl Directory {
    /// Takes a snapshot. Returns whether its name is new.
    ///
    /// # Errors
    /// When the namespace is gone or persistent, or there are too many snapshots, or it is too large.
    pub(crate) async fn take_snapshot(
        &self,
        namespace: &Namespace,
        name: &str,
    ) -> Result<(bool, SnapshotSummary), ApiError> {
        namespace.check_in_memory()?;
        check_name(name, "")?;
        let (_reservation, namespace) = self.change(namespace).await?;
        let state = namespace.live().save(namespace.refs()).await?;
        self.keep(&namespace, name, Snapshot { state, taken_at: real_now() })
    }

    /// Stores an exported snapshot. Returns whether its name is new.
    ///
    /// # Errors
    /// As [`Directory::take_snapshot`]; and when the bytes are not a snapshot that this version can read.
    pub(crate) async fn import_snapshot(
        &self,
        namespace: &Namespace,
        name: &str,
        bytes: &[u8],
    ) -> Result<(bool, SnapshotSummary), ApiError> {
        namespace.check_in_memory()?;
        check_name(name, "")?;
        let snapshot = export::read(bytes, self.0.builder.most_read()).await?;
        let (_reservation, namespace) = self.change(namespace).await?;
        self.keep(&namespace, name, snapshot)
    }

    /// A snapshot for another process, without tokens and keys.
    ///
    /// # Errors
    /// When there is none of this name.
    pub(crate) async fn export_snapshot(&self, namespace: &Namespace, name: &str) -> Result<Vec<u8>, ApiError> {
        let snapshot = namespace.contents().snapshots.find(name)?.clone();
        export::write(&snapshot, self.0.builder.most_read()).await
    }

    fn keep(
        &self,
        namespace: &Arc<Namespace>,
        name: &str,
        snapshot: Snapshot,
    ) -> Result<(bool, SnapshotSummary), ApiError> {
        let bytes = snapshot.state.image.bytes().len();
        if bytes > MOST_BYTES {
            let sentence =
                format!("The namespace has {bytes} bytes of state, and a snapshot may have at most {MOST_BYTES}.");
            return Err(ApiError::new(Code::BodyTooLarge, sentence).without_retry());
        }
        let together: usize = self.all().iter().map(|namespace| namespace.contents().snapshots.bytes()).sum();
        if together + bytes > MOST_BYTES_TOGETHER {
            let sentence = format!(
                "All snapshots of this server together may have at most {MOST_BYTES_TOGETHER} bytes; delete some first."
            );
            return Err(ApiError::new(Code::SnapshotsExhausted, sentence).without_retry());
        }
        let summary = snapshot.summary(name);
        let is_new = namespace.contents().snapshots.insert(name, snapshot)?;
        Ok((is_new, summary))
    }
}

impl Namespace {
    /// What is told about its snapshots.
    #[must_use]
    pub(crate) fn snapshots(&self) -> Vec<SnapshotSummary> {
        self.contents().snapshots.summaries()
    }

    /// What is told about a snapshot.
    ///
    /// # Errors
    /// When there is none of this name.
    pub(crate) fn snapshot(&self, name: &str) -> Result<SnapshotSummary, ApiError> {
        self.contents().snapshots.find(name).map(|snapshot| snapshot.summary(name))
    }

    /// Deletes a snapshot. It does not matter whether there is one.
    pub(crate) fn delete_snapshot(&self, name: &str) {
        self.contents().snapshots.remove(name);
    }
}
