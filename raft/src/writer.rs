//! The single writer of the log: makes it durable, in order and in groups.
//!
//! Appends, votes, truncations and purges go through one queue. Each step turns everything queued
//! into groups, usually one, each written with one device sync. A vote is written to both slots of
//! the marker and answered only after that; otherwise the marker follows the log within
//! [`MARKER_LAG`]. The step, [`Writer::turn`], is independent of threads and clocks; [`start`] runs
//! it on a thread.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    time::{Duration, Instant},
};

use conclave_disk::{Fault, Marker};
use openraft::storage::IOFlushed;
use tokio::sync::{oneshot, watch};

use crate::{
    engine::{LogEngine, LogFault, Record},
    limits::{
        COMMITTED_DELAY, GROUP_BYTES_MAX, GROUP_RECORDS_MAX, MARKER_LAG, NO_ROOM_PAUSE,
        PURGES_WAITING_MAX, QUEUE_WRITES_MAX, RECORD_BYTES,
    },
    mark,
    types::{LogEntry, Position, Types},
    wire::{EntryV1, MarkV2, NoteV1, VoteV1},
};

#[cfg(test)]
mod tests;

/// A request to the writer.
pub(crate) enum Write {
    Append(Vec<LogEntry>, IOFlushed<Types>),
    Vote(VoteV1, oneshot::Sender<io::Result<()>>),
    Committed(Position),
    /// Drops the entries after this one; `None`: all entries.
    TruncateAfter(Option<Position>, oneshot::Sender<io::Result<()>>),
    /// Drops the entries up to this one, as soon as their effect is durable.
    Purge(Position),
    /// Writes the marker at once and ends the writer.
    Stop(oneshot::Sender<io::Result<()>>),
}

/// Sends a write to the writer.
pub(crate) type Queue = Arc<dyn Fn(Write) -> io::Result<()> + Send + Sync>;

/// Told how long each group took until it was durable.
pub type FlushTimer = Box<dyn Fn(Duration) + Send + Sync>;

/// Progress of the writer, shared with its observers.
pub(crate) struct Written {
    /// Index of the newest synced entry.
    pub(crate) synced: AtomicU64,
    /// Bytes of all entries in the log.
    pub(crate) bytes: AtomicU64,
    /// Highest index noted as committed in the durable log. A restart applies entries up to it
    /// before anything else.
    pub(crate) settled: watch::Sender<u64>,
    /// Whether there is room for more than Raft's own records.
    pub(crate) has_room: watch::Sender<bool>,
    /// Nobody measures unless this is set, so that a simulation reads no clock.
    pub(crate) timer: OnceLock<FlushTimer>,
}

impl Written {
    fn new(engine: &dyn LogEngine) -> Written {
        let point = engine.point();
        let index = |position: Option<Position>| position.map_or(0, |position| position.index);
        Written {
            synced: AtomicU64::new(index(point.last)),
            bytes: AtomicU64::new(point.bytes),
            settled: watch::Sender::new(index(point.committed).max(index(point.purged))),
            has_room: watch::Sender::new(true),
            timer: OnceLock::new(),
        }
    }
}

/// Fatal error of the writer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error(transparent)]
    Log(#[from] LogFault),
    #[error("the marker of the log failed: {0}")]
    Marker(#[from] Fault),
}

/// Result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Everything queued is durable, except notes that wait for entries to share a group with.
    Done,
    /// The disk is full. The queued writes continue to wait.
    NoRoom,
    /// The writer has ended.
    Stopped,
}

/// The writing step of the log, with its state.
pub(crate) struct Writer {
    engine: Box<dyn LogEngine>,
    marker: Marker,
    mark: MarkV2,
    is_marked: bool,
    written: Arc<Written>,
    /// Highest index with a durable effect in the state.
    persisted: Arc<AtomicU64>,
    group: Group,
    /// Index after the newest entry, durable or queued.
    next: u64,
    committed: Option<Position>,
    purges: VecDeque<Position>,
}

/// Records of the next group, and the callers to answer after it.
#[derive(Default)]
struct Group {
    records: Vec<Record>,
    bytes: usize,
    waiting: Vec<Waiting>,
}

enum Waiting {
    Append(IOFlushed<Types>),
    Other(oneshot::Sender<io::Result<()>>),
}

impl Waiting {
    fn answer(self, result: io::Result<()>) {
        match self {
            Waiting::Append(callback) => callback.io_completed(result),
            // The caller may have given up waiting.
            Waiting::Other(done) => drop(done.send(result)),
        }
    }
}

impl Writer {
    pub(crate) fn new(
        engine: Box<dyn LogEngine>,
        marker: Marker,
        mark: MarkV2,
        persisted: Arc<AtomicU64>,
    ) -> Writer {
        let written = Arc::new(Written::new(engine.as_ref()));
        let next = next_index(engine.point().last);
        Writer {
            engine,
            marker,
            mark,
            is_marked: true,
            written,
            persisted,
            group: Group::default(),
            next,
            committed: None,
            purges: VecDeque::new(),
        }
    }

    /// Returns the progress of the writer.
    pub(crate) fn written(&self) -> Arc<Written> {
        Arc::clone(&self.written)
    }

    /// Returns whether notes wait for entries to share a group with. The next step should then
    /// follow soon, even without writes.
    pub(crate) fn has_notes(&self) -> bool {
        self.committed.is_some()
    }

    /// Makes the queued writes durable. If nothing is queued, writes the waiting notes in a group
    /// of their own.
    pub(crate) fn turn(&mut self, waiting: &mut VecDeque<Write>) -> Result<Turn, WriteError> {
        let is_idle = waiting.is_empty();
        let turn = self.take_all(waiting, is_idle);
        if let Err(error) = &turn {
            // Nothing of this group is certain, so every caller gets an error.
            for waiting in std::mem::take(&mut self.group).waiting {
                waiting.answer(Err(io::Error::other(error.to_string())));
            }
        }
        self.written.has_room.send_if_modified(|has_room| {
            let now = self.engine.has_room() && !matches!(turn, Ok(Turn::NoRoom));
            std::mem::replace(has_room, now) != now
        });
        turn
    }

    fn take_all(
        &mut self,
        waiting: &mut VecDeque<Write>,
        is_idle: bool,
    ) -> Result<Turn, WriteError> {
        while let Some(write) = waiting.pop_front() {
            match write {
                Write::Append(mut entries, callback) => {
                    let rest = entries.split_off(self.fitting(&entries));
                    self.take_entries(&entries);
                    if rest.is_empty() {
                        self.group.waiting.push(Waiting::Append(callback));
                        continue;
                    }
                    waiting.push_front(Write::Append(rest, callback));
                    if !self.flush()? {
                        return Ok(Turn::NoRoom);
                    }
                }
                Write::Vote(vote, done) => {
                    if !self.flush()? {
                        waiting.push_front(Write::Vote(vote, done));
                        return Ok(Turn::NoRoom);
                    }
                    self.vote(vote, done)?;
                }
                Write::Stop(done) => {
                    self.add_notes();
                    // No room is not an error here: on a full disk, unacknowledged records may be
                    // lost.
                    self.flush()?;
                    self.mark()?;
                    Waiting::Other(done).answer(Ok(()));
                    return Ok(Turn::Stopped);
                }
                Write::TruncateAfter(after, done) => {
                    self.next = self.next.min(next_index(after));
                    self.group.records.push(Record::Note(NoteV1::TruncateAfter(after)));
                    self.group.waiting.push(Waiting::Other(done));
                }
                Write::Committed(committed) => {
                    self.committed = self.committed.max(Some(committed));
                }
                Write::Purge(upto) if upto.index >= self.next => {
                    // A snapshot was installed: the next entries follow it.
                    self.next = upto.index + 1;
                    self.purges.clear();
                    self.group.records.push(Record::Note(NoteV1::Purged(upto)));
                }
                Write::Purge(upto) => {
                    if self.purges.len() >= PURGES_WAITING_MAX {
                        self.purges.pop_back();
                    }
                    self.purges.push_back(upto);
                }
            }
        }
        if is_idle || !self.group.records.is_empty() {
            self.add_notes();
        }
        Ok(if self.flush()? { Turn::Done } else { Turn::NoRoom })
    }

    /// Returns how many of `entries` still fit into the group; at least one if the group is empty.
    fn fitting(&self, entries: &[LogEntry]) -> usize {
        let mut bytes = self.group.bytes;
        // Entries take at most half of the records. The other half is for notes, which are not
        // counted here.
        let room = usize::try_from(GROUP_RECORDS_MAX).unwrap_or(usize::MAX) / 2;
        let fits = |entry: &&LogEntry| {
            bytes += entry_bytes(entry);
            bytes <= GROUP_BYTES_MAX
        };
        let count = entries.iter().take(room.saturating_sub(self.group.records.len()));
        let count = count.take_while(fits).count();
        if self.group.records.is_empty() { count.max(1).min(entries.len()) } else { count }
    }

    fn take_entries(&mut self, entries: &[LogEntry]) {
        for entry in entries {
            self.group.bytes += entry_bytes(entry);
            self.next = entry.log_id.index() + 1;
            self.group.records.push(Record::Entry(EntryV1::from(entry)));
        }
    }

    /// Adds the waiting notes to the group.
    fn add_notes(&mut self) {
        if let Some(committed) = self.committed.take() {
            self.group.records.push(Record::Note(NoteV1::Committed(committed)));
        }
        let persisted = self.persisted.load(Ordering::Acquire);
        let mut purged = None;
        while let Some(upto) = self.purges.pop_front_if(|upto| may_purge(upto.index, persisted)) {
            purged = Some(upto);
        }
        if let Some(upto) = purged {
            self.group.records.push(Record::Note(NoteV1::Purged(upto)));
        }
    }

    /// Writes the group with one device sync, then answers every caller. Returns false if there is
    /// no room.
    fn flush(&mut self) -> Result<bool, WriteError> {
        if self.group.records.is_empty() {
            return Ok(true);
        }
        let timer = self.written.timer.get().map(|timer| (timer, Instant::now()));
        match self.engine.write(&self.group.records) {
            Ok(()) => timer.map_or((), |(timer, started)| timer(started.elapsed())),
            Err(LogFault::NoRoom) => return Ok(false),
            Err(fault) => return Err(fault.into()),
        }
        let group = std::mem::take(&mut self.group);
        let point = self.engine.point();
        self.is_marked = false;
        let index = |position: Option<Position>| position.map_or(0, |position| position.index);
        self.written.synced.store(index(point.last), Ordering::Release);
        self.written.bytes.store(point.bytes, Ordering::Relaxed);
        for waiting in group.waiting {
            waiting.answer(Ok(()));
        }
        // Purged entries were committed, even if only a snapshot said so.
        let committed = index(point.committed).max(index(point.purged));
        self.written.settled.send_if_modified(|settled| {
            let is_more = committed > *settled;
            *settled = committed.max(*settled);
            is_more
        });
        Ok(true)
    }

    /// Writes the vote to both slots of the marker, each with its own sync. Damage to one slot then
    /// does not bring back an older vote.
    fn vote(
        &mut self,
        vote: VoteV1,
        done: oneshot::Sender<io::Result<()>>,
    ) -> Result<(), WriteError> {
        #[cfg(conclave_sim)]
        if crate::mutant::is(crate::mutant::Mutant::VoteNotPersisted) {
            Waiting::Other(done).answer(Ok(()));
            return Ok(());
        }
        self.mark.vote = Some(vote);
        self.mark.witness = Some(self.engine.point().group);
        let written = mark::write_vote(&mut self.marker, &self.mark);
        Waiting::Other(done).answer(match &written {
            Ok(()) => Ok(()),
            Err(fault) => Err(io::Error::other(fault.to_string())),
        });
        Ok(written?)
    }

    /// Writes to the marker how far the log reaches.
    pub(crate) fn mark(&mut self) -> Result<(), WriteError> {
        if self.is_marked {
            return Ok(());
        }
        self.mark.witness = Some(self.engine.point().group);
        mark::write(&mut self.marker, &self.mark)?;
        self.is_marked = true;
        Ok(())
    }
}

fn next_index(last: Option<Position>) -> u64 {
    last.map_or(0, |last| last.index + 1)
}

/// Returns whether entries up to `upto` may be dropped. Entries without a durable effect must stay,
/// because the next start applies them again.
fn may_purge(upto: u64, persisted: u64) -> bool {
    #[cfg(conclave_sim)]
    if crate::mutant::is(crate::mutant::Mutant::PurgeBeforeDurable) {
        return true;
    }
    upto <= persisted
}

/// Returns about the number of bytes that the entry takes in a group.
fn entry_bytes(entry: &LogEntry) -> usize {
    match &entry.payload {
        openraft::EntryPayload::Normal(payload) => payload.0.len() + RECORD_BYTES,
        openraft::EntryPayload::Membership(membership) => {
            RECORD_BYTES + membership.nodes().map(|(_, node)| node.addr.len() + 32).sum::<usize>()
        }
        openraft::EntryPayload::Blank => RECORD_BYTES,
    }
}

/// Starts the writer thread. It ends on [`Write::Stop`], when the last queue is dropped, or on a
/// fault.
pub(crate) fn start(writer: Writer) -> io::Result<Queue> {
    let (sender, receiver) = sync_channel(QUEUE_WRITES_MAX);
    std::thread::Builder::new().name("raft-log".to_owned()).spawn(move || {
        if let Err(error) = run(writer, &receiver) {
            // The waiting callers get no answer, which makes openraft stop the node.
            tracing::error!(event = "raft.disk_failed", %error, "the log failed");
        }
    })?;
    // The queue is longer than anything openraft keeps in flight, so this does not block.
    Ok(Arc::new(move |write| {
        sender.send(write).map_err(|_| io::Error::other("the log has stopped"))
    }))
}

fn run(mut writer: Writer, receiver: &Receiver<Write>) -> Result<(), WriteError> {
    let mut waiting = VecDeque::new();
    let mut marked = Instant::now();
    loop {
        if waiting.is_empty() {
            let patience = if writer.has_notes() { COMMITTED_DELAY } else { MARKER_LAG };
            match receiver.recv_timeout(patience) {
                Ok(write) => waiting.push_back(write),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return writer.mark(),
            }
        }
        waiting.extend(receiver.try_iter().take(QUEUE_WRITES_MAX - waiting.len()));
        match writer.turn(&mut waiting)? {
            Turn::Done => {}
            Turn::NoRoom => pause(NO_ROOM_PAUSE),
            Turn::Stopped => return Ok(()),
        }
        if marked.elapsed() >= MARKER_LAG {
            writer.mark()?;
            marked = Instant::now();
        }
    }
}

fn pause(duration: Duration) {
    std::thread::park_timeout(duration);
}
