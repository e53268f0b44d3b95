//! The unlock key: a file outside the data directory whose key encrypts the node's sealing key.

use std::{io, os::unix::fs::PermissionsExt, path::Path};

use conclave_system::files;
use zeroize::Zeroize;

use super::seal::GenerationKey;

/// Rights by which users other than the owner can read or change a file, and by which its group can
/// change it. A group may read the key: secret stores mount files so.
const OTHERS: u32 = 0o027;

/// Reads the unlock key. Returns `None` if the file does not exist.
pub(crate) fn read(path: &Path) -> io::Result<Option<GenerationKey>> {
    let mut text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let key = parse(text.trim());
    text.zeroize();
    key.map(Some)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not 64 hexadecimal digits"))
}

/// Writes a new random key to the file, readable by this user only.
pub(crate) fn make(path: &Path) -> io::Result<GenerationKey> {
    let key = GenerationKey::make();
    let mut text: String = key.expose().iter().map(|byte| format!("{byte:02x}")).collect();
    text.push('\n');
    let written = files::write_private(path, text.as_bytes());
    text.zeroize();
    written.map(|()| key)
}

fn parse(text: &str) -> Option<GenerationKey> {
    conclave_store::id::Fingerprint::parse(text).map(|bytes| GenerationKey::from_bytes(bytes.0))
}

/// Checks whether the unlock key can be read, or its file be made.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    if read(path)?.is_some() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    match std::fs::metadata(parent)?.is_dir() {
        true => Ok(()),
        false => Err(io::Error::from(io::ErrorKind::NotADirectory)),
    }
}

/// Returns what is wrong with the rights on the file of the unlock key: other users can read it or
/// put another one in its place.
pub fn exposure(path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    let shown = path.display();
    (mode & OTHERS != 0).then(|| {
        format!("other users can use the unlock key {shown} (mode {mode:o}): chmod 600 {shown}")
    })
}

/// Reads the unlock key, or makes one if the file does not exist.
pub(crate) fn read_or_make(path: &Path) -> io::Result<GenerationKey> {
    match read(path)? {
        Some(key) => Ok(key),
        None => make(path),
    }
}
