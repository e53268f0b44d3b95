//! Opens the log and checks it against its marker: if durable data that the marker vouches for is
//! missing, the node refuses to start.
//!
//! `raft/DESIGN.md` argues why this is safe.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use conclave_disk::{Directory, Fault, Files, Marker, OpenError};

use crate::{
    engine::{EntryReader, LogDamage, LogEngine, LogFault, LogPoint},
    limits::{CREATE_BYTES, READ_BYTES_MAX},
    segments::{self, Depot, Entropy, LogId, OpenSegments, ReadSegments, SEGMENTS, SegmentsError},
    types::GroupPoint,
    wire::{self, MarkV2, WireError},
};

/// File name of the marker, which lies beside the segments.
pub(crate) const MARKER: &str = "marker";

impl From<WireError> for LogDamage {
    fn from(error: WireError) -> LogDamage {
        if error.is_of_later_version() { LogDamage::LaterVersion } else { LogDamage::Record }
    }
}

/// Error opening a log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogOpenError {
    /// The marker, or a database of version 0.1.0, cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The disk failed.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// An operation of the operating system failed.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Too little free space to create a log. Nothing was changed.
    #[error("{path} has {free} bytes of free space; {wanted} are needed to make the log")]
    DiskFull {
        /// Directory of the log.
        path: PathBuf,
        /// Free bytes.
        free: u64,
        /// Required bytes.
        wanted: u64,
    },
    /// The log is intact, but was written by a later version.
    #[error("the log in {path} was written by a later version of this program")]
    LaterVersion {
        /// Directory of the log.
        path: PathBuf,
    },
    /// Durable data is missing from the log, or differs.
    #[error("the log has lost what it had acknowledged: {path}: {damage}")]
    Damaged {
        /// The file or directory.
        path: PathBuf,
        /// The damage.
        #[source]
        damage: LogDamage,
    },
}

impl LogOpenError {
    fn damaged(path: PathBuf, damage: LogDamage) -> LogOpenError {
        match damage {
            LogDamage::LaterVersion => LogOpenError::LaterVersion { path },
            damage => LogOpenError::Damaged { path, damage },
        }
    }
}

impl From<SegmentsError> for LogOpenError {
    fn from(error: SegmentsError) -> LogOpenError {
        match error {
            SegmentsError::Disk { file, source } => LogOpenError::Io { path: file, source },
            SegmentsError::Damaged { file, damage } => LogOpenError::damaged(file, damage),
        }
    }
}

/// An open log, checked against its marker.
pub(crate) struct OpenLog {
    pub(crate) engine: Box<dyn LogEngine>,
    pub(crate) depot: Arc<Depot>,
    pub(crate) marker: Marker,
    pub(crate) mark: MarkV2,
}

impl OpenLog {
    fn new(open: OpenSegments, marker: Marker, mark: MarkV2) -> OpenLog {
        OpenLog { engine: Box::new(open.segments), depot: open.depot, marker, mark }
    }
}

/// Opens the log in `files`, or creates one for a node that never had one. `persisted` is the index
/// of the last entry whose effect is durable in the state, 0 if there is none, `u64::MAX` if it is
/// unknown. The log must reach back to that entry.
pub(crate) fn open(
    files: Arc<dyn Files>,
    id: LogId,
    entropy: Entropy,
    persisted: u64,
) -> Result<OpenLog, LogOpenError> {
    let path = files.path();
    let damaged = |damage| LogOpenError::damaged(path.clone(), damage);
    let names = files.names().map_err(|source| LogOpenError::Io { path: path.clone(), source })?;
    let has_segments = names.iter().any(|name| Depot::segment_number(name).is_some());
    let has_marker = names.iter().any(|name| name == MARKER);
    if has_segments && !has_marker {
        return Err(damaged(LogDamage::MarkerMissing));
    }
    if !has_segments {
        check_room(files.as_ref())?;
    }
    let (mut marker, payload) = Marker::open(files.as_ref(), MARKER)?;
    let mark = match payload {
        Some(bytes) => wire::decode::<MarkV2>(&bytes).map_err(|error| damaged(error.into()))?,
        None if has_segments => return Err(damaged(LogDamage::MarkerMissing)),
        None => {
            // Create the marker before the first segment. Segments without a marker are then always
            // damage, never an interrupted creation.
            let LogId { cluster, incarnation } = id;
            let mark = MarkV2 { cluster, incarnation, vote: None, witness: None };
            write_vote(&mut marker, &mark)?;
            mark
        }
    };
    if (LogId { cluster: mark.cluster, incarnation: mark.incarnation }) != id {
        return Err(damaged(LogDamage::OtherCluster));
    }
    let witness = mark.witness.unwrap_or_default();
    let found = segments::open(Arc::clone(&files), id, witness, Arc::clone(&entropy))?;
    let open = match found {
        Some(found) => found,
        // A state with applied entries had a log, even if the marker was lost together with the
        // segments.
        None if mark.witness.is_some() || (1..u64::MAX).contains(&persisted) => {
            return Err(damaged(LogDamage::LogMissing));
        }
        None => {
            segments::create(files, id, entropy).map_err(|fault| log_fault(path.clone(), fault))?
        }
    };
    let mut open = OpenLog::new(open, marker, mark);
    // From here on the marker says that segments exist, so that their loss is noticed.
    if open.mark.witness.is_none() {
        open.mark.witness = Some(GroupPoint::default());
        write_vote(&mut open.marker, &open.mark)?;
    }
    check_reach(&open.engine.point(), persisted).map_err(damaged)?;
    Ok(open)
}

/// A log that was checked against its marker and only read.
pub(crate) struct ReadLog {
    pub(crate) entries: Arc<dyn EntryReader>,
    pub(crate) point: LogPoint,
    pub(crate) mark: MarkV2,
}

/// Reads an existing log and checks it as [`open`] does, but changes nothing. What it finds may
/// not be durable yet.
pub(crate) fn read(
    files: &Arc<dyn Files>,
    id: LogId,
    persisted: u64,
) -> Result<ReadLog, LogOpenError> {
    let path = files.path();
    let damaged = |damage| LogOpenError::damaged(path.clone(), damage);
    let names = files.names().map_err(|source| LogOpenError::Io { path: path.clone(), source })?;
    if !names.iter().any(|name| name == MARKER) {
        return Err(damaged(LogDamage::MarkerMissing));
    }
    let payload = Marker::read(files.as_ref(), MARKER)?;
    let payload = payload.ok_or_else(|| damaged(LogDamage::MarkerMissing))?;
    let mark = wire::decode::<MarkV2>(&payload).map_err(|error| damaged(error.into()))?;
    if (LogId { cluster: mark.cluster, incarnation: mark.incarnation }) != id {
        return Err(damaged(LogDamage::OtherCluster));
    }
    let found = segments::read(files, id, mark.witness.unwrap_or_default())?;
    let found = found.ok_or_else(|| damaged(LogDamage::LogMissing))?;
    let ReadSegments { point, entries } = found;
    check_reach(&point, persisted).map_err(damaged)?;
    Ok(ReadLog { entries, point, mark })
}

/// Checks that the log reaches back to the end of the state.
fn check_reach(point: &LogPoint, persisted: u64) -> Result<(), LogDamage> {
    let purged = point.purged.map_or(0, |purged| purged.index);
    match persisted < purged {
        true => Err(LogDamage::StateLost { purged, found: persisted }),
        false => Ok(()),
    }
}

/// Reads the payloads of all entries of the log in `dir`, with their indexes. For tools and tests:
/// no node may be using the log.
pub fn payloads(dir: &Path) -> Result<Vec<(u64, Vec<u8>)>, LogOpenError> {
    let io_error = |source| LogOpenError::Io { path: dir.to_owned(), source };
    let damaged = |damage| LogOpenError::damaged(dir.to_owned(), damage);
    let files = Arc::new(Directory::open(&dir.join(SEGMENTS)).map_err(io_error)?);
    let (_, payload) = Marker::open(files.as_ref(), MARKER)?;
    let payload = payload.ok_or_else(|| damaged(LogDamage::MarkerMissing))?;
    let mark = wire::decode::<MarkV2>(&payload).map_err(|error| damaged(error.into()))?;
    let id = LogId { cluster: mark.cluster, incarnation: mark.incarnation };
    let log = open(files, id, Arc::new(|_| ()), u64::MAX)?;
    let mut payloads = Vec::new();
    let mut next = 0;
    loop {
        let found = log.engine.reader().read(next, u64::MAX, READ_BYTES_MAX).map_err(io_error)?;
        let Some(last) = found.last() else { return Ok(payloads) };
        next = last.position.index + 1;
        for entry in found {
            let index = entry.position.index;
            payloads.extend(entry.into_payload().map(|payload| (index, payload)));
        }
    }
}

/// Checks the free space: creating a log on a full disk would leave half of one.
fn check_room(files: &dyn Files) -> Result<(), LogOpenError> {
    let path = files.path();
    let space = files.space();
    let free = space.map_err(|source| LogOpenError::Io { path: path.clone(), source })?.free;
    match free < CREATE_BYTES {
        true => Err(LogOpenError::DiskFull { path, free, wanted: CREATE_BYTES }),
        false => Ok(()),
    }
}

fn log_fault(path: PathBuf, fault: LogFault) -> LogOpenError {
    match fault {
        LogFault::Disk { file, source } => LogOpenError::Io { path: file, source },
        fault => LogOpenError::Io { path, source: io::Error::other(fault) },
    }
}

/// Makes `mark` durable in one slot. Its vote must equal that in the other slot.
pub(crate) fn write(marker: &mut Marker, mark: &MarkV2) -> Result<(), Fault> {
    marker.write(&encode(mark)?)
}

/// Makes `mark` durable in both slots. Required for a new vote: damage to one slot must not bring
/// back the old vote.
pub(crate) fn write_vote(marker: &mut Marker, mark: &MarkV2) -> Result<(), Fault> {
    marker.write_both(&encode(mark)?)
}

fn encode(mark: &MarkV2) -> Result<Vec<u8>, Fault> {
    wire::encode(mark).map_err(|_| Fault::Damaged { tree: MARKER.to_owned() })
}
