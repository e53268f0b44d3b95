//! openraft's log storage, on top of the writer and the durable entries.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
};

use openraft::{
    LogState, OptionalSend, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
};
use tokio::sync::oneshot;

use crate::{
    engine::{EntryReader, LogPoint},
    limits::{READ_BYTES_MAX, TAIL_BYTES_MAX, TAIL_ENTRIES_MAX},
    types::{LogEntry, LogId, Position, Types, Vote},
    wire::{EntryV1, VoteV1},
    writer::{Queue, Write, Written},
};

#[cfg(test)]
mod tests;

/// The log as openraft uses it. Cheap to clone; all clones share their state.
#[derive(Clone)]
pub(crate) struct Log {
    shared: Arc<Shared>,
}

struct Shared {
    entries: Arc<dyn EntryReader>,
    queue: Queue,
    written: Arc<Written>,
    state: Mutex<State>,
}

/// State of the log as openraft sees it, ahead of what is durable.
struct State {
    tail: Tail,
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    last: Option<LogId>,
}

/// The newest entries: all those not yet durable, and some more for replication.
#[derive(Default)]
struct Tail {
    entries: BTreeMap<u64, LogEntry>,
    bytes: u64,
}

impl Tail {
    fn push(&mut self, entry: LogEntry) {
        self.bytes += bytes_of(&entry);
        if let Some(old) = self.entries.insert(entry.log_id.index(), entry) {
            self.bytes = self.bytes.saturating_sub(bytes_of(&old));
        }
    }

    fn first(&self) -> Option<u64> {
        self.entries.first_key_value().map(|(index, _)| *index)
    }

    /// Returns the entries in `start..end`, if the tail reaches back to `start`.
    fn from(&self, start: u64, end: u64) -> Option<Vec<LogEntry>> {
        let has_start = self.first()? <= start;
        has_start.then(|| self.entries.range(start..end).map(|(_, entry)| entry.clone()).collect())
    }

    /// Drops the oldest entries beyond the limits, but only durable ones.
    fn shrink(&mut self, synced: u64) {
        while self.entries.len() > TAIL_ENTRIES_MAX || self.bytes > TAIL_BYTES_MAX {
            match self.first() {
                Some(index) if index <= synced => self.pop_first(),
                _ => break,
            }
        }
    }

    fn pop_first(&mut self) {
        if let Some((_, entry)) = self.entries.pop_first() {
            self.bytes = self.bytes.saturating_sub(bytes_of(&entry));
        }
    }

    fn drop_before(&mut self, index: u64) {
        while self.first().is_some_and(|first| first < index) {
            self.pop_first();
        }
    }

    fn drop_from(&mut self, index: u64) {
        let gone = self.entries.split_off(&index);
        let bytes: u64 = gone.values().map(bytes_of).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

fn bytes_of(entry: &LogEntry) -> u64 {
    match &entry.payload {
        openraft::EntryPayload::Normal(payload) => u64::try_from(payload.0.len()).unwrap_or(0),
        _ => 0,
    }
}

impl Log {
    pub(crate) fn new(
        entries: Arc<dyn EntryReader>,
        queue: Queue,
        written: Arc<Written>,
        vote: Option<VoteV1>,
        point: LogPoint,
    ) -> Log {
        let state = State {
            tail: Tail::default(),
            vote: vote.map(Vote::from),
            committed: point.committed.map(Position::log_id),
            purged: point.purged.map(Position::log_id),
            last: point.last.or(point.purged).map(Position::log_id),
        };
        Log { shared: Arc::new(Shared { entries, queue, written, state: Mutex::new(state) }) }
    }

    /// Returns the progress of the writer.
    pub(crate) fn written(&self) -> &Arc<Written> {
        &self.shared.written
    }

    /// Writes the marker and ends the writer.
    pub(crate) async fn stop(&self) -> io::Result<()> {
        self.write_and_wait(Write::Stop).await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, write: Write) -> io::Result<()> {
        (self.shared.queue)(write)
    }

    async fn write_and_wait(
        &self,
        write: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Write,
    ) -> io::Result<()> {
        let (done, wait) = oneshot::channel();
        self.send(write(done))?;
        wait.await.map_err(|_| io::Error::other("the log has stopped"))?
    }

    /// Reads the entries in `start..end` that are not purged, up to the first missing one.
    pub(crate) fn read(&self, start: u64, end: u64) -> io::Result<Vec<LogEntry>> {
        let (mut entries, mut next) = (Vec::new(), start);
        loop {
            // Limit the range by the state: the disk may still hold entries that are already
            // truncated or purged.
            let (first, end) = {
                let state = self.state();
                let index = |id: &Option<LogId>| id.as_ref().map_or(0, |id| id.index() + 1);
                (index(&state.purged), end.min(index(&state.last)))
            };
            if entries.is_empty() {
                next = next.max(first);
            }
            // A purge since the last round would leave a gap.
            if next < first || next >= end {
                return Ok(entries);
            }
            if let Some(newest) = self.state().tail.from(next, end) {
                entries.extend(newest);
                return Ok(entries);
            }
            // Entries before the tail are on disk, because the tail drops only durable ones.
            let tail = self.state().tail.first().unwrap_or(end).min(end);
            let found = self.shared.entries.read(next, tail, READ_BYTES_MAX)?;
            let Some(last) = found.last() else {
                // A log may begin at index 0 or 1, so nothing before the tail need exist.
                let newest = self.state().tail.from(tail, end).filter(|_| entries.is_empty());
                return Ok(newest.unwrap_or(entries));
            };
            next = last.position.index + 1;
            let found = found.into_iter().map(EntryV1::into_entry);
            entries.extend(found.collect::<Result<Vec<_>, _>>()?);
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
        match &committed {
            Some(committed) => self.send(Write::Committed(Position::of(committed))),
            None => Ok(()),
        }
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        let state = self.state();
        // A leader may announce a commit before the entries arrive.
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
                state.tail.push(entry.clone());
            }
            state.tail.shrink(self.shared.written.synced.load(Ordering::Acquire));
        }
        self.send(Write::Append(entries, callback))
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        {
            let mut state = self.state();
            let first_gone = last.map_or(0, |id| id.index() + 1);
            state.tail.drop_from(first_gone);
            state.last = state.last.min(last);
        }
        let after = last.as_ref().map(Position::of);
        self.write_and_wait(|done| Write::TruncateAfter(after, done)).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        {
            let mut state = self.state();
            state.tail.drop_before(upto.index() + 1);
            state.purged = Some(upto);
            if state.last < Some(upto) {
                state.last = Some(upto);
            }
        }
        // Not awaited: the entries are dropped once their effect is durable.
        self.send(Write::Purge(Position::of(&upto)))
    }
}
