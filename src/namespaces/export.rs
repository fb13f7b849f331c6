//! The form in which a snapshot leaves a process: a line that says what it is, what belongs to the world as JSON, and the
//! database without credentials.
//!
//! ```text
//! gatelet snapshot 1\n | length of the JSON, 4 bytes, big-endian | JSON | SQLite database
//! ```

use serde::{Deserialize, Serialize};

use super::{
    Injected, Refs,
    snapshot::{SavedState, Snapshot},
};
use crate::{
    error::{ApiError, Code},
    store::{AdoptError, Image, Store},
    world::{Micros, SavedWorld, World, real_now},
};

/// The media type of an exported snapshot.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.gatelet.snapshot";

const NAME: &[u8] = b"gatelet snapshot ";
const HEAD: &[u8] = b"gatelet snapshot 1\n";

/// The instants that a clock may show: the years 1970 to 9999.
const INSTANTS: std::ops::Range<Micros> = 0..253_402_300_800_000_000;

/// What belongs to the world and not to its database.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    /// The version that wrote it.
    gatelet: String,
    /// When the snapshot was taken, in microseconds since the Unix epoch.
    taken_at: Micros,
    world: SavedWorld,
    refs: Refs,
    /// Earlier versions had none.
    #[serde(default)]
    injected: Injected,
}

/// Writes a snapshot.
///
/// # Errors
/// When memory is exhausted.
pub(super) async fn write(snapshot: &Snapshot, most_read: usize) -> Result<Vec<u8>, ApiError> {
    let Snapshot { state: SavedState { image, world, refs, injected, .. }, taken_at } = snapshot;
    let database = without_credentials(Store::open_image(image, most_read).await?).await?;
    let metadata = Metadata {
        gatelet: env!("CARGO_PKG_VERSION").into(),
        taken_at: *taken_at,
        world: world.clone(),
        refs: refs.clone(),
        injected: injected.clone(),
    };
    let metadata = serde_json::to_vec(&metadata).map_err(ApiError::internal)?;
    let length = u32::try_from(metadata.len()).map_err(ApiError::internal)?;
    Ok([HEAD, &length.to_be_bytes(), &metadata, database.bytes()].concat())
}

/// Reads a snapshot that another process may have written.
///
/// # Errors
/// When it is not one, is damaged, or a newer version made it.
pub(super) async fn read(bytes: &[u8], most_read: usize) -> Result<Snapshot, ApiError> {
    let rest = match bytes.strip_prefix(HEAD) {
        Some(rest) => rest,
        None if bytes.starts_with(NAME) => return Err(newer()),
        None => return Err(unusable("it does not begin as an exported snapshot does")),
    };
    let (length, rest) = rest.split_first_chunk().ok_or_else(|| unusable("it is cut off"))?;
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    let (metadata, database) = rest.split_at_checked(length).ok_or_else(|| unusable("it is cut off"))?;
    let Metadata { taken_at, world, refs, injected, .. } =
        serde_json::from_slice(metadata).map_err(|error| unusable(&format!("its metadata cannot be read: {error}")))?;
    if !INSTANTS.contains(&World::restore("", &world).now()) {
        return Err(unusable("its clock is beyond the year 9999"));
    }
    let store = Store::adopt(database, most_read).await.map_err(|error| match error {
        AdoptError::Store(error) => error.into(),
        AdoptError::Newer => newer(),
        error => unusable(&error.to_string()),
    })?;
    let counts = store.row_counts().await?;
    let image = without_credentials(store).await?;
    let taken_at = if INSTANTS.contains(&taken_at) { taken_at } else { real_now() };
    Ok(Snapshot { state: SavedState { image, world, refs, injected, counts }, taken_at })
}

async fn without_credentials(store: Store) -> Result<Image, ApiError> {
    store.strip_credentials().await?;
    store.compact().await?;
    let (image, ()) = store.image(|| ()).await?;
    store.close().await;
    Ok(image)
}

fn newer() -> ApiError {
    let sentence = "A newer version of Gatelet made this snapshot; use that version, or make the snapshot anew.";
    ApiError::new(Code::SnapshotIncompatible, sentence).without_retry()
}

fn unusable(why: &str) -> ApiError {
    let sentence =
        format!("This is not a snapshot that can be used: {why}. Export one with GET and Accept: {MEDIA_TYPE}.");
    ApiError::new(Code::SnapshotIncompatible, sentence).without_retry()
}
