//! openraft's own contract for a log and a state machine, on ours.

use std::io::Read;

use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
    type_config::TypeConfigExt,
};
use tempfile::TempDir;

use super::*;
use crate::{
    durable::{self, SharedApplied},
    machine::{Checkpoint, Entry, Machine, MachineFault, StateMachine, View},
    mark,
};

/// Counts entries; the contract is about the log and what surrounds a machine.
#[derive(Clone, Default)]
struct Counter {
    count: u64,
    checkpoint: Option<Vec<u8>>,
}

impl View for Counter {
    fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        out.write_all(&self.count.to_be_bytes())
    }
}

impl Machine for Counter {
    fn checkpoint(&self) -> Checkpoint {
        Checkpoint { bytes: self.checkpoint.clone(), row_count: self.count, digest: [0; 32] }
    }

    fn apply(
        &mut self,
        entries: &[Entry],
        checkpoint: &[u8],
    ) -> Result<Vec<Vec<u8>>, MachineFault> {
        self.checkpoint = Some(checkpoint.to_vec());
        let payloads = entries.iter().filter_map(|entry| entry.payload.clone());
        Ok(payloads.inspect(|_| self.count += 1).collect())
    }

    fn view(&self) -> Box<dyn View> {
        Box::new(self.clone())
    }

    fn install(&mut self, state: &mut dyn Read, checkpoint: &[u8]) -> Result<(), MachineFault> {
        let mut count = [0; 8];
        state.read_exact(&mut count).map_err(|error| MachineFault(error.to_string()))?;
        *self = Counter { count: u64::from_be_bytes(count), checkpoint: Some(checkpoint.to_vec()) };
        Ok(())
    }
}

struct Builder;

impl StoreBuilder<Types, Log, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, Log, StateMachine), StorageError<Types>> {
        let made = || -> io::Result<_> {
            let dir = tempfile::tempdir()?;
            let open = mark::open(dir.path(), [7; 16], 1, &Checkpoint::default());
            let open = open.map_err(io::Error::other)?;
            let (entries, mark, last) = (open.entries.clone(), open.mark.clone(), open.last);
            let applied = SharedApplied::default();
            let durable = durable::start(open, Arc::clone(&applied))?;
            let log = Log::new(entries, durable.sender, durable.synced, &mark, last);
            let machine =
                StateMachine::new(Box::<Counter>::default(), applied, dir.path().join("snap"))?;
            Ok((dir, log, machine))
        };
        made().map_err(|error| StorageError::read(Types::err_from_error(&error)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_keeps_openrafts_contract() {
    Suite::test_all(Builder).await.unwrap();
}
