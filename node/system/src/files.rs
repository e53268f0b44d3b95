//! Durable replacement of small files: after a power cut a file has its old or its new content,
//! never a part.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use ring::digest::{SHA256, digest};
use serde::Serialize;
use zeroize::Zeroize;

/// Returns the SHA-256 of `value` as compact JSON, for the checksum field of a JSON file. That
/// field must be unset in `value`.
pub fn checksum(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut content = serde_json::to_vec(value)?;
    let checksum = digest(&SHA256, &content).as_ref().to_vec();
    content.zeroize();
    Ok(checksum)
}

/// Replaces the file at `path`, with mode 0600. Writes a temporary file beside it, syncs it,
/// renames it and syncs the directory.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    rename(Path::new(&temporary), path)
}

/// Renames a file within a directory and syncs the directory.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    sync_parent(to)
}

/// Removes a file and syncs the directory. A missing file is not an error.
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
