//! Faults that the simulation plants, to see that it finds them. Only in simulation.

use std::cell::Cell;

/// A fault in this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mutant {
    /// None: the program as it is.
    #[default]
    None,
    /// Entries are acknowledged before they are synced.
    AcknowledgeBeforeSync,
    /// A vote is answered without being written.
    VoteNotPersisted,
    /// What a killed process left unsynced counts at once.
    NoSyncAtOpen,
    /// Entries are purged although their effect is not durable.
    PurgeBeforeDurable,
    /// A leader goes on in its term after a restart.
    LeaderRestore,
    /// A read asks no quorum.
    ReadWithoutQuorum,
}

thread_local! {
    static CURRENT: Cell<Mutant> = const { Cell::new(Mutant::None) };
}

/// Plants a fault in everything that runs on this thread.
pub fn plant(mutant: Mutant) {
    CURRENT.set(mutant);
}

/// Whether this fault is planted.
pub fn is(mutant: Mutant) -> bool {
    CURRENT.get() == mutant
}
