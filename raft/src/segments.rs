//! The log on disk: append-only segments of one length. Each group of records takes one write and
//! one device sync.
//!
//! `raft/DESIGN.md` argues why synced data cannot be lost unnoticed.

mod depot;
mod format;
mod index;
mod open;
#[cfg(test)]
pub(crate) mod tests;
use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use conclave_disk::Files;

pub(crate) use crate::types::GroupPoint;
pub(crate) use depot::Depot;
pub(crate) use open::{OpenSegments, ReadSegments, SegmentsError, open, read};

use self::{
    depot::Segment,
    format::{BLOCK_BYTES, GroupBuffer, read_record},
    index::{Index, Place},
};
use crate::{
    engine::{EntryReader, LogEngine, LogFault, LogPoint, Record},
    limits::SEGMENT_BYTES,
    types::Position,
    wire::{self, EntryV1, NoteV1},
};

/// Name of the segments' directory, inside the directory of the log.
pub(crate) const SEGMENTS: &str = "segments";

/// Owner of a log. Segments of another owner are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogId {
    pub(crate) cluster: [u8; 16],
    pub(crate) incarnation: u64,
}

/// Source of randomness, passed in by the caller.
pub(crate) type Entropy = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// The log on disk, owned by its single writer.
pub(crate) struct Segments {
    shared: Arc<Shared>,
    depot: Arc<Depot>,
    current: Segment,
    /// Offset of the next group in the current segment.
    offset: usize,
    point: GroupPoint,
    buffer: GroupBuffer,
    /// Whether a write or sync has failed; then nothing is written any longer. After a failed sync
    /// the kernel may have dropped the written pages, and yet the next sync would succeed.
    failed: bool,
}

/// State shared by the readers and the writer.
struct Shared {
    index: Mutex<Index>,
}

impl Shared {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Segments {
    fn new(
        index: Index,
        depot: Arc<Depot>,
        current: Segment,
        offset: usize,
        point: GroupPoint,
    ) -> Segments {
        let shared = Arc::new(Shared { index: Mutex::new(index) });
        let buffer = GroupBuffer::default();
        Segments { shared, depot, current, offset, point, buffer, failed: false }
    }

    /// Collects the messages in the buffer. Switches to a new segment if they do not fit into the
    /// current one. Returns the offset of each message in the group.
    fn gather(&mut self, messages: &[Vec<u8>]) -> Result<Vec<u32>, LogFault> {
        self.buffer.clear();
        let is_first = self.offset == BLOCK_BYTES;
        let offsets = self.push_all(messages, is_first)?;
        if self.offset + self.buffer.padded_bytes() <= segment_length() {
            return Ok(offsets);
        }
        let next = self.depot.take_next()?;
        self.shared.index().segments.insert(next.number, Arc::clone(&next.file));
        self.current = next;
        self.offset = BLOCK_BYTES;
        self.buffer.clear();
        let offsets = self.push_all(messages, true)?;
        if self.offset + self.buffer.padded_bytes() > segment_length() {
            return Err(LogFault::TooLarge { bytes: self.buffer.padded_bytes() });
        }
        Ok(offsets)
    }

    /// Adds the messages to the buffer. The first group of a segment begins with a note that sums
    /// up the earlier segments, so that those can be recycled.
    fn push_all(&mut self, messages: &[Vec<u8>], is_first: bool) -> Result<Vec<u32>, LogFault> {
        if is_first {
            let base = self.shared.index().base();
            self.buffer.push(&wire::encode(&base)?)?;
        }
        messages.iter().map(|message| Ok(self.buffer.push(message)?)).collect()
    }

    fn write_group(&mut self) -> Result<(), LogFault> {
        let (bytes, point) = self.buffer.seal(&self.current.salt, self.point);
        let offset = u64::try_from(self.offset).map_err(|_| LogFault::Number)?;
        let file = &self.current.file;
        let written = file.write_at(bytes, offset).and_then(|()| self.depot.sync(&**file));
        if let Err(source) = written {
            self.failed = true;
            let file = self.depot.files.path().join(Depot::name(self.current.number));
            return Err(LogFault::Disk { file, source });
        }
        self.offset += bytes.len();
        self.point = point;
        Ok(())
    }

    /// Returns segments without entries to the depot.
    fn recycle(&mut self) {
        let gone = self.shared.index().take_unused(self.current.number);
        if !gone.is_empty() {
            self.depot.give_back(gone);
        }
    }
}

fn segment_length() -> usize {
    usize::try_from(SEGMENT_BYTES).unwrap_or(usize::MAX)
}

impl LogEngine for Segments {
    fn write(&mut self, records: &[Record]) -> Result<(), LogFault> {
        if self.failed {
            return Err(LogFault::Stopped);
        }
        if records.is_empty() {
            return Ok(());
        }
        let messages = records.iter().map(Record::encode).collect::<Result<Vec<_>, _>>()?;
        let offsets = self.gather(&messages)?;
        let start = u32::try_from(self.offset).map_err(|_| LogFault::Number)?;
        self.write_group()?;
        let number = self.current.number;
        let mut has_purged = false;
        {
            let mut index = self.shared.index();
            for ((record, message), offset) in records.iter().zip(&messages).zip(offsets) {
                match record {
                    Record::Entry(entry) => {
                        let length = u32::try_from(message.len()).map_err(|_| LogFault::Number)?;
                        let offset = start + offset;
                        let position = entry.position;
                        index.push(Place { position, segment: number, offset, length });
                    }
                    Record::Note(note) => {
                        has_purged |= matches!(note, NoteV1::Purged(_));
                        index.note(note);
                    }
                }
            }
        }
        if has_purged {
            self.recycle();
        }
        Ok(())
    }

    fn reader(&self) -> Arc<dyn EntryReader> {
        let shared = Arc::clone(&self.shared);
        Arc::new(SegmentReader { shared, dir: self.depot.files.path() })
    }

    fn point(&self) -> LogPoint {
        let index = self.shared.index();
        LogPoint {
            group: self.point,
            last: index.last,
            purged: index.purged,
            committed: index.committed,
            bytes: index.bytes,
        }
    }

    fn has_room(&self) -> bool {
        !self.depot.is_low()
    }
}

/// Reader of entries, while the writer continues.
struct SegmentReader {
    shared: Arc<Shared>,
    /// For errors.
    dir: PathBuf,
}

impl EntryReader for SegmentReader {
    fn read(&self, start: u64, end: u64, bytes_max: u64) -> io::Result<Vec<EntryV1>> {
        let found = self.shared.index().find(start, end, bytes_max);
        let mut entries = Vec::with_capacity(found.len());
        for (place, file) in found {
            let bytes = read_record(&*file, place.offset, place.length).map_err(|error| {
                let path = self.dir.join(Depot::name(place.segment));
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            })?;
            match wire::decode::<EntryV1>(&bytes) {
                Ok(entry) if entry.position == place.position => entries.push(entry),
                // The segment was recycled and reused meanwhile.
                _ if self.shared.index().lacks(place.position) => break,
                Ok(_) => return Err(damaged(place.position)),
                Err(error) => return Err(io::Error::new(damaged(place.position).kind(), error)),
            }
        }
        Ok(entries)
    }
}

fn damaged(position: Position) -> io::Error {
    let what = format!("entry {} of the log is damaged on disk", position.index);
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Creates the files of a new log: one empty segment, durable on return.
pub(crate) fn create(
    files: Arc<dyn Files>,
    id: LogId,
    entropy: Entropy,
) -> Result<OpenSegments, LogFault> {
    let depot = Arc::new(Depot::new(files, id, entropy, 1, Vec::new(), VecDeque::new()));
    let first = depot.take_next()?;
    let mut index = Index::default();
    index.segments.insert(first.number, Arc::clone(&first.file));
    let segments =
        Segments::new(index, Arc::clone(&depot), first, BLOCK_BYTES, GroupPoint::default());
    Ok(OpenSegments { segments, depot })
}
