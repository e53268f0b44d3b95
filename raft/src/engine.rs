//! What the log needs of whatever keeps it: groups of records, each durable as a whole.

use std::{io, path::PathBuf, sync::Arc};

use crate::{
    segments::GroupPoint,
    types::Position,
    wire::{self, EntryV1, NoteV1, WireError},
};

/// One record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// An entry at the end of the log.
    Entry(EntryV1),
    /// What became of the entries so far.
    Note(NoteV1),
}

impl Record {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, WireError> {
        match self {
            Record::Entry(entry) => wire::encode(entry),
            Record::Note(note) => wire::encode(note),
        }
    }
}

/// How far the durable log reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogPoint {
    /// The newest group.
    pub(crate) group: GroupPoint,
    /// The newest entry, or where the next one follows.
    pub(crate) last: Option<Position>,
    /// Entries up to this one are gone.
    pub(crate) purged: Option<Position>,
    /// The newest entry that is known to be committed.
    pub(crate) committed: Option<Position>,
    /// Bytes of all entries.
    pub(crate) bytes: u64,
}

/// Why a group is not durable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LogFault {
    /// The disk failed: what was written may be there or not, and nothing more is written.
    #[error("cannot write {file}: {source}")]
    Disk {
        /// Which file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The disk is full, the reserve too. Nothing was written; the same group may be tried
    /// again.
    #[error("the disk is full")]
    NoRoom,
    /// A group failed before.
    #[error("the log has stopped after a failure")]
    Stopped,
    /// A group does not fit into a segment: a bug of the caller.
    #[error("a group of {bytes} bytes is larger than a segment")]
    TooLarge {
        /// Bytes of the group.
        bytes: usize,
    },
    /// A number does not fit: a bug.
    #[error("a number of the log is out of its range")]
    Number,
    /// A record cannot be encoded: a bug of the caller.
    #[error(transparent)]
    Encode(#[from] WireError),
}

/// Keeps the log; one writer.
pub(crate) trait LogEngine: Send {
    /// Makes `records` durable, all or none, in this order. Blocks for one device sync. After
    /// any error but [`LogFault::NoRoom`] nothing can be written any more.
    fn write(&mut self, records: &[Record]) -> Result<(), LogFault>;
    /// Reads entries while the writer goes on.
    fn reader(&self) -> Arc<dyn EntryReader>;
    /// How far the durable log reaches.
    fn point(&self) -> LogPoint;
    /// Whether there is room for more than what Raft needs for itself.
    fn has_room(&self) -> bool;
}

/// Reads durable entries.
pub(crate) trait EntryReader: Send + Sync {
    /// Those entries in `start..end` that are there, in order: at most about `bytes_max` bytes, but
    /// at least one.
    fn read(&self, start: u64, end: u64, bytes_max: u64) -> io::Result<Vec<EntryV1>>;
}
