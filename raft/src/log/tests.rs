//! openraft's own test suite for a log and a state machine, run on this crate's.

use std::{io::Read, sync::atomic::AtomicU64};

use openraft::{
    StorageError,
    storage::RaftLogStorageExt,
    testing::log::{StoreBuilder, Suite},
    type_config::TypeConfigExt,
};
use tempfile::TempDir;

use super::*;
use crate::{
    machine::{Entry, Machine, MachineFault, Staged, Stager, View},
    mark,
    segments::{LogId as Owner, tests::disk::TestDisk},
    state_machine::{self, StateMachine},
    writer::{self, Writer},
};

/// Machine for counting entries. The suite tests the log and the code around a machine.
#[derive(Clone, Default)]
struct Counter {
    count: u64,
    checkpoint: Option<Vec<u8>>,
    persisted: Arc<AtomicU64>,
}

impl View for Counter {
    fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        out.write_all(&self.count.to_be_bytes())
    }
}

impl Machine for Counter {
    fn checkpoint(&self) -> Option<Vec<u8>> {
        self.checkpoint.clone()
    }

    fn persisted(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.persisted)
    }

    fn apply(
        &mut self,
        entries: &[Entry],
        checkpoint: &[u8],
    ) -> Result<Vec<Vec<u8>>, MachineFault> {
        self.checkpoint = Some(checkpoint.to_vec());
        let last = entries.last().map_or(0, |entry| entry.position.index);
        self.persisted.store(last, Ordering::Release);
        let payloads = entries.iter().filter_map(|entry| entry.payload.clone());
        Ok(payloads.inspect(|_| self.count += 1).collect())
    }

    fn replayed(&mut self) {}

    fn view(&self) -> Box<dyn View> {
        Box::new(self.clone())
    }

    fn stager(&self) -> Arc<dyn Stager> {
        Arc::new(Counting)
    }

    fn install(&mut self, staged: Staged) -> Result<(), MachineFault> {
        let staged = staged.downcast::<(u64, Vec<u8>, u64)>();
        let (count, checkpoint, index) =
            *staged.map_err(|_| MachineFault("staged elsewhere".to_owned()))?;
        (self.count, self.checkpoint) = (count, Some(checkpoint));
        self.persisted.store(index, Ordering::Release);
        Ok(())
    }
}

struct Counting;

impl Stager for Counting {
    fn stage(
        &self,
        state: &mut dyn Read,
        checkpoint: &[u8],
        index: u64,
    ) -> Result<Staged, MachineFault> {
        let mut count = [0; 8];
        state.read_exact(&mut count).map_err(|error| MachineFault(error.to_string()))?;
        Ok(Box::new((u64::from_be_bytes(count), checkpoint.to_vec(), index)))
    }
}

struct Builder;

impl StoreBuilder<Types, Log, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, Log, StateMachine), StorageError<Types>> {
        let made = || -> io::Result<_> {
            let dir = tempfile::tempdir()?;
            let owner = Owner { cluster: [7; 16], incarnation: 1 };
            let files = Arc::new(TestDisk::new());
            let open = mark::open(files, owner, Arc::new(|_| ()), 0).map_err(io::Error::other)?;
            let (point, entries) = (open.engine.point(), open.engine.reader());
            let counter = Counter::default();
            let persisted = counter.persisted();
            let writer = Writer::new(open.engine, open.marker, open.mark, persisted);
            let written = writer.written();
            let log = Log::new(entries, writer::start(writer)?, written, None, point);
            let snapshots = dir.path().join("snap");
            let (state, applier, work) = StateMachine::new(Box::new(counter), snapshots)?;
            state_machine::start(applier, work)?;
            Ok((dir, log, state))
        };
        made().map_err(|error| StorageError::read(Types::err_from_error(&error)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_keeps_openrafts_contract() {
    Suite::test_all(Builder).await.unwrap();
}

/// Regression found by simulation: if the first requested entries were purged, the others came
/// twice and out of order.
#[tokio::test]
async fn entries_come_once_and_in_order_although_the_first_ones_are_purged() {
    let files: Arc<dyn conclave_disk::Files> = Arc::new(TestDisk::new());
    let open = || {
        let owner = Owner { cluster: [7; 16], incarnation: 1 };
        let open = mark::open(Arc::clone(&files), owner, Arc::new(|_| ()), u64::MAX).unwrap();
        let (point, entries) = (open.engine.point(), open.engine.reader());
        let persisted = Arc::new(AtomicU64::new(9));
        let writer = Writer::new(open.engine, open.marker, open.mark, persisted);
        let written = writer.written();
        Log::new(entries, writer::start(writer).unwrap(), written, None, point)
    };
    let id = |index| Position { term: 1, node: 1, index }.log_id();
    let entry = |index| LogEntry { log_id: id(index), payload: openraft::EntryPayload::Blank };
    let mut log = open();
    log.blocking_append((1..=9).map(entry)).await.unwrap();
    log.purge(id(5)).await.unwrap();
    log.stop().await.unwrap();
    let log = open();
    let found = log.read(0, u64::MAX).unwrap();
    let indexes: Vec<u64> = found.iter().map(|entry| entry.log_id.index()).collect();
    assert_eq!(indexes, [6, 7, 8, 9]);
}
