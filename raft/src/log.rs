//! openraft's log, on the durable thread and the entries in sled.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::SyncSender,
    },
};

use conclave_disk::Tree;
use openraft::{
    LogState, OptionalSend, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
};
use tokio::sync::oneshot;

use crate::{
    durable::Write,
    limits::TAIL_ENTRIES_MAX,
    mark::entry_key,
    types::{LogEntry, LogId, Position, Types, Vote},
    wire::{self, EntryV1, MarkV1, VoteV1},
};

#[cfg(test)]
mod tests;

/// The log as openraft uses it; cheap to clone, clones share everything.
#[derive(Clone)]
pub(crate) struct Log {
    shared: Arc<Shared>,
}

struct Shared {
    entries: Tree,
    durable: SyncSender<Write>,
    /// Index of the newest entry that the durable thread has synced.
    synced: Arc<AtomicU64>,
    state: Mutex<State>,
}

/// What is true as soon as openraft was told, before it is durable.
struct State {
    /// Newest entries: those not yet in sled, and some more for replication.
    tail: BTreeMap<u64, LogEntry>,
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    last: Option<LogId>,
}

impl Log {
    pub(crate) fn new(
        entries: Tree,
        durable: SyncSender<Write>,
        synced: Arc<AtomicU64>,
        mark: &MarkV1,
        last: Option<Position>,
    ) -> Log {
        let state = State {
            tail: BTreeMap::new(),
            vote: mark.vote.map(Vote::from),
            committed: mark.committed.map(Position::log_id),
            purged: mark.purged.map(Position::log_id),
            last: last.or(mark.purged).map(Position::log_id),
        };
        Log { shared: Arc::new(Shared { entries, durable, synced, state: Mutex::new(state) }) }
    }

    /// Writes the marker and ends the durable thread.
    pub(crate) async fn stop(&self) -> io::Result<()> {
        self.write_and_wait(Write::Stop).await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, write: Write) -> io::Result<()> {
        // The queue is longer than anything openraft keeps in flight, so this does not block.
        self.shared.durable.send(write).map_err(|_| stopped())
    }

    async fn write_and_wait(
        &self,
        write: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Write,
    ) -> io::Result<()> {
        let (done, wait) = oneshot::channel();
        self.send(write(done))?;
        wait.await.map_err(|_| stopped())?
    }

    /// Entries in `start..end`, up to the first that is missing.
    fn read(&self, start: u64, end: u64) -> io::Result<Vec<LogEntry>> {
        let from_tail = |start: u64| -> Option<Vec<LogEntry>> {
            let state = self.state();
            let first = *state.tail.first_key_value()?.0;
            (first <= start).then(|| state.tail.range(start..end).map(|(_, e)| e.clone()).collect())
        };
        // sled may still hold entries that are truncated or purged already.
        let (first, last) = {
            let state = self.state();
            let index = |id: &Option<LogId>| id.as_ref().map(|id| id.index() + 1);
            (index(&state.purged).unwrap_or(0), index(&state.last).unwrap_or(0))
        };
        let (start, end) = (start.max(first), end.min(last));
        if start >= end {
            return Ok(Vec::new());
        }
        if let Some(entries) = from_tail(start) {
            return Ok(entries);
        }
        // What is not in the tail is in sled: the tail drops only what is durable.
        let mut entries = Vec::new();
        for record in self.shared.entries.range(entry_key(start).to_vec()..entry_key(end).to_vec())
        {
            let (_, value) = record.map_err(io::Error::other)?;
            entries.push(wire::decode::<EntryV1>(&value)?.into_entry()?);
        }
        let next = entries.last().map_or(start, |entry| entry.log_id.index() + 1);
        if next < end {
            entries.extend(from_tail(next).unwrap_or_default());
        }
        Ok(entries)
    }
}

fn stopped() -> io::Error {
    io::Error::other("the durable thread has stopped")
}

impl State {
    /// Drops the oldest entries of the tail, but none that is not in sled yet.
    fn shrink(&mut self, synced: u64) {
        while self.tail.len() > TAIL_ENTRIES_MAX {
            match self.tail.first_key_value() {
                Some((index, _)) if *index <= synced => self.tail.pop_first(),
                _ => break,
            };
        }
    }
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<LogEntry>, io::Error> {
        let start = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(index) => index.saturating_add(1),
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        self.read(start, end)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.state().vote)
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Log;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let state = self.state();
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: state.last })
    }

    async fn get_log_reader(&mut self) -> Log {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let record = VoteV1::from(vote);
        self.write_and_wait(|done| Write::Vote(record, done)).await?;
        self.state().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.state().committed = committed;
        self.send(Write::Committed(committed.as_ref().map(Position::of)))
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        let state = self.state();
        // The marker may know of a commit whose entry was truncated by nobody but a crash of
        // this very node before the entry was durable; then it is not ours to apply yet.
        Ok(state.committed.filter(|committed| Some(committed) <= state.last.as_ref()))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<LogEntry> = entries.into_iter().collect();
        {
            let mut state = self.state();
            for entry in &entries {
                state.last = Some(entry.log_id);
                state.tail.insert(entry.log_id.index(), entry.clone());
            }
            state.shrink(self.shared.synced.load(Ordering::Acquire));
        }
        self.send(Write::Append(entries, callback))
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        {
            let mut state = self.state();
            let first_gone = last.map_or(0, |id| id.index() + 1);
            state.tail.split_off(&first_gone);
            state.last = state.last.min(last);
        }
        let after = last.as_ref().map(Position::of);
        self.write_and_wait(|done| Write::TruncateAfter(after, done)).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        {
            let mut state = self.state();
            state.tail = state.tail.split_off(&(upto.index() + 1));
            state.purged = Some(upto);
            if state.last < Some(upto) {
                state.last = Some(upto);
            }
        }
        let position = Position::of(&upto);
        self.write_and_wait(|done| Write::Purge(position, done)).await
    }
}
