//! Prepares segments before the writer needs them, and recycles those without entries.
//!
//! A file is filled with zeros once and then reused. Writing a group therefore changes no metadata:
//! one device sync is enough, and a full disk cannot stop the log at once. Two spare files are the
//! reserve for a full disk.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use conclave_disk::{DiskFile, Files};

use super::{
    Entropy, LogId,
    format::{Salt, SegmentHeader},
};
use crate::{
    engine::LogFault,
    limits::{LOW_BYTES, RESERVE_SEGMENTS, SEGMENT_BYTES, SPARE_SEGMENTS_MAX},
};

/// Chunk written repeatedly to fill a file with zeros.
static ZEROS: [u8; 256 * 1024] = [0; 256 * 1024];
/// Name of a file while it is filled.
const UNFINISHED: &str = "unfinished";
const SPARE: &str = "spare-";
const SEGMENT: &str = ".seg";

/// A segment ready for writing.
pub(crate) struct Segment {
    pub(super) number: u64,
    pub(super) salt: Salt,
    pub(super) file: Arc<dyn DiskFile>,
}

/// Segments no longer in use, with their numbers.
type Returned = Vec<(u64, Arc<dyn DiskFile>)>;

/// The files of the log, except those in use.
pub(crate) struct Depot {
    pub(super) files: Arc<dyn Files>,
    id: LogId,
    entropy: Entropy,
    /// Locked for an instant only, because the writer takes segments from here.
    counter: Mutex<Counter>,
    /// Locked while files are created.
    stock: Mutex<Stock>,
    is_low: AtomicBool,
    /// Whether the writer took or returned a segment since the last round.
    is_wanted: Mutex<bool>,
    wanted: Condvar,
}

struct Counter {
    /// Prepared segments, in the order of their numbers; seldom more than one.
    ready: VecDeque<Segment>,
    returned: Returned,
}

struct Stock {
    /// Number of the next segment to prepare.
    number: u64,
    /// Spare files, by the number in their names.
    spares: Vec<u64>,
}

impl Depot {
    /// Creates the depot. `number` is that of the next segment to prepare; `ready` holds the
    /// segments prepared earlier.
    pub(super) fn new(
        files: Arc<dyn Files>,
        id: LogId,
        entropy: Entropy,
        number: u64,
        spares: Vec<u64>,
        ready: VecDeque<Segment>,
    ) -> Depot {
        Depot {
            files,
            id,
            entropy,
            counter: Mutex::new(Counter { ready, returned: Returned::default() }),
            stock: Mutex::new(Stock { number, spares }),
            is_low: AtomicBool::new(false),
            is_wanted: Mutex::new(false),
            wanted: Condvar::new(),
        }
    }

    /// Returns the file name of a segment.
    pub(super) fn name(number: u64) -> String {
        format!("{number:012}{SEGMENT}")
    }

    /// Parses the number in a segment's file name.
    pub(crate) fn segment_number(name: &str) -> Option<u64> {
        name.strip_suffix(SEGMENT)?.parse().ok()
    }

    /// Parses the number in a spare file's name.
    pub(super) fn spare_number(name: &str) -> Option<u64> {
        name.strip_prefix(SPARE)?.parse().ok()
    }

    /// Returns whether a file was left by an interrupted preparation.
    pub(super) fn is_unfinished(name: &str) -> bool {
        name == UNFINISHED
    }

    /// Returns whether the disk has so little room that only Raft's own records may be written.
    pub(crate) fn is_low(&self) -> bool {
        self.is_low.load(Ordering::Relaxed)
    }

    fn counter(&self) -> MutexGuard<'_, Counter> {
        self.counter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next segment: the prepared one, or else one prepared now, from the reserve if the
    /// disk is full.
    pub(super) fn take_next(&self) -> Result<Segment, LogFault> {
        self.want();
        if let Some(next) = self.counter().ready.pop_front() {
            return Ok(next);
        }
        let mut stock = self.stock.lock().unwrap_or_else(PoisonError::into_inner);
        // A round of preparation may have finished a segment while this waited for the lock.
        if let Some(next) = self.counter().ready.pop_front() {
            return Ok(next);
        }
        self.take_back(&mut stock)?;
        self.make(&mut stock)
    }

    /// Takes back segments without entries; their files are reused.
    pub(super) fn give_back(&self, segments: Returned) {
        self.counter().returned.extend(segments);
        self.want();
    }

    fn want(&self) {
        *self.is_wanted.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wanted.notify_one();
    }

    /// Waits until there is something to prepare, or until `patience` has passed.
    pub(crate) fn wait(&self, patience: Duration) {
        let wanted = self.is_wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.wanted.wait_timeout_while(wanted, patience, |wanted| !*wanted);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }

    /// Makes a file's writes durable.
    pub(super) fn sync(&self, file: &dyn DiskFile) -> io::Result<()> {
        #[cfg(conclave_sim)]
        if crate::mutant::is(crate::mutant::Mutant::AcknowledgeBeforeSync) {
            return Ok(());
        }
        file.sync()
    }

    /// Runs one round of preparation. Called every second, and whenever a segment is taken or
    /// returned.
    pub(crate) fn turn(&self) -> Result<(), LogFault> {
        let mut stock = self.stock.lock().unwrap_or_else(PoisonError::into_inner);
        self.take_back(&mut stock)?;
        if self.counter().ready.is_empty() {
            match self.make(&mut stock) {
                Ok(next) => self.counter().ready.push_back(next),
                Err(LogFault::NoRoom) => {}
                Err(fault) => return Err(fault),
            }
        }
        let has_reserve = self.fill_reserve(&mut stock)?;
        let space = self.files.space().map_err(|source| self.fault("", source))?;
        self.note_low(!has_reserve || space.free < space.reserve(LOW_BYTES));
        Ok(())
    }

    /// Notes whether the disk is low, and says so when that changes.
    fn note_low(&self, is_low: bool) {
        match (self.is_low.swap(is_low, Ordering::Relaxed), is_low) {
            (false, true) => tracing::warn!(
                event = "log.disk_full",
                "no space left on the disk: this node takes no changes, TLS goes on"
            ),
            (true, false) => tracing::info!(event = "log.disk_has_room"),
            _ => {}
        }
    }

    /// Makes spare files of returned segments, the oldest first: a crash in between must not leave a
    /// gap before a newer one. After a failure the rest is returned again.
    fn take_back(&self, stock: &mut Stock) -> Result<(), LogFault> {
        let mut returned = VecDeque::from(std::mem::take(&mut self.counter().returned));
        if returned.is_empty() {
            return Ok(());
        }
        while let Some((number, file)) = returned.pop_front() {
            let name = Depot::name(number);
            let spare = unused_number(&stock.spares);
            let is_kept = stock.spares.len() < SPARE_SEGMENTS_MAX;
            let done = match is_kept {
                true => self.files.rename(&name, &spare_name(spare)),
                false => self.files.remove(&name),
            };
            if let Err(source) = done {
                returned.push_front((number, file));
                let mut counter = self.counter();
                returned.extend(std::mem::take(&mut counter.returned));
                counter.returned = returned.into();
                return Err(self.fault(&name, source));
            }
            if is_kept {
                stock.spares.push(spare);
            }
        }
        self.files.sync().map_err(|source| self.fault("", source))
    }

    /// Prepares a segment from a spare file beyond the reserve, else from a new file, else from the
    /// reserve.
    fn make(&self, stock: &mut Stock) -> Result<Segment, LogFault> {
        if stock.spares.len() <= RESERVE_SEGMENTS && !self.make_spare(stock)? {
            self.note_low(true);
        }
        let Some(spare) = stock.spares.last().copied() else { return Err(LogFault::NoRoom) };
        let (from, number) = (spare_name(spare), stock.number);
        let segment = self.label(&from, number).map_err(|source| self.fault(&from, source))?;
        stock.spares.pop();
        stock.number += 1;
        Ok(segment)
    }

    /// Writes a header to a spare file and, once that is durable, gives the file the name of a
    /// segment.
    fn label(&self, from: &str, number: u64) -> io::Result<Segment> {
        let mut salt = Salt::default();
        (self.entropy)(&mut salt);
        let LogId { cluster, incarnation } = self.id;
        let header = SegmentHeader { cluster, incarnation, number, salt };
        let file = self.files.open(from)?;
        file.write_at(&header.encode(), 0)?;
        file.sync()?;
        self.files.rename(from, &Depot::name(number))?;
        self.files.sync()?;
        Ok(Segment { number, salt, file })
    }

    fn fill_reserve(&self, stock: &mut Stock) -> Result<bool, LogFault> {
        while stock.spares.len() < RESERVE_SEGMENTS {
            if !self.make_spare(stock)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Creates a spare file of zeros. Returns false if there is no room for it.
    fn make_spare(&self, stock: &mut Stock) -> Result<bool, LogFault> {
        let number = unused_number(&stock.spares);
        match self.fill(&spare_name(number)) {
            Ok(()) => {
                stock.spares.push(number);
                Ok(true)
            }
            Err(error) if is_full(&error) => {
                // Give back the part that was filled: others may need the room.
                let _ = self.files.remove(UNFINISHED);
                Ok(false)
            }
            Err(error) => Err(self.fault(UNFINISHED, error)),
        }
    }

    fn fill(&self, name: &str) -> io::Result<()> {
        let file = self.files.create(UNFINISHED)?;
        let mut offset = 0;
        while offset < SEGMENT_BYTES {
            file.write_at(&ZEROS, offset)?;
            offset += u64::try_from(ZEROS.len()).map_err(io::Error::other)?;
        }
        file.sync()?;
        self.files.rename(UNFINISHED, name)?;
        self.files.sync()
    }

    fn fault(&self, name: &str, source: io::Error) -> LogFault {
        LogFault::Disk { file: self.files.path().join(name), source }
    }
}

fn spare_name(number: u64) -> String {
    format!("{SPARE}{number}")
}

fn unused_number(spares: &[u64]) -> u64 {
    spares.iter().max().map_or(0, |number| number + 1)
}

/// Returns whether the error means that the disk or the user's quota is full.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
