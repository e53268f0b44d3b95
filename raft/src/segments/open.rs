//! Opens a log and verifies that everything synced is present. Otherwise refuses the log and names
//! the damaged file.

use std::{collections::VecDeque, io, path::PathBuf, sync::Arc};

use conclave_disk::{DiskFile, Files};

use super::{
    Entropy, LogId, Segments,
    depot::{Depot, Segment},
    format::{BLOCK_BYTES, FoundGroup, SegmentHeader, group_at, sequence_at},
    index::{Index, Place},
    segment_length,
};
use crate::{
    engine::{EntryReader, LogDamage, LogEngine, LogPoint},
    types::{GroupPoint, Position},
    wire::{self, EntryV1, NoteV1},
};

/// A complete log, durable as it is.
pub(crate) struct OpenSegments {
    pub(crate) segments: Segments,
    pub(crate) depot: Arc<Depot>,
}

/// Error opening a log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SegmentsError {
    /// An operation of the operating system failed.
    #[error("cannot use {file}: {source}")]
    Disk {
        /// The file.
        file: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Durable data is missing or damaged.
    #[error("{file}: {damage}")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// The damage.
        #[source]
        damage: LogDamage,
    },
}

/// Reads every segment, checks every group and syncs all of them. Groups that a killed process left
/// unsynced count towards a quorum only after that. `witness` is a group known to have been
/// durable. Returns `None` if there are no segments.
pub(crate) fn open(
    files: Arc<dyn Files>,
    id: LogId,
    witness: GroupPoint,
    entropy: Entropy,
) -> Result<Option<OpenSegments>, SegmentsError> {
    let disk = |name: &str, source| {
        let file = files.path().join(name);
        SegmentsError::Disk { file, source }
    };
    let names = files.names().map_err(|source| disk("", source))?;
    for name in names.iter().filter(|name| Depot::is_unfinished(name)) {
        files.remove(name).map_err(|source| disk(name, source))?;
    }
    let Some(found) = scan(&files, id, witness, &names)? else { return Ok(None) };
    let end = &found.end;
    end.write_again().map_err(|source| disk(&Depot::name(end.segment.number), source))?;
    for file in found.index.segments.values() {
        sync_at_open(&**file).map_err(|source| disk("", source))?;
    }
    files.sync().map_err(|source| disk("", source))?;
    Ok(Some(found.into_open(files, id, entropy)))
}

/// A complete log that was only read.
pub(crate) struct ReadSegments {
    pub(crate) point: LogPoint,
    pub(crate) entries: Arc<dyn EntryReader>,
}

/// Reads and checks the log as [`open`] does, but changes nothing. What it finds may not be durable
/// yet. Returns `None` if there are no segments.
pub(crate) fn read(
    files: &Arc<dyn Files>,
    id: LogId,
    witness: GroupPoint,
) -> Result<Option<ReadSegments>, SegmentsError> {
    let disk = |source| SegmentsError::Disk { file: files.path(), source };
    let names = files.names().map_err(disk)?;
    let Some(found) = scan(files, id, witness, &names)? else { return Ok(None) };
    // Nothing is written, so no salt is needed.
    let no_entropy: Entropy = Arc::new(|_| ());
    let open = found.into_open(Arc::clone(files), id, no_entropy).segments;
    Ok(Some(ReadSegments { point: open.point(), entries: open.reader() }))
}

/// Content of a log on disk.
struct Found {
    index: Index,
    point: GroupPoint,
    end: End,
    ready: VecDeque<Segment>,
    spares: Vec<u64>,
    last: u64,
}

impl Found {
    fn into_open(self, files: Arc<dyn Files>, id: LogId, entropy: Entropy) -> OpenSegments {
        let Found { index, point, end, ready, spares, last } = self;
        let depot = Arc::new(Depot::new(files, id, entropy, last + 1, spares, ready));
        let segments = Segments::new(index, Arc::clone(&depot), end.segment, end.offset, point);
        OpenSegments { segments, depot }
    }
}

/// Reads every segment and checks every group. Changes nothing.
fn scan(
    files: &Arc<dyn Files>,
    id: LogId,
    witness: GroupPoint,
    names: &[String],
) -> Result<Option<Found>, SegmentsError> {
    let spares = names.iter().filter_map(|name| Depot::spare_number(name)).collect();
    let mut numbers: Vec<u64> =
        names.iter().filter_map(|name| Depot::segment_number(name)).collect();
    numbers.sort_unstable();
    let (Some(first), Some(last)) = (numbers.first().copied(), numbers.last().copied()) else {
        return Ok(None);
    };
    let mut scan = Scan {
        files: Arc::clone(files),
        id,
        index: Index::default(),
        point: None,
        witness,
        expected: first,
        end: None,
        ready: VecDeque::new(),
    };
    for number in numbers {
        scan.segment(number)?;
    }
    let ready = std::mem::take(&mut scan.ready);
    let (index, point, end) = scan.finish(last)?;
    Ok(Some(Found { index, point, end, ready, spares, last }))
}

/// Syncs a file. Until then, a power cut can still lose what a killed process wrote but did not
/// sync.
fn sync_at_open(file: &dyn DiskFile) -> io::Result<()> {
    #[cfg(conclave_sim)]
    if crate::mutant::is(crate::mutant::Mutant::NoSyncAtOpen) {
        return Ok(());
    }
    file.sync()
}

/// End of the log.
struct End {
    segment: Segment,
    offset: usize,
    /// Offset and bytes of the newest group, unless the witness proves that it was synced.
    unproved: Option<(usize, Vec<u8>)>,
}

impl End {
    /// Writes the newest group again. Its first sync may have failed. The kernel then counts its
    /// pages as clean, and no later sync would write them.
    fn write_again(&self) -> io::Result<()> {
        let Some((offset, bytes)) = &self.unproved else { return Ok(()) };
        let offset = u64::try_from(*offset).map_err(io::Error::other)?;
        self.segment.file.write_at(bytes, offset)
    }
}

/// One pass over all segments.
struct Scan {
    files: Arc<dyn Files>,
    id: LogId,
    index: Index,
    /// The newest group; `None` if no group has been found yet.
    point: Option<GroupPoint>,
    witness: GroupPoint,
    /// Number of the next segment.
    expected: u64,
    end: Option<End>,
    /// Segments behind the end: prepared but not yet used.
    ready: VecDeque<Segment>,
}

impl Scan {
    fn damaged(&self, number: u64, damage: LogDamage) -> SegmentsError {
        SegmentsError::Damaged { file: self.files.path().join(Depot::name(number)), damage }
    }

    fn read(&self, number: u64) -> Result<(Arc<dyn DiskFile>, Vec<u8>), SegmentsError> {
        let name = Depot::name(number);
        let read = || {
            let file = self.files.open(&name)?;
            let mut bytes = vec![0; segment_length()];
            file.read_at(&mut bytes, 0)?;
            Ok((file, bytes))
        };
        read().map_err(|source: io::Error| match source.kind() {
            // A segment gets its name only after its full length, so a short one is damaged.
            io::ErrorKind::UnexpectedEof => self.damaged(number, LogDamage::Record),
            _ => SegmentsError::Disk { file: self.files.path().join(&name), source },
        })
    }

    fn segment(&mut self, number: u64) -> Result<(), SegmentsError> {
        if number != self.expected {
            return Err(self.damaged(self.expected, LogDamage::SegmentMissing));
        }
        self.expected += 1;
        let (file, bytes) = self.read(number)?;
        let header = SegmentHeader::decode(&bytes)
            .filter(|header| header.number == number)
            .ok_or_else(|| self.damaged(number, LogDamage::Record))?;
        let id = LogId { cluster: header.cluster, incarnation: header.incarnation };
        if id != self.id {
            return Err(self.damaged(number, LogDamage::OtherCluster));
        }
        self.index.segments.insert(number, Arc::clone(&file));
        let (mut newest, mut offset) = (BLOCK_BYTES, BLOCK_BYTES);
        while let Some(group) = group_at(&bytes, offset, &header.salt) {
            self.group(number, &group)?;
            (newest, offset) = (offset, group.end);
        }
        self.no_group_behind(number, &bytes, offset, &header)?;
        let segment = Segment { number, salt: header.salt, file };
        // The log ends in the newest segment with a group, or in the first segment if none has one.
        if offset > BLOCK_BYTES || self.end.is_none() {
            let is_durable = self.point.unwrap_or_default().sequence <= self.witness.sequence;
            let group = bytes.get(newest..offset).unwrap_or_default().to_vec();
            let unproved = (!is_durable && !group.is_empty()).then_some((newest, group));
            self.end = Some(End { segment, offset, unproved });
            self.ready.clear();
        } else {
            self.ready.push_back(segment);
        }
        Ok(())
    }

    /// Checks that no group follows an unreadable one. A group is written only after the one before
    /// it was synced. A group behind an unreadable place therefore proves that a synced group is
    /// damaged there. If there is none, the last write was cut short at that place.
    fn no_group_behind(
        &self,
        number: u64,
        bytes: &[u8],
        offset: usize,
        header: &SegmentHeader,
    ) -> Result<(), SegmentsError> {
        let behind = (offset + BLOCK_BYTES..bytes.len()).step_by(BLOCK_BYTES);
        for block in behind {
            if sequence_at(bytes, block, &header.salt).is_some() {
                return Err(self.damaged(number, LogDamage::GroupDamaged { offset }));
            }
        }
        Ok(())
    }

    fn group(&mut self, number: u64, group: &FoundGroup<'_>) -> Result<(), SegmentsError> {
        if self.point.is_some_and(|point| point != group.before) {
            let after = self.point.map_or(0, |point| point.sequence);
            return Err(self.damaged(number, LogDamage::GroupMissing { after }));
        }
        let is_witness = group.point.sequence == self.witness.sequence;
        if is_witness && group.point != self.witness {
            return Err(self.damaged(number, LogDamage::GroupReplaced));
        }
        for (offset, record) in &group.records {
            self.record(number, *offset, record)?;
        }
        self.point = Some(group.point);
        Ok(())
    }

    fn record(&mut self, number: u64, offset: u32, record: &[u8]) -> Result<(), SegmentsError> {
        let damage = |error: wire::WireError| self.damaged(number, error.into());
        if wire::is_kind::<NoteV1>(record) {
            let note = wire::decode::<NoteV1>(record).map_err(damage)?;
            self.index.note(&note);
            return Ok(());
        }
        let entry = wire::decode::<EntryV1>(record).map_err(damage)?;
        let position = entry.position;
        if self.index.next().is_some_and(|next| next != position.index)
            || (self.index.next().is_none() && position.index > 1)
        {
            let missing = self.index.next().unwrap_or_default();
            return Err(self.damaged(number, LogDamage::Gap { missing }));
        }
        let length =
            u32::try_from(record.len()).map_err(|_| self.damaged(number, LogDamage::Record))?;
        self.index.push(Place { position, segment: number, offset, length });
        Ok(())
    }

    fn finish(self, last: u64) -> Result<(Index, GroupPoint, End), SegmentsError> {
        let point = self.point.unwrap_or_default();
        if point.sequence < self.witness.sequence {
            let lost =
                LogDamage::GroupsLost { found: point.sequence, expected: self.witness.sequence };
            return Err(self.damaged(last, lost));
        }
        let next = |position: Option<Position>| position.map_or(0, |position| position.index + 1);
        // Entries of removed segments must have been purged.
        let first = self.index.first().map_or(next(self.index.last), |first| first.index);
        let missing = next(self.index.purged);
        if first > missing.max(1) {
            return Err(self.damaged(last, LogDamage::Gap { missing }));
        }
        let Scan { index, end, files, .. } = self;
        match end {
            Some(end) => Ok((index, point, end)),
            None => {
                let source = io::Error::from(io::ErrorKind::NotFound);
                Err(SegmentsError::Disk { file: files.path(), source })
            }
        }
    }
}
