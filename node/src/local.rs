//! The local scope: the same State and rules, applied directly, on this node only.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use conclave_disk::DiskOptions;
use conclave_store::{command::Command, id::LogIndex, machine, outcome::Outcome, state::State};
use conclave_store_sled::{OpenError, StateDisk};

use crate::{
    live::{Live, Scope},
    replica::{Point, Published},
};

/// This node's own domains.
pub(crate) struct Local {
    inner: Mutex<Inner>,
    published: Published,
    live: Live,
}

struct Inner {
    disk: StateDisk,
    state: State,
    index: LogIndex,
}

impl Local {
    /// Opens the scope in `dir` and shows it.
    pub(crate) fn open(dir: &Path, live: Live) -> Result<Local, OpenError> {
        let loaded = StateDisk::open(dir, DiskOptions::default())?;
        let index = match &loaded.checkpoint {
            // Beginning again at 0 would give two changes one index.
            Some(bytes) => {
                let index = bytes.as_slice().try_into().map(u64::from_be_bytes);
                index.map_err(|_| OpenError::Layout("checkpoint"))?
            }
            None => 0,
        };
        let index = LogIndex(index);
        let published = Published::default();
        published.store(loaded.state.clone());
        live.rebuild(Scope::Local, &loaded.state, index);
        let inner = Inner { disk: loaded.disk, state: loaded.state, index };
        Ok(Local { inner: Mutex::new(inner), published, live })
    }

    /// The State as it is now.
    pub(crate) fn point(&self) -> Arc<Point> {
        self.published.load()
    }

    /// Applies a command; durable and shown when it returns. Blocks for a device sync. An error
    /// means that the disk failed and nothing more can be changed.
    pub(crate) fn apply(
        &self,
        command: &Command,
    ) -> Result<(LogIndex, Outcome), conclave_disk::Fault> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let index = LogIndex(inner.index.0 + 1);
        let applied = machine::apply(&inner.state, index, command);
        let checkpoint = index.0.to_be_bytes();
        inner.disk.commit(&applied.changes, &checkpoint, &applied.state)?;
        inner.index = index;
        inner.state = applied.state;
        self.published.store(inner.state.clone());
        self.live.advance(Scope::Local, &inner.state, &[(index, applied.changes)], index);
        Ok((index, applied.outcome))
    }
}
