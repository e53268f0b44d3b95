//! What the log needs of whatever keeps it: groups of records, each durable as a whole.

use std::{io, path::PathBuf, sync::Arc};

use crate::{
    types::{GroupPoint, Position},
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

/// What is wrong with a log. The node must not vote again under its id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogDamage {
    /// Segments without the marker.
    #[error("there are segments of a log, but no marker")]
    MarkerMissing,
    /// A marker without segments.
    #[error("there is a marker, but no segment of its log")]
    LogMissing,
    /// The log is shorter than it was.
    #[error("the log ends at group {found}, but group {expected} was durable")]
    GroupsLost {
        /// The newest group that is there.
        found: u64,
        /// A group that was durable.
        expected: u64,
    },
    /// Another group is in the place of one that was durable.
    #[error("a group is not the one that was durable")]
    GroupReplaced,
    /// A group in the middle cannot be read.
    #[error("the group at byte {offset} is damaged; groups behind it are whole")]
    GroupDamaged {
        /// Where it begins.
        offset: usize,
    },
    /// A group in the middle is missing.
    #[error("the group that follows group {after} is missing")]
    GroupMissing {
        /// The newest group before the gap.
        after: u64,
    },
    /// A file is missing in the middle.
    #[error("this segment is missing")]
    SegmentMissing,
    /// What the marker of a log in sled calls the newest entry is not there.
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
    /// The log begins after the end of the state.
    #[error("the state is durable up to entry {found}, but the log begins after entry {purged}")]
    StateLost {
        /// Entries up to this one are no longer in the log.
        purged: u64,
        /// Last entry whose effect is in the state.
        found: u64,
    },
    /// A record cannot be read.
    #[error("a record is damaged")]
    Record,
    /// A record is whole, but not of a kind that this version knows.
    #[error("a record was written by a later version")]
    LaterVersion,
}
