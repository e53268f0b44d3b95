//! Queries on the audit trail.

use std::{ops::RangeInclusive, sync::Arc};

use super::{Row, State};
use crate::{
    id::{Fingerprint, LogIndex},
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

    /// Returns the index of the command that wrote an entry; `None` if the entry is not kept.
    pub fn audit_index(&self, number: u64) -> Option<LogIndex> {
        self.row(&RowKey::Audit(number)).map(|row| row.changed_at)
    }

    /// Returns the number of the last entry that a command up to `index` has written, in time that
    /// does not grow with the trail; `None` if that entry may have been removed.
    pub fn audit_until(&self, index: LogIndex) -> Option<u64> {
        let first = self.audit_cut().first;
        let is_until =
            |number: u64| self.audit_index(number).is_some_and(|changed| changed <= index);
        let last = self.audit_last().map(|(number, _)| number);
        let Some(last) = last else { return (first == 1).then_some(0) };
        if !is_until(first) {
            return (first == 1).then_some(0);
        }
        // The first of these entries is until the index, the one after the last is not.
        let (mut low, mut high) = (first, last.saturating_add(1));
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match is_until(middle) {
                true => low = middle,
                false => high = middle,
            }
        }
        Some(low)
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
