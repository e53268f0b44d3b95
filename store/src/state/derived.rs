//! What State knows beside its rows: indexes over them, in memory only.
//!
//! They are no part of rows or digest. Every change of a row goes through [`Derived::change`], so
//! that the same rows always have the same indexes, however they came about.

use imbl::OrdMap;

use crate::{
    id::{DomainName, ServerName},
    record::{Domain, Record, RowKey},
};

/// Indexes over the rows of a State.
#[derive(Clone, Default)]
pub(super) struct Derived {
    // Key and value share the strings of the domain: there are many.
    names: OrdMap<ServerName, DomainName>,
}

impl Derived {
    /// The domain that owns a server name.
    pub(super) fn name_owner(&self, name: &ServerName) -> Option<&DomainName> {
        self.names.get(name)
    }

    /// Follows a row from what it held to what it holds; none: there is no row.
    pub(super) fn change(&mut self, key: &RowKey, old: Option<&Record>, new: Option<&Record>) {
        if let RowKey::Domain(_) = key {
            self.change_domain(domain(old), domain(new));
        }
    }

    fn change_domain(&mut self, old: Option<&Domain>, new: Option<&Domain>) {
        // The certificate changes often, the names seldom.
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
