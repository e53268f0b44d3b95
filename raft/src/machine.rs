//! What the log is for: a machine that applies entries in order.

use std::{
    any::Any,
    io::{self, Read, Write},
    sync::{Arc, atomic::AtomicU64},
};

use crate::types::Position;

/// A committed entry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its place.
    pub position: Position,
    /// What was proposed; none for entries that only Raft needs.
    pub payload: Option<Vec<u8>>,
}

/// The machine cannot go on: the node stops.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct MachineFault(pub String);

/// Applies committed entries in order, in memory: the log has them until their effect is durable
/// too. Calls come from blocking threads, one at a time.
pub trait Machine: Send + 'static {
    /// The checkpoint of the state as it was opened; none for a new machine.
    fn checkpoint(&self) -> Option<Vec<u8>>;

    /// Index of the last entry whose effect is durable, as it rises. The log keeps everything
    /// behind it.
    fn persisted(&self) -> Arc<AtomicU64>;

    /// Applies entries in order. One answer for each entry that has a payload.
    fn apply(&mut self, entries: &[Entry], checkpoint: &[u8])
    -> Result<Vec<Vec<u8>>, MachineFault>;

    /// All entries that were known to be committed at the start are applied: from here on the
    /// state may be shown.
    fn replayed(&mut self);

    /// The state as it is now, for a snapshot that is written while entries are applied.
    fn view(&self) -> Box<dyn View>;

    /// Takes snapshots in, beside the state.
    fn stager(&self) -> Arc<dyn Stager>;

    /// Replaces the state by a staged one; durable when it returns. Quick, however large it is.
    fn install(&mut self, staged: Staged) -> Result<(), MachineFault>;
}

/// A snapshot that is on disk, but not yet the state; only its [`Stager`] knows what it is.
pub type Staged = Box<dyn Any + Send>;

/// Takes snapshots in while the machine goes on.
pub trait Stager: Send + Sync {
    /// Reads what a [`View`] wrote and makes it durable beside the state, with `checkpoint` of the
    /// entry at `index`.
    fn stage(
        &self,
        state: &mut dyn Read,
        checkpoint: &[u8],
        index: u64,
    ) -> Result<Staged, MachineFault>;
}

/// A state that does not change any more.
pub trait View: Send + Sync {
    /// Writes the state.
    fn write(&self, out: &mut dyn Write) -> io::Result<()>;
}
