//! The local scope: State of this node only. It has the same rules as the shared scope, but applies
//! commands directly, without Raft.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use conclave_disk::DiskOptions;
use conclave_edge::live::Live;
use conclave_store::{
    command::{Action, Command},
    id::{LogIndex, NodeId},
    machine,
    outcome::Outcome,
    scope::Scope,
    state::State,
    time::UnixMillis,
};
use conclave_store_sled::{Home, OpenError, Turn, migrate};

use crate::replica::{Point, Published};

/// The local scope with its State on disk.
pub struct Local {
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
    /// Opens the scope in `dir` and publishes it. Migrates a scope of version 0.1.0 from `old`
    /// first.
    pub fn open(old: &Path, dir: &Path, live: Live) -> Result<Local, OpenError> {
        // The index must continue. If it restarted at 0, two changes would have the same index.
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

    /// Raises the level of the rules to `level`. No other node reads this scope, but an earlier
    /// version must, if this node goes back to it before the cluster's upgrade is finalized.
    pub fn raise_level(&self, now: UnixMillis, level: u32) -> Result<(), LocalError> {
        if self.point().state.level() >= level {
            return Ok(());
        }
        let (node, action) = (NodeId(0), Action::SetLevel(level));
        let command = Command::by_node(node, conclave_system::entropy::array(), now, action);
        self.apply(&command).map(|_| ())
    }

    /// Returns the current State.
    pub fn point(&self) -> Arc<Point> {
        self.published.load()
    }

    /// Applies a command. The change is durable and published when this returns. Blocks for a
    /// device sync.
    pub fn apply(&self, command: &Command) -> Result<(LogIndex, Outcome), LocalError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.check_room()?;
        let index = LogIndex(inner.index.0 + 1);
        let applied = machine::apply(&inner.state, index, command);
        let checkpoint = index.0.to_be_bytes();
        inner.home.put(&applied.changes, &checkpoint, index.0, &applied.state);
        let turn = inner.home.turn()?;
        inner.index = index;
        inner.state = applied.state;
        self.published.store(inner.state.clone());
        self.live.advance(Scope::Local, &inner.state, &[(index, applied.changes)], index);
        match turn {
            Turn::NoRoom { free, wanted } => Err(LocalError::NotDurable { free, wanted }),
            _ => Ok((index, applied.outcome)),
        }
    }
}

/// Errors of executing a command in the local scope.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The disk has too little room. Nothing was changed.
    #[error("{free} bytes of free space are left; {wanted} are needed")]
    DiskFull {
        /// Free bytes.
        free: u64,
        /// Needed bytes.
        wanted: u64,
    },
    /// The disk had room before the change and has too little for it. The change is made, and is
    /// durable once there is room.
    #[error("{free} bytes of free space are left; {wanted} are needed to keep the change")]
    NotDurable {
        /// Free bytes.
        free: u64,
        /// Needed bytes.
        wanted: u64,
    },
    /// The disk failed. No further change is possible.
    #[error(transparent)]
    Fault(#[from] conclave_disk::Fault),
}

impl Inner {
    /// Checks the room on disk. This comes before `Home::put`: a change that was put is written
    /// sooner or later and cannot be taken back.
    fn check_room(&self) -> Result<(), LocalError> {
        let (free, wanted) = self.home.room().map_err(conclave_disk::Fault::Room)?;
        if free < wanted { Err(LocalError::DiskFull { free, wanted }) } else { Ok(()) }
    }
}
