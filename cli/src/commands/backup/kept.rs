//! Backups in a directory: their names, and which ones are removed.

use std::{
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use conclave_backup::{Header, read_header};
use conclave_client::Failure;

use super::{super::unwritable, made, open};

/// End of the name of a complete backup.
const END: &str = ".backup";

/// Returns a name that sorts by time: `prod-20261128T195800Z-4711.backup`.
pub(super) fn file_name(header: &Header) -> String {
    let at = made(header);
    let seconds = at.split('.').next().unwrap_or_default();
    let digits: String = seconds.chars().filter(|c| c.is_ascii_digit() || *c == 'T').collect();
    format!("{}-{digits}Z-{}{END}", header.cluster, header.index)
}

/// Removes the oldest backups of this cluster beyond `keep`. A file that is not a readable backup of
/// this cluster stays, whatever its name. Returns the removed files.
pub(super) fn remove_older(
    dir: &Path,
    newest: &Header,
    keep: u32,
) -> Result<Vec<PathBuf>, Failure> {
    let entries = std::fs::read_dir(dir).map_err(|error| unwritable(dir, &error))?;
    let mut own: Vec<(u64, u64, PathBuf)> = Vec::new();
    for entry in entries.flatten() {
        let (path, is_file) = (entry.path(), entry.file_type().is_ok_and(|kind| kind.is_file()));
        if !is_file || !entry.file_name().as_bytes().ends_with(END.as_bytes()) {
            continue;
        }
        let header = open(&path).ok().and_then(|file| read_header(file).ok());
        let is_own = |header: &Header| {
            header.cluster_id == newest.cluster_id && header.fingerprint() == newest.fingerprint()
        };
        if let Some(header) = header.filter(is_own) {
            own.push((header.made.0, header.index.0, path));
        }
    }
    own.sort_unstable();
    let keep = usize::try_from(keep).unwrap_or(usize::MAX);
    own.truncate(own.len().saturating_sub(keep));
    let mut removed = Vec::new();
    for (_, _, path) in own {
        std::fs::remove_file(&path).map_err(|error| unwritable(&path, &error))?;
        removed.push(path);
    }
    Ok(removed)
}
