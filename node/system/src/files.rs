//! Durable replacement of small files: after a power cut a file has its old or its new content,
//! never a part.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
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
/// renames it and syncs the directory. The temporary file is always a new one: another one of its name
/// could be a link, or have rights for others.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let leftover = std::fs::remove_file(&temporary);
    if let Err(error) = leftover
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    rename(Path::new(&temporary), path)
}

/// Returns the mode of a directory that users other than its owner can enter or read.
pub fn rights_of_others(directory: &Path) -> Option<u32> {
    let mode = std::fs::metadata(directory).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_others_can_enter_is_found() {
        let dir = tempfile::tempdir().unwrap();
        for (mode, found) in [(0o700, None), (0o750, Some(0o750)), (0o711, Some(0o711))] {
            let rights = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(dir.path(), rights).unwrap();
            assert_eq!(rights_of_others(dir.path()), found);
        }
    }

    #[test]
    fn a_planted_file_gets_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let [path, planted, elsewhere] =
            ["key", "key.new", "elsewhere"].map(|name| dir.path().join(name));
        let mode = || path.metadata().unwrap().permissions().mode() & 0o777;
        std::fs::write(&planted, "").unwrap();
        std::fs::set_permissions(&planted, std::fs::Permissions::from_mode(0o666)).unwrap();
        write_private(&path, b"one").unwrap();
        assert_eq!((std::fs::read(&path).unwrap(), mode()), (b"one".to_vec(), 0o600));
        std::os::unix::fs::symlink(&elsewhere, &planted).unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!((std::fs::read(&path).unwrap(), mode()), (b"two".to_vec(), 0o600));
        assert!(!elsewhere.exists());
    }
}
