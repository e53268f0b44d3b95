//! Interface between the log and its storage: groups of records, each made durable as a whole.

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
    /// A note about earlier entries: truncated, purged or committed.
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

/// Extent of the durable log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogPoint {
    /// The newest group.
    pub(crate) group: GroupPoint,
    /// The newest entry; if all were purged, the position that the next entry follows.
    pub(crate) last: Option<Position>,
    /// The newest purged entry.
    pub(crate) purged: Option<Position>,
    /// The newest entry known to be committed.
    pub(crate) committed: Option<Position>,
    /// Bytes of all entries.
    pub(crate) bytes: u64,
}

/// Failure to make a group durable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LogFault {
    /// The disk failed. The group may or may not be on disk, and nothing more is written.
    #[error("cannot write {file}: {source}")]
    Disk {
        /// The file.
        file: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The disk is full and the reserve is used up. Nothing was written; the same group may be
    /// retried.
    #[error("the disk is full")]
    NoRoom,
    /// An earlier group failed.
    #[error("the log has stopped after a failure")]
    Stopped,
    /// A group does not fit into a segment: a bug in the caller.
    #[error("a group of {bytes} bytes is larger than a segment")]
    TooLarge {
        /// Bytes of the group.
        bytes: usize,
    },
    /// A number is out of range: a bug.
    #[error("a number of the log is out of its range")]
    Number,
    /// A record cannot be encoded: a bug in the caller.
    #[error(transparent)]
    Encode(#[from] WireError),
}

/// Storage of the log, with a single writer.
pub(crate) trait LogEngine: Send {
    /// Makes `records` durable, all or none, in this order. Blocks for one device sync. After any
    /// error except [`LogFault::NoRoom`] the log must not be written again.
    fn write(&mut self, records: &[Record]) -> Result<(), LogFault>;
    /// Returns a reader of entries that works while the writer continues.
    fn reader(&self) -> Arc<dyn EntryReader>;
    /// Returns the extent of the durable log.
    fn point(&self) -> LogPoint;
    /// Returns whether there is room for more than Raft's own records.
    fn has_room(&self) -> bool;
}

/// Reader of durable entries.
pub(crate) trait EntryReader: Send + Sync {
    /// Reads the existing entries in `start..end`, in order: at most about `bytes_max` bytes, but
    /// at least one entry.
    fn read(&self, start: u64, end: u64, bytes_max: u64) -> io::Result<Vec<EntryV1>>;
}

/// Damage found in a log. A node with a damaged log must not vote again under its id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogDamage {
    /// Segments exist, but no marker.
    #[error("there are segments of a log, but no marker")]
    MarkerMissing,
    /// A marker exists, but no segments.
    #[error("there is a marker, but no segment of its log")]
    LogMissing,
    /// The log ends before a group that was durable.
    #[error("the log ends at group {found}, but group {expected} was durable")]
    GroupsLost {
        /// The newest group found.
        found: u64,
        /// A durable group.
        expected: u64,
    },
    /// A group differs from the durable group of the same number.
    #[error("a group is not the one that was durable")]
    GroupReplaced,
    /// A group in the middle cannot be read.
    #[error("the group at byte {offset} is damaged; groups behind it are whole")]
    GroupDamaged {
        /// Offset of the group in its segment.
        offset: usize,
    },
    /// A group in the middle is missing.
    #[error("the group that follows group {after} is missing")]
    GroupMissing {
        /// The newest group before the gap.
        after: u64,
    },
    /// A segment in the middle is missing.
    #[error("this segment is missing")]
    SegmentMissing,
    /// The newest entry named by the marker of a version 0.1.0 log is missing or differs.
    #[error("the marker says that entry {expected:?} was durable, the log has {found:?} there")]
    EntryLost {
        /// The durable entry.
        expected: Position,
        /// The entry found at that index.
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
    /// A record is intact, but of a kind unknown to this version.
    #[error("a record was written by a later version")]
    LaterVersion,
}
