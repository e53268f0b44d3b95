//! A directory of the simulated disk: its live names, and the names left by a power cut.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
};

use super::file::Survival;
use crate::chance::Chance;

/// Change of a name.
#[derive(Debug, Clone)]
pub(crate) enum NameChange {
    Add(OsString, u64),
    Remove(OsString),
}

/// A directory. As in a journal, changes of names become durable in order, and all changes of one
/// call together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Directory {
    live: BTreeMap<OsString, u64>,
    durable: BTreeMap<OsString, u64>,
    pending: Vec<Vec<NameChange>>,
}

impl Directory {
    pub(crate) fn find(&self, name: &OsStr) -> Option<u64> {
        self.live.get(name).copied()
    }

    pub(crate) fn live(&self) -> &BTreeMap<OsString, u64> {
        &self.live
    }

    pub(crate) fn durable(&self) -> &BTreeMap<OsString, u64> {
        &self.durable
    }

    /// Changes names, as one call.
    pub(crate) fn change(&mut self, changes: Vec<NameChange>) {
        apply(&mut self.live, &changes);
        self.pending.push(changes);
    }

    /// Returns the inodes of pending changes, whose names may still survive a power cut.
    pub(crate) fn pending(&self) -> impl Iterator<Item = u64> + '_ {
        self.pending.iter().flatten().filter_map(|change| match change {
            NameChange::Add(_, number) => Some(*number),
            NameChange::Remove(_) => None,
        })
    }

    /// Returns the number of calls with changes that are not durable.
    pub(crate) fn unsynced(&self) -> usize {
        self.pending.len()
    }

    /// Makes everything durable.
    pub(crate) fn sync(&mut self) {
        self.durable.clone_from(&self.live);
        self.pending.clear();
    }

    /// Simulates a failed sync: the pending changes are lost in a power cut, unless a later sync
    /// succeeds.
    pub(crate) fn fail_sync(&mut self) {
        self.pending.clear();
    }

    /// Cuts the power: of the pending changes, only the first ones may survive.
    pub(crate) fn cut(&mut self, survival: Survival, chance: &mut Chance) {
        let pending = std::mem::take(&mut self.pending);
        let count = match survival {
            Survival::Nothing => 0,
            Survival::Everything => pending.len(),
            Survival::LastTorn => pending.len().saturating_sub(chance.place(2)),
            Survival::Sectors(_) | Survival::Pages(_) => chance.place(pending.len() + 1),
        };
        for changes in pending.iter().take(count) {
            apply(&mut self.durable, changes);
        }
        self.live.clone_from(&self.durable);
    }
}

fn apply(names: &mut BTreeMap<OsString, u64>, changes: &[NameChange]) {
    for change in changes {
        match change {
            NameChange::Add(name, number) => names.insert(name.clone(), *number),
            NameChange::Remove(name) => names.remove(name),
        };
    }
}
