//! One-time migration of the log of version 0.1.0, which was kept in sled, to segments.
//!
//! The old log stays intact until the new one is durable under its final name, so a crash at any
//! step leaves one of the two.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use conclave_disk::{Directory, Disk, DiskOptions, Files, Marker, OpenError};

use crate::{
    engine::{LogDamage, LogEngine, Record},
    limits::{CREATE_BYTES, MIGRATE_RECORDS},
    mark::{self, LogOpenError, MARKER},
    segments::{Entropy, LogId, SEGMENTS},
    types::Position,
    wire::{self, EntryV1, MarkV1, NoteV1},
};

#[cfg(test)]
mod tests;
const UNFINISHED: &str = "segments.new";
const OLD_LOG: &str = "log";

/// Migrates a log of version 0.1.0 in `dir` to segments, if there is one.
pub(crate) fn migrate(dir: &Path, id: LogId, entropy: &Entropy) -> Result<(), LogOpenError> {
    let (old, new) = (dir.join(OLD_LOG), dir.join(SEGMENTS));
    let has_old = old.exists() || dir.join(MARKER).exists();
    if has_old && !new.exists() {
        check_room(dir, &old)?;
        write_new(dir, id, entropy)?;
    }
    if has_old {
        remove_old(dir).map_err(|source| LogOpenError::Io { path: old, source })?;
    }
    Ok(())
}

/// Checks the free space. The old log stays until the new one is complete, so there must be room
/// for both.
fn check_room(dir: &Path, old: &Path) -> Result<(), LogOpenError> {
    let measured = || -> io::Result<(u64, u64)> {
        Ok((conclave_disk::space(dir)?.free, CREATE_BYTES + length(old)?))
    };
    let io_error = |source| LogOpenError::Io { path: dir.to_owned(), source };
    let (free, wanted) = measured().map_err(io_error)?;
    match free < wanted {
        true => Err(LogOpenError::DiskFull { path: dir.to_owned(), free, wanted }),
        false => Ok(()),
    }
}

/// Returns the bytes of all files below a directory.
fn length(dir: &Path) -> io::Result<u64> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut bytes = 0;
    for entry in entries {
        let entry = entry?;
        let kind = entry.metadata()?;
        bytes += if kind.is_dir() { length(&entry.path())? } else { kind.len() };
    }
    Ok(bytes)
}

/// Content of the old log.
struct OldLog {
    mark: MarkV1,
    entries: Vec<EntryV1>,
}

fn read_old(dir: &Path, id: LogId) -> Result<OldLog, LogOpenError> {
    let path = dir.join(OLD_LOG);
    let damaged = |damage| match damage {
        LogDamage::LaterVersion => LogOpenError::LaterVersion { path: path.clone() },
        damage => LogOpenError::Damaged { path: path.clone(), damage },
    };
    let files = Directory::open(dir)
        .map_err(|source| LogOpenError::Open(OpenError::Io { path: dir.to_owned(), source }))?;
    let (_, payload) = Marker::open(&files, MARKER)?;
    let payload = payload.ok_or_else(|| damaged(LogDamage::MarkerMissing))?;
    let mark = wire::decode::<MarkV1>(&payload).map_err(|error| damaged(error.into()))?;
    if mark.cluster != id.cluster {
        return Err(damaged(LogDamage::OtherCluster));
    }
    if !path.exists() {
        // The marker was created before the log. If it names an entry, the check below notices that
        // the log is missing.
        let log = OldLog { mark, entries: Vec::new() };
        return check_last(log).map_err(damaged);
    }
    let disk = Disk::open(&path, DiskOptions::default())?;
    let mut entries: Vec<EntryV1> = Vec::new();
    let purged = mark.purged.map(|purged| purged.index);
    for record in disk.old_tree("entries")?.range(..) {
        let (key, value) = record?;
        let entry = wire::decode::<EntryV1>(&value).map_err(|error| damaged(error.into()))?;
        let index = entry.position.index;
        if key != index.to_be_bytes() {
            return Err(damaged(LogDamage::Record));
        }
        if purged.is_some_and(|purged| index <= purged) {
            continue;
        }
        let before = entries.last().map(|before| before.position.index).or(purged);
        let is_next = before.map_or(index <= 1, |before| before + 1 == index);
        if !is_next {
            let missing = before.map_or(0, |before| before + 1);
            return Err(damaged(LogDamage::Gap { missing }));
        }
        entries.push(entry);
    }
    check_last(OldLog { mark, entries }).map_err(damaged)
}

/// Checks that the log contains the newest entry named by the marker. More entries are normal,
/// because the marker lags behind.
fn check_last(log: OldLog) -> Result<OldLog, LogDamage> {
    let is_purged = |last: &Position| log.mark.purged.is_some_and(|p| p.index >= last.index);
    let Some(expected) = log.mark.last.filter(|last| !is_purged(last)) else { return Ok(log) };
    let found = log.entries.iter().map(|entry| entry.position);
    let found = found.into_iter().find(|position| position.index == expected.index);
    if found == Some(expected) { Ok(log) } else { Err(LogDamage::EntryLost { expected, found }) }
}

fn write_new(dir: &Path, id: LogId, entropy: &Entropy) -> Result<(), LogOpenError> {
    let old = read_old(dir, id)?;
    let unfinished = dir.join(UNFINISHED);
    let io_error = |source| LogOpenError::Io { path: unfinished.clone(), source };
    match std::fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(error)),
        _ => {}
    }
    let files: Arc<dyn Files> = Arc::new(Directory::open(&unfinished).map_err(io_error)?);
    let mut log = mark::open(files, id, Arc::clone(entropy), u64::MAX)?;
    fill(log.engine.as_mut(), &old).map_err(io_error)?;
    log.mark.vote = old.mark.vote;
    log.mark.witness = Some(log.engine.point().group);
    mark::write_vote(&mut log.marker, &log.mark)?;
    std::fs::rename(&unfinished, dir.join(SEGMENTS)).map_err(io_error)?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_error)?;
    tracing::info!(event = "raft.log_rewritten", entries = old.entries.len());
    Ok(())
}

fn fill(engine: &mut dyn LogEngine, old: &OldLog) -> io::Result<()> {
    let mut write = |records: &[Record]| engine.write(records).map_err(io::Error::other);
    if let Some(purged) = old.mark.purged {
        write(&[Record::Note(NoteV1::Purged(purged))])?;
    }
    for entries in old.entries.chunks(MIGRATE_RECORDS) {
        let records = entries.iter().cloned().map(Record::Entry);
        write(&records.collect::<Vec<_>>())?;
    }
    let last = old.entries.last().map(|entry| entry.position).or(old.mark.purged);
    match old.mark.committed.filter(|committed| Some(*committed) <= last) {
        Some(committed) => write(&[Record::Note(NoteV1::Committed(committed))]),
        None => Ok(()),
    }
}

/// Removes the old log, once the new one is durable. The marker goes last: while it exists, a
/// missing old log is still noticed.
fn remove_old(dir: &Path) -> io::Result<()> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    gone(std::fs::remove_dir_all(dir.join(OLD_LOG)))?;
    gone(std::fs::remove_file(dir.join(MARKER)))?;
    File::open(dir)?.sync_all()
}

/// Returns the directory of the segments.
pub(crate) fn segments_path(dir: &Path) -> PathBuf {
    dir.join(SEGMENTS)
}
