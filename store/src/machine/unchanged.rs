//! Recognition of commands that change nothing, so that they need no place in the order.

use super::Applied;
use crate::{
    outcome::{Done, Outcome},
    record::{Record, RowKey},
    state::State,
};

impl Applied {
    /// Returns the answer to a command that was done and changed nothing but its own bookkeeping;
    /// `before` is the State that it was applied to. The answer names the current version, also
    /// where the rules of a low level have made a new one of the same content.
    pub fn unchanged(&self, before: &State) -> Option<Done> {
        let Outcome::Done(done) = &self.outcome else { return None };
        let is_same = |key: &RowKey| {
            let record = |state: &State| state.row(key).map(|row| row.record.clone());
            is_bookkeeping(key) || is_same(record(before).as_ref(), record(&self.state).as_ref())
        };
        if !self.changes.iter().all(|change| is_same(&change.key)) {
            return None;
        }
        Some(match done {
            Done::Domain { name, version } => {
                let present = before.domain(name).map_or(*version, |domain| domain.version);
                Done::Domain { name: name.clone(), version: present }
            }
            Done::TlsSettings(_) => Done::TlsSettings(before.tls_settings().version),
            other => other.clone(),
        })
    }
}

/// Returns whether a row only accompanies others: a change of content shows in those.
pub(super) fn is_bookkeeping(key: &RowKey) -> bool {
    matches!(
        key,
        RowKey::Operation(_)
            | RowKey::OperationAge(_)
            | RowKey::OperationMemory
            | RowKey::TokenUses(_)
            | RowKey::Audit(_)
            // Names, chains and earlier versions follow from the domains.
            | RowKey::Name(_)
            | RowKey::Chain(_)
            | RowKey::DomainVersion(_)
            // It follows from the revocations.
            | RowKey::RevocationList(_)
    )
}

fn is_same(before: Option<&Record>, after: Option<&Record>) -> bool {
    match (before, after) {
        (Some(Record::Domain(before)), Some(Record::Domain(after))) => before.has_content_of(after),
        (before, after) => before == after,
    }
}
