//! One-time migration of the State of version 0.1.0 into a home.
//!
//! The old database stays intact until the new one is durable under its final name, so a crash at
//! any step leaves one of the two.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use conclave_disk::{Disk, DiskOptions, OldTree};
use conclave_store::state::{State, StoredRow};

use crate::{
    OpenError,
    home::{Home, check_room},
    layout::{self, POINTER_KEY, POINTER_TREE, tree_name},
};

const OLD_CHECKPOINT_KEY: &[u8] = b"checkpoint";
const OLD_FORMAT: u8 = 1;

/// Migrates the database of version 0.1.0 in `old` to `new`, if there is one. `index_of` reads the
/// index from checkpoint bytes; `None` means that they are damaged.
pub fn migrate(
    old: &Path,
    new: &Path,
    options: &DiskOptions,
    index_of: impl Fn(&[u8]) -> Option<u64>,
) -> Result<(), OpenError> {
    let io_error = |path: &Path, source| {
        OpenError::Disk(conclave_disk::OpenError::Io { path: path.to_owned(), source })
    };
    if old.exists() && !new.exists() {
        let bytes = length(old).map_err(|source| io_error(old, source))?;
        check_room(old, 2, bytes)?;
        let unfinished = unfinished(new);
        remove(&unfinished).map_err(|source| io_error(&unfinished, source))?;
        write_new(old, &unfinished, options, index_of)?;
        std::fs::rename(&unfinished, new).map_err(|source| io_error(new, source))?;
        sync_parent(new).map_err(|source| io_error(new, source))?;
    }
    if old.exists() {
        remove(old).map_err(|source| io_error(old, source))?;
    }
    Ok(())
}

pub(crate) fn unfinished(new: &Path) -> PathBuf {
    let mut name = new.as_os_str().to_owned();
    name.push(".unfinished");
    PathBuf::from(name)
}

pub(crate) fn write_new(
    old: &Path,
    unfinished: &Path,
    options: &DiskOptions,
    index_of: impl Fn(&[u8]) -> Option<u64>,
) -> Result<(), OpenError> {
    let (state, checkpoint) = read_old(old, options)?;
    let home = Home::open(unfinished, options.clone())?.home;
    if let Some(bytes) = checkpoint {
        let index = index_of(&bytes).ok_or(OpenError::Layout("checkpoint"))?;
        home.install(home.stage(state, &bytes, index)?)?;
    }
    Ok(())
}

/// Reads the State from a database of version 0.1.0.
pub fn old_state(old: &Path, options: &DiskOptions) -> Result<State, OpenError> {
    Ok(read_old(old, options)?.0)
}

fn read_old(old: &Path, options: &DiskOptions) -> Result<(State, Option<Vec<u8>>), OpenError> {
    let disk = Disk::open(old, options.clone())?;
    let number = match disk.old_tree(POINTER_TREE)?.read(POINTER_KEY)? {
        Some(bytes) => layout::number(&bytes).ok_or(OpenError::Layout("pointer"))?,
        None => 0,
    };
    let (rows, checkpoint) = read_rows(&disk.old_tree(&tree_name(number))?)?;
    let state = State::load(rows);
    let Some(checkpoint) = checkpoint else {
        let is_new = state.row_count() == 0 && number == 0;
        return if is_new { Ok((state, None)) } else { Err(OpenError::Layout("checkpoint")) };
    };
    if (checkpoint.row_count, checkpoint.digest) != (state.row_count(), state.digest()) {
        let (found, expected) = (state.row_count(), checkpoint.row_count);
        return Err(OpenError::Digest { found, expected });
    }
    Ok((state, Some(checkpoint.bytes)))
}

type OldRows = (Vec<StoredRow>, Option<OldCheckpoint>);

fn read_rows(tree: &OldTree) -> Result<OldRows, OpenError> {
    let (mut rows, mut checkpoint) = (Vec::new(), None);
    for record in tree.range(..) {
        let (key, value) = record?;
        if key == OLD_CHECKPOINT_KEY {
            let found = OldCheckpoint::decode(&value);
            checkpoint = Some(found.ok_or(OpenError::Layout("checkpoint"))?);
        } else {
            rows.push(StoredRow::read(&key, &value)?);
        }
    }
    Ok((rows, checkpoint))
}

/// Checkpoint of version 0.1.0: format, count, digest, bytes.
pub(crate) struct OldCheckpoint {
    row_count: u64,
    digest: [u8; 32],
    bytes: Vec<u8>,
}

impl OldCheckpoint {
    fn decode(all: &[u8]) -> Option<OldCheckpoint> {
        let (format, rest) = all.split_first()?;
        let (row_count, rest) = rest.split_first_chunk::<8>()?;
        let (digest, bytes) = rest.split_first_chunk::<32>()?;
        (*format == OLD_FORMAT).then(|| OldCheckpoint {
            row_count: u64::from_be_bytes(*row_count),
            digest: *digest,
            bytes: bytes.to_vec(),
        })
    }

    #[cfg(test)]
    pub(crate) fn encode_of(state: &State, bytes: &[u8]) -> Vec<u8> {
        let count = state.row_count().to_be_bytes();
        [&[OLD_FORMAT], &count[..], &state.digest()[..], bytes].concat()
    }
}

/// Returns the bytes of all files below a directory.
fn length(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.metadata()?;
        bytes += if kind.is_dir() { length(&entry.path())? } else { kind.len() };
    }
    Ok(bytes)
}

fn remove(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{check, meaning};

    #[test]
    fn what_0_1_0_kept_beside_the_rows_is_read_as_it_was_written() {
        check("sled-layout.tsv", &[], &|name, bytes| match name {
            "checkpoint" => {
                let found = OldCheckpoint::decode(bytes)?;
                let count = found.row_count.to_be_bytes();
                let again = [&[OLD_FORMAT], &count[..], &found.digest[..], &found.bytes].concat();
                Some((meaning(&(found.row_count, found.digest, &found.bytes)), again))
            }
            _ => {
                let number = layout::number(bytes)?;
                Some((meaning(&tree_name(number)), number.to_be_bytes().to_vec()))
            }
        });
    }
}
