//! The local scope: the same State and rules, applied directly, on this node only.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use conclave_disk::DiskOptions;
use conclave_edge::live::Live;
use conclave_store::{
    command::{Action, Command},
    id::{LogIndex, NodeId, OperationId},
    machine,
    outcome::Outcome,
    record::{LEVEL_MAX, Principal},
    scope::Scope,
    state::State,
    time::UnixMillis,
};
use conclave_store_sled::{Home, OpenError, Turn, migrate};

use crate::replica::{Point, Published};

/// This node's own domains.
pub(crate) struct Local {
    inner: Mutex<Inner>,
    published: Published,
    live: Live,
}

struct Inner {
    home: Home,
    state: State,
    index: LogIndex,
}

impl Local {
    /// Opens the scope in `dir`, after rewriting that of version 0.1.0 in `old`, and shows it.
    pub(crate) fn open(old: &Path, dir: &Path, live: Live) -> Result<Local, OpenError> {
        // Beginning again at 0 would give two changes one index.
        let index_of = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_be_bytes);
        migrate(old, dir, &DiskOptions::default(), index_of)?;
        let loaded = Home::open(dir, DiskOptions::default())?;
        let index = LogIndex(loaded.index);
        let published = Published::default();
        published.store(loaded.state.clone());
        live.rebuild(Scope::Local, &loaded.state, index);
        let inner = Inner { home: loaded.home, state: loaded.state, index };
        Ok(Local { inner: Mutex::new(inner), published, live })
    }

    /// Raises the level of the rules to this program's: no other node reads this scope.
    pub(crate) fn raise_level(&self, now: UnixMillis) -> Result<(), LocalError> {
        if self.point().state.level() >= LEVEL_MAX {
            return Ok(());
        }
        let command = Command {
            operation: OperationId::new(now, conclave_system::entropy::array()),
            principal: Principal::Node(NodeId(0)),
            request: [0; 32],
            time: now,
            reason: None,
            expects: Vec::new(),
            action: Action::SetLevel(LEVEL_MAX),
        };
        self.apply(&command).map(|_| ())
    }

    /// The State as it is now.
    pub(crate) fn point(&self) -> Arc<Point> {
        self.published.load()
    }

    /// Applies a command; durable and shown when it returns. Blocks for a device sync.
    pub(crate) fn apply(&self, command: &Command) -> Result<(LogIndex, Outcome), LocalError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.check_room()?;
        let index = LogIndex(inner.index.0 + 1);
        let applied = machine::apply(&inner.state, index, command);
        let checkpoint = index.0.to_be_bytes();
        inner.home.put(&applied.changes, &checkpoint, index.0, &applied.state);
        if let Turn::NoRoom { free, wanted } = inner.home.turn()? {
            return Err(LocalError::DiskFull { free, wanted });
        }
        inner.index = index;
        inner.state = applied.state;
        self.published.store(inner.state.clone());
        self.live.advance(Scope::Local, &inner.state, &[(index, applied.changes)], index);
        Ok((index, applied.outcome))
    }
}

/// Why a command of the local scope is not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocalError {
    /// Too little room; nothing was changed.
    #[error("{free} bytes of free space are left; {wanted} are needed")]
    DiskFull {
        /// Free bytes.
        free: u64,
        /// Bytes that are needed.
        wanted: u64,
    },
    /// The disk failed, and nothing more can be changed.
    #[error(transparent)]
    Fault(#[from] conclave_disk::Fault),
}

impl Inner {
    /// What is noted is written in the end, so room is looked for before.
    fn check_room(&self) -> Result<(), LocalError> {
        let (free, wanted) = self.home.room().map_err(conclave_disk::Fault::Room)?;
        if free < wanted { Err(LocalError::DiskFull { free, wanted }) } else { Ok(()) }
    }
}
