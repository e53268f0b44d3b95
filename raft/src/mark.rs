//! Opening the log: what the marker says must be there, is there, or the node refuses to start.
//!
//! The argument why this is safe stands in `raft/DESIGN.md`.

use std::path::{Path, PathBuf};

use conclave_disk::{Disk, DiskOptions, Fault, Marker, OpenError, Tree};

use crate::{
    machine::Checkpoint,
    types::Position,
    wire::{self, CheckpointV1, EntryV1, MarkV1, WireError},
};

/// What is wrong with a log. The node must not vote again under its id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogDamage {
    /// A database without its marker.
    #[error("the log has no marker")]
    MarkerMissing,
    /// The marker of a log that is not there.
    #[error("the marker says that the log reaches {last}, but there is no log")]
    LogMissing {
        /// Index of the last entry that was durable.
        last: u64,
    },
    /// The log is shorter than it was, or goes on differently.
    #[error("the marker says that entry {expected:?} was durable, the log has {found:?} there")]
    EntryLost {
        /// What was durable.
        expected: Position,
        /// What the log has at that index.
        found: Option<Position>,
    },
    /// Entries are missing in the middle.
    #[error("entry {missing} is missing in the log")]
    Gap {
        /// Index of the first missing entry.
        missing: u64,
    },
    /// The log belongs to another cluster.
    #[error("the log belongs to another cluster")]
    OtherCluster,
    /// The state is older than it was, or differs from what it was.
    #[error("the state was durable up to {expected:?}, but is at {found:?}")]
    StateLost {
        /// Last entry whose effect was durable.
        expected: Option<Position>,
        /// Last entry whose effect is there.
        found: Option<Position>,
    },
    /// A record cannot be read.
    #[error("a record of the log or its marker is damaged")]
    Record,
    /// A record is whole, but not of a kind that this version knows.
    #[error("a record was written by a later version")]
    LaterVersion,
}

impl From<WireError> for LogDamage {
    fn from(error: WireError) -> LogDamage {
        if error.is_of_later_version() { LogDamage::LaterVersion } else { LogDamage::Record }
    }
}

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogOpenError {
    /// The disk refuses.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The disk fails.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Nothing is lost, but this version cannot read it.
    #[error("the log in {path} was written by a later version of this program")]
    LaterVersion {
        /// Directory of the log.
        path: PathBuf,
    },
    /// What is there is not what was there.
    #[error("the log in {path} has lost what it had acknowledged: {damage}")]
    Damaged {
        /// Directory of the log.
        path: PathBuf,
        /// What is wrong.
        #[source]
        damage: LogDamage,
    },
}

/// A log that is what its marker says.
pub(crate) struct OpenLog {
    pub(crate) disk: Disk,
    pub(crate) entries: Tree,
    pub(crate) marker: Marker,
    pub(crate) mark: MarkV1,
    pub(crate) last: Option<Position>,
}

/// Key of an entry: its index, so that the order of keys is the order of the log.
pub(crate) fn entry_key(index: u64) -> [u8; 8] {
    index.to_be_bytes()
}

/// Opens the log in `dir`, or makes one for a node that never had one.
pub(crate) fn open(
    dir: &Path,
    cluster: [u8; 16],
    incarnation: u64,
    checkpoint: &Checkpoint,
) -> Result<OpenLog, LogOpenError> {
    let damaged = |damage| match damage {
        LogDamage::LaterVersion => LogOpenError::LaterVersion { path: dir.to_owned() },
        damage => LogOpenError::Damaged { path: dir.to_owned(), damage },
    };
    let database = dir.join("log");
    let had_database = database.exists();
    std::fs::create_dir_all(dir)
        .map_err(|source| OpenError::Io { path: dir.to_owned(), source })?;
    let (mut marker, payload) = Marker::open(&dir.join("marker"))?;
    let mark = match payload {
        Some(bytes) => wire::decode::<MarkV1>(&bytes).map_err(|error| damaged(error.into()))?,
        None if had_database => return Err(damaged(LogDamage::MarkerMissing)),
        None => {
            // The marker comes before the database, so that the one never lacks the other.
            let mark = new_mark(cluster, incarnation);
            write(&mut marker, &mark)?;
            mark
        }
    };
    if mark.cluster != cluster {
        return Err(damaged(LogDamage::OtherCluster));
    }
    let disk = Disk::open(&database, DiskOptions::default())?;
    let entries = disk.tree("entries")?;
    let last = check_entries(&entries, &mark, disk.was_created()).map_err(|error| match error {
        Checked::Damage(damage) => damaged(damage),
        Checked::Fault(fault) => fault.into(),
    })?;
    check_state(&mark, checkpoint).map_err(damaged)?;
    Ok(OpenLog { disk, entries, marker, mark, last })
}

/// Makes `mark` durable.
pub(crate) fn write(marker: &mut Marker, mark: &MarkV1) -> Result<(), Fault> {
    let bytes = wire::encode(mark).map_err(|_| Fault::Damaged { tree: "marker".to_owned() })?;
    marker.write(&bytes)
}

fn new_mark(cluster: [u8; 16], incarnation: u64) -> MarkV1 {
    MarkV1 {
        cluster,
        incarnation,
        vote: None,
        last: None,
        purged: None,
        committed: None,
        applied: None,
        row_count: 0,
        digest: [0; 32],
    }
}

enum Checked {
    Damage(LogDamage),
    Fault(Fault),
}

impl From<LogDamage> for Checked {
    fn from(damage: LogDamage) -> Checked {
        Checked::Damage(damage)
    }
}

impl From<Fault> for Checked {
    fn from(fault: Fault) -> Checked {
        Checked::Fault(fault)
    }
}

/// Finishes an interrupted purge, then walks the log: no gap, and the last durable entry is
/// there. More than the marker knows is normal; less is not.
fn check_entries(
    entries: &Tree,
    mark: &MarkV1,
    was_created: bool,
) -> Result<Option<Position>, Checked> {
    let purged = mark.purged.map_or(0, |position| position.index);
    let expected =
        mark.last.filter(|last| mark.purged.is_none_or(|purged| last.index > purged.index));
    if let (Some(expected), true) = (expected, was_created) {
        return Err(LogDamage::LogMissing { last: expected.index }.into());
    }
    let mut leftovers = conclave_disk::Batch::default();
    let mut last = mark.purged;
    let mut found_at_expected = None;
    for record in entries.range(..) {
        let (key, value) = record?;
        let entry = wire::decode::<EntryV1>(&value).map_err(LogDamage::from)?;
        let position = entry.position;
        if key != entry_key(position.index) {
            return Err(LogDamage::Record.into());
        }
        if mark.purged.is_some() && position.index <= purged {
            leftovers.remove(&key);
            continue;
        }
        let next = last.map_or(position.index, |last: Position| last.index + 1);
        if position.index != next || (last.is_none() && position.index > 1) {
            return Err(LogDamage::Gap { missing: next.min(position.index.max(1) - 1) }.into());
        }
        if expected.is_some_and(|expected| expected.index == position.index) {
            found_at_expected = Some(position);
        }
        last = Some(position);
    }
    if let Some(expected) = expected
        && found_at_expected != Some(expected)
    {
        return Err(LogDamage::EntryLost { expected, found: found_at_expected }.into());
    }
    entries.apply(leftovers)?;
    Ok(last)
}

/// The state may be ahead of the marker, never behind it, and at the same place it is the same.
fn check_state(mark: &MarkV1, checkpoint: &Checkpoint) -> Result<(), LogDamage> {
    let found = match &checkpoint.bytes {
        Some(bytes) => wire::decode::<CheckpointV1>(bytes)?.applied,
        None => None,
    };
    let lost = LogDamage::StateLost { expected: mark.applied, found };
    let index = |position: Option<Position>| position.map(|position| position.index);
    if index(found) < index(mark.applied) || index(found) < index(mark.purged) {
        return Err(lost);
    }
    let is_same = (checkpoint.row_count, checkpoint.digest) == (mark.row_count, mark.digest);
    if mark.applied.is_some() && index(found) == index(mark.applied) {
        let is_there = found == mark.applied && is_same;
        return if is_there { Ok(()) } else { Err(lost) };
    }
    Ok(())
}
