//! Files that only their owner may read. The umask does not decide that: it may be anything.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use tracing::warn;

/// For the owner to read and write, for nobody else.
const OWNER_ONLY: u32 = 0o600;

/// Makes an empty file, unless there is one.
///
/// # Errors
/// When it cannot be made.
pub fn create_empty(path: &Path) -> io::Result<()> {
    match create(path, b"") {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Makes a file with this content, durably. It is never open to others, not even before it has its content.
///
/// # Errors
/// When there is one already, or it cannot be made.
pub fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path)?;
    // A umask may have taken from it what its owner needs.
    file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
    file.write_all(content)?;
    file.sync_all()
}

/// Takes from a file of ours what others may do with it. It may have been made by an earlier version, or copied.
///
/// By its path, and without opening it: a process that closes any descriptor of a database file loses its locks on it.
pub fn tighten(path: &Path) {
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
