//! The one thread that makes the log durable, in order and in groups.
//!
//! Appends, votes, truncations and purges go through one queue. Everything that waits when the
//! thread comes round becomes one batch and one device sync. Votes are kept in the marker and
//! wait for it; otherwise the marker follows within [`MARKER_LAG`].

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::Instant,
};

use conclave_disk::{Batch, Disk, Fault, Marker, Tree};
use openraft::storage::IOFlushed;
use tokio::sync::oneshot;

use crate::{
    limits::{GROUP_WRITES_MAX, MARKER_LAG, QUEUE_WRITES_MAX},
    mark::{self, OpenLog, entry_key},
    types::{LogEntry, Position, Types},
    wire::{self, EntryV1, MarkV1, VoteV1},
};

#[cfg(test)]
mod tests;

/// What the thread is asked to make durable.
pub(crate) enum Write {
    Append(Vec<LogEntry>, IOFlushed<Types>),
    Vote(VoteV1, oneshot::Sender<io::Result<()>>),
    Committed(Option<Position>),
    /// Entries after this one go; `None`: all.
    TruncateAfter(Option<Position>, oneshot::Sender<io::Result<()>>),
    Purge(Position, oneshot::Sender<io::Result<()>>),
    /// Writes the marker at once and ends the thread.
    Stop(oneshot::Sender<io::Result<()>>),
}

/// What of the state is durable; told by the machine, kept in the marker.
#[derive(Debug, Clone, Default)]
pub(crate) struct AppliedMark {
    pub(crate) applied: Option<Position>,
    pub(crate) row_count: u64,
    pub(crate) digest: [u8; 32],
}

/// Shared between the machine, which sets it, and the durable thread, which writes it.
pub(crate) type SharedApplied = Arc<Mutex<AppliedMark>>;

/// The running thread.
pub(crate) struct Durable {
    pub(crate) sender: SyncSender<Write>,
    /// Index of the newest entry that is synced.
    pub(crate) synced: Arc<AtomicU64>,
}

/// Starts the thread; it ends with [`Write::Stop`], with the last sender, or on a fault.
pub(crate) fn start(log: OpenLog, applied: SharedApplied) -> io::Result<Durable> {
    let (sender, receiver) = sync_channel(QUEUE_WRITES_MAX);
    let synced = Arc::new(AtomicU64::new(log.last.map_or(0, |last| last.index)));
    let writer = Writer::new(log, applied, Arc::clone(&synced));
    std::thread::Builder::new()
        .name("raft-durable".to_owned())
        .spawn(move || writer.run(&receiver))?;
    Ok(Durable { sender, synced })
}

struct Writer {
    synced: Arc<AtomicU64>,
    disk: Disk,
    entries: Tree,
    marker: Marker,
    mark: MarkV1,
    last: Option<Position>,
    applied: SharedApplied,
    marked: Instant,
    is_dirty: bool,
}

/// Appends on their way into one batch.
#[derive(Default)]
struct Group {
    batch: Batch,
    callbacks: Vec<IOFlushed<Types>>,
}

impl Writer {
    fn new(log: OpenLog, applied: SharedApplied, synced: Arc<AtomicU64>) -> Writer {
        Writer {
            synced,
            disk: log.disk,
            entries: log.entries,
            marker: log.marker,
            mark: log.mark,
            last: log.last,
            applied,
            marked: Instant::now(),
            is_dirty: false,
        }
    }

    fn run(mut self, receiver: &Receiver<Write>) {
        if let Err(fault) = self.write_all(receiver) {
            // Callbacks that are dropped unanswered make openraft stop the node.
            tracing::error!(event = "raft.disk_failed", error = %Shown(&fault), "the log failed");
        }
    }

    fn write_all(&mut self, receiver: &Receiver<Write>) -> Result<(), Fault> {
        loop {
            let first = match receiver.recv_timeout(MARKER_LAG) {
                Ok(write) => write,
                Err(RecvTimeoutError::Timeout) => {
                    self.mark_if_due()?;
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return self.write_mark(),
            };
            let mut group = Group::default();
            let more = receiver.try_iter().take(GROUP_WRITES_MAX);
            for write in std::iter::once(first).chain(more) {
                if self.take(write, &mut group)? {
                    return Ok(());
                }
            }
            self.flush(&mut group)?;
            self.mark_if_due()?;
        }
    }

    /// Takes one write into the group, or does it at once, after the group before it. True: stop.
    fn take(&mut self, write: Write, group: &mut Group) -> Result<bool, Fault> {
        match write {
            Write::Append(entries, callback) => {
                for entry in &entries {
                    let record = EntryV1::from(entry);
                    let bytes = wire::encode(&record)
                        .map_err(|_| Fault::Damaged { tree: "entries".to_owned() })?;
                    group.batch.put(&entry_key(record.position.index), &bytes);
                    self.last = Some(record.position);
                }
                group.callbacks.push(callback);
            }
            Write::Committed(committed) => {
                self.mark.committed = committed;
                self.is_dirty = true;
            }
            Write::Vote(vote, done) => {
                self.flush(group)?;
                self.mark.vote = Some(vote);
                answer(done, self.write_mark())?;
            }
            Write::TruncateAfter(after, done) => {
                self.flush(group)?;
                answer(done, self.truncate_after(after))?;
            }
            Write::Purge(upto, done) => {
                self.flush(group)?;
                answer(done, self.purge(upto))?;
            }
            Write::Stop(done) => {
                self.flush(group)?;
                answer(done, self.write_mark())?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One batch, one device sync, then every callback.
    fn flush(&mut self, group: &mut Group) -> Result<(), Fault> {
        if group.callbacks.is_empty() {
            return Ok(());
        }
        let Group { batch, callbacks } = std::mem::take(group);
        let written = self.entries.apply(batch).and_then(|()| self.disk.sync());
        self.is_dirty = true;
        match written {
            Ok(()) => {
                self.synced.store(self.last.map_or(0, |last| last.index), Ordering::Release);
                callbacks.into_iter().for_each(|callback| callback.io_completed(Ok(())));
                Ok(())
            }
            Err(fault) => {
                for callback in callbacks {
                    callback.io_completed(Err(io::Error::other(Shown(&fault).to_string())));
                }
                Err(fault)
            }
        }
    }

    /// The marker is lowered first: it never asks for entries that are about to go.
    fn truncate_after(&mut self, after: Option<Position>) -> Result<(), Fault> {
        self.mark_truncated(after)?;
        let first_gone = after.map_or(0, |position| position.index + 1);
        self.remove(entry_key(first_gone).to_vec()..)?;
        self.disk.sync()
    }

    fn mark_truncated(&mut self, after: Option<Position>) -> Result<(), Fault> {
        self.last = self.last.min(after);
        self.write_mark()
    }

    /// The state is durable beyond `upto` already; the marker says so before entries go.
    fn purge(&mut self, upto: Position) -> Result<(), Fault> {
        self.mark_purged(upto)?;
        self.remove(..=entry_key(upto.index).to_vec())?;
        self.disk.sync()
    }

    fn mark_purged(&mut self, upto: Position) -> Result<(), Fault> {
        self.mark.purged = Some(upto);
        if self.last.is_none_or(|last| last.index < upto.index) {
            self.last = Some(upto);
        }
        self.write_mark()
    }

    /// All of `range` goes in one batch, so that a crash leaves all of it or nothing.
    fn remove(&mut self, range: impl std::ops::RangeBounds<Vec<u8>>) -> Result<(), Fault> {
        let mut batch = Batch::default();
        for record in self.entries.range(range) {
            let (key, _) = record?;
            batch.remove(&key);
        }
        self.entries.apply(batch)
    }

    fn mark_if_due(&mut self) -> Result<(), Fault> {
        let is_due = self.is_dirty && self.marked.elapsed() >= MARKER_LAG;
        if is_due { self.write_mark() } else { Ok(()) }
    }

    fn write_mark(&mut self) -> Result<(), Fault> {
        let applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.mark.last = self.last;
        self.mark.applied = applied.applied;
        self.mark.row_count = applied.row_count;
        self.mark.digest = applied.digest;
        mark::write(&mut self.marker, &self.mark)?;
        self.marked = Instant::now();
        self.is_dirty = false;
        Ok(())
    }
}

/// Answers whoever waits, and passes a fault on.
fn answer(done: oneshot::Sender<io::Result<()>>, result: Result<(), Fault>) -> Result<(), Fault> {
    let told = match &result {
        Ok(()) => Ok(()),
        Err(fault) => Err(io::Error::other(Shown(fault).to_string())),
    };
    // Whoever asked may have given up waiting.
    let _ = done.send(told);
    result
}

/// A fault with its cause.
struct Shown<'a>(&'a Fault);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::error::Error;
        write!(out, "{}", self.0)?;
        match self.0.source() {
            Some(cause) => write!(out, ": {cause}"),
            None => Ok(()),
        }
    }
}
