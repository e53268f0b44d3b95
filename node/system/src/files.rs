//! Small files that must be whole or absent after a power cut.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use ring::digest::{SHA256, digest};
use serde::Serialize;
use zeroize::Zeroize;

/// SHA-256 of a value as compact JSON: the checksum of a file that is JSON. The value has none.
pub fn checksum(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut content = serde_json::to_vec(value)?;
    let checksum = digest(&SHA256, &content).as_ref().to_vec();
    content.zeroize();
    Ok(checksum)
}

/// Replaces `path` by `content`, mode 0600: written beside it, synced, renamed, directory synced.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    rename(Path::new(&temporary), path)
}

/// Renames within a directory, durably.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    sync_parent(to)
}

/// Removes a file durably; one that is not there is no error.
pub fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.and_then(|()| sync_parent(path)),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
