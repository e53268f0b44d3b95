//! Indexes derived from the rows of State, in memory only.
//!
//! They are not part of the rows or the digest. Every change of a row goes through
//! [`Derived::change`], so the same rows always have the same indexes, regardless of their history.

use std::collections::BTreeMap;

use imbl::{OrdMap, OrdSet};

use crate::{
    id::{DomainName, Generation, LogIndex, OperationId, ServerName},
    limits::CLOCK_APART_MS_MAX,
    record::{Domain, Record, RowKey},
    time::UnixMillis,
};

/// A remembered operation by its age: the oldest sorts first. The id is part of the order, because
/// several operations may have the same time and index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OperationAge {
    /// Latest time of a try, as claimed by the command or the id.
    pub(crate) time: UnixMillis,
    pub(crate) index: LogIndex,
    pub(crate) id: OperationId,
}

impl OperationAge {
    fn of(key: &RowKey, record: Option<&Record>) -> Option<OperationAge> {
        let (RowKey::Operation(id), Some(Record::Operation(operation))) = (key, record) else {
            return None;
        };
        // The clock that made the id may be ahead of the command's. The operation must not be
        // forgotten before the id's time, or a retry looks new. An id that is far ahead is not
        // believed.
        let believed = operation.time.plus(CLOCK_APART_MS_MAX);
        let made = id.made_at().filter(|made| *made <= believed).unwrap_or_default();
        Some(OperationAge {
            time: made.max(operation.time),
            index: operation.index,
            id: id.clone(),
        })
    }
}

/// Indexes over the rows of a State.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Derived {
    // Key and value share the strings of the domain: there may be a million domains.
    names: OrdMap<ServerName, DomainName>,
    ages: OrdSet<OperationAge>,
    /// Number of rows with secrets, by the oldest generation that a row needs.
    generations: BTreeMap<Generation, u64>,
    accounts: u64,
}

impl Derived {
    /// Returns the owner of a server name.
    pub(super) fn name_owner(&self, name: &ServerName) -> Option<&DomainName> {
        self.names.get(name)
    }

    /// Returns the remembered operations, oldest first.
    pub(super) fn ages(&self) -> &OrdSet<OperationAge> {
        &self.ages
    }

    /// Returns the number of rows with secrets, by the oldest generation that a row needs.
    pub(super) fn generations(&self) -> &BTreeMap<Generation, u64> {
        &self.generations
    }

    /// Returns the number of accounts.
    pub(super) fn account_count(&self) -> u64 {
        self.accounts
    }

    /// Updates the indexes for a row that changes from `old` to `new`; `None`: no row.
    pub(super) fn change(&mut self, key: &RowKey, old: Option<&Record>, new: Option<&Record>) {
        self.change_generations(old, new);
        match key {
            RowKey::Domain(_) => self.change_domain(domain(old), domain(new)),
            RowKey::Account(_) => match (old, new) {
                (None, Some(_)) => self.accounts += 1,
                (Some(_), None) => self.accounts -= 1,
                _ => {}
            },
            RowKey::Operation(_) => {
                if let Some(old) = OperationAge::of(key, old) {
                    self.ages.remove(&old);
                }
                self.ages.extend(OperationAge::of(key, new));
            }
            _ => {}
        }
    }

    fn change_generations(&mut self, old: Option<&Record>, new: Option<&Record>) {
        let of = |record: Option<&Record>| record.and_then(Record::oldest_generation);
        let (old, new) = (of(old), of(new));
        if old == new {
            return;
        }
        if let Some(new) = new {
            *self.generations.entry(new).or_default() += 1;
        }
        if let Some(old) = old
            && let Some(count) = self.generations.get_mut(&old)
        {
            *count -= 1;
            if *count == 0 {
                self.generations.remove(&old);
            }
        }
    }

    fn change_domain(&mut self, old: Option<&Domain>, new: Option<&Domain>) {
        // Most changes of a domain do not change its names.
        if let (Some(old), Some(new)) = (old, new)
            && (&old.name, &old.aliases) == (&new.name, &new.aliases)
        {
            return;
        }
        for name in old.into_iter().flat_map(Domain::server_names) {
            self.names.remove(&name);
        }
        let Some(new) = new else { return };
        for name in new.server_names() {
            self.names.insert(name, new.name.clone());
        }
    }
}

fn domain(record: Option<&Record>) -> Option<&Domain> {
    match record {
        Some(Record::Domain(domain)) => Some(domain),
        _ => None,
    }
}
