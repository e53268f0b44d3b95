//! Deliberate bugs in this crate. The simulation plants them to prove that it finds them. Not part
//! of production builds.

use std::cell::Cell;

/// A deliberate bug in this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mutant {
    /// No bug: the production code.
    #[default]
    None,
    /// Entries are acknowledged before they are synced.
    AcknowledgeBeforeSync,
    /// A vote is answered without being written.
    VoteNotPersisted,
    /// Opening a log does not sync what a killed process left unsynced.
    NoSyncAtOpen,
    /// Entries are purged before their effect is durable.
    PurgeBeforeDurable,
    /// A restarted leader resumes its term.
    LeaderRestore,
    /// A linearizable read does not ask a quorum.
    ReadWithoutQuorum,
}

thread_local! {
    static CURRENT: Cell<Mutant> = const { Cell::new(Mutant::None) };
}

/// Plants a bug in all code on this thread.
pub fn plant(mutant: Mutant) {
    CURRENT.set(mutant);
}

/// Returns whether this bug is planted.
pub fn is(mutant: Mutant) -> bool {
    CURRENT.get() == mutant
}
