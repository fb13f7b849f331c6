//! Files that only their owner may read, whatever the umask.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use tracing::warn;

/// Readable and writable for the owner only.
const OWNER_ONLY: u32 = 0o600;

/// Creates an empty file, unless it exists.
///
/// # Errors
/// When it cannot be created.
pub(crate) fn create_empty(path: &Path) -> io::Result<()> {
    match create(path, b"") {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Creates a file with this content, durably. At no time can others read it.
///
/// # Errors
/// When it exists, or cannot be created.
pub(crate) fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path)?;
    // The umask may have removed permissions that the owner needs.
    file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
    file.write_all(content)?;
    file.sync_all()
}

/// Removes the permissions of others from a file, which may have been copied or made by an earlier version.
///
/// This does not open the file: a process that closes a descriptor of a database file loses its locks on it.
pub(crate) fn tighten(path: &Path) {
    let Ok(metadata) = fs::metadata(path) else { return };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & !OWNER_ONLY == 0 || !metadata.is_file() {
        return;
    }
    let shown = path.display();
    match fs::set_permissions(path, Permissions::from_mode(mode & OWNER_ONLY)) {
        Ok(()) => warn!("{shown} was open to others (mode {mode:o}); it is now mode {:o}", mode & OWNER_ONLY),
        Err(error) => warn!(%error, "{shown} is open to others (mode {mode:o}) and cannot be closed to them"),
    }
}
