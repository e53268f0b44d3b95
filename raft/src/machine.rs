//! Interface of the state machine: applies committed entries in order.

use std::{
    any::Any,
    io::{self, Read, Write},
    sync::{Arc, atomic::AtomicU64},
};

use crate::types::Position;

/// A committed entry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Position in the log.
    pub position: Position,
    /// The proposed payload; `None` for entries that only Raft needs.
    pub payload: Option<Vec<u8>>,
}

/// Fatal fault of the machine. The node stops.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct MachineFault(pub String);

/// Application of committed entries, in order and in memory. The log keeps each entry until its
/// effect is durable. Methods are called from blocking threads, one call at a time.
pub trait Machine: Send + 'static {
    /// Returns the checkpoint of the state as it was opened; `None` for a new machine.
    fn checkpoint(&self) -> Option<Vec<u8>>;

    /// Returns a shared counter: the index of the last entry whose effect is durable. The log keeps
    /// all later entries.
    fn persisted(&self) -> Arc<AtomicU64>;

    /// Applies entries in order. Returns one answer for each entry with a payload. `checkpoint` is
    /// that of the last entry and must become durable together with its effect.
    fn apply(&mut self, entries: &[Entry], checkpoint: &[u8])
    -> Result<Vec<Vec<u8>>, MachineFault>;

    /// Signals that all entries known to be committed at the start are applied. Only from then on
    /// may the state be shown.
    fn replayed(&mut self);

    /// Returns an immutable view of the current state. A snapshot is written from it while further
    /// entries are applied.
    fn view(&self) -> Box<dyn View>;

    /// Returns the stager, for writing received snapshots beside the state.
    fn stager(&self) -> Arc<dyn Stager>;

    /// Replaces the state by a staged one; durable on return. Must be quick for a state of any
    /// size, because everything else in openraft waits meanwhile.
    fn install(&mut self, staged: Staged) -> Result<(), MachineFault>;
}

/// Snapshot on disk, not yet the state. Only the machine and its [`Stager`] know the concrete type.
pub type Staged = Box<dyn Any + Send>;

/// Writer of received snapshots. Works while the machine applies entries.
pub trait Stager: Send + Sync {
    /// Reads the output of [`View::write`] and makes it durable beside the state, together with
    /// `checkpoint`, which is that of the entry at `index`.
    fn stage(
        &self,
        state: &mut dyn Read,
        checkpoint: &[u8],
        index: u64,
    ) -> Result<Staged, MachineFault>;
}

/// Immutable view of the state.
pub trait View: Send + Sync {
    /// Writes the whole state to `out`.
    fn write(&self, out: &mut dyn Write) -> io::Result<()>;
}
