//! Queries on the audit trail.

use std::{ops::RangeInclusive, sync::Arc};

use super::{Row, State};
use crate::{
    id::Fingerprint,
    limits::AUDIT_KEPT,
    record::{AuditCut, AuditEntry, Record, RowKey},
};

impl State {
    /// Returns the entries with the numbers in a range, in their order. They can be read from both
    /// ends.
    pub fn audit(
        &self,
        numbers: RangeInclusive<u64>,
    ) -> impl DoubleEndedIterator<Item = (u64, &AuditEntry)> {
        let keys = RowKey::Audit(*numbers.start())..=RowKey::Audit(*numbers.end());
        // A range that ends before it begins has no rows.
        let keys = (!numbers.is_empty()).then_some(keys);
        keys.into_iter().flat_map(|keys| self.rows.range(keys)).filter_map(entry)
    }

    /// Returns the last entry.
    pub fn audit_last(&self) -> Option<(u64, &AuditEntry)> {
        self.audit(0..=u64::MAX).next_back()
    }

    /// Returns the removed beginning; without one, the trail begins with the entry 1.
    pub fn audit_cut(&self) -> AuditCut {
        match self.row(&RowKey::AuditCut).map(|row| &row.record) {
            Some(Record::AuditCut(cut)) => **cut,
            _ => AuditCut { first: 1, previous: Fingerprint([0; 32]), ..AuditCut::default() },
        }
    }

    /// Returns how many entries are kept.
    pub fn audit_kept(&self) -> u32 {
        match self.row(&RowKey::AuditKept).map(|row| &row.record) {
            Some(Record::AuditKept(count)) => *count,
            _ => AUDIT_KEPT,
        }
    }
}

fn entry<'a>((key, row): (&'a RowKey, &'a Arc<Row>)) -> Option<(u64, &'a AuditEntry)> {
    match (key, &row.record) {
        (RowKey::Audit(number), Record::Audit(entry)) => Some((*number, entry)),
        _ => None,
    }
}
