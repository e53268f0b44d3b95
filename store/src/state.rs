//! State: one persistent, ordered map of rows.
//!
//! Cloning a State is cheap and gives a view that never changes: snapshots and listings read from
//! such a clone while further commands are applied.

mod account;
mod audit;
mod crl;
mod derived;
mod query;

use std::sync::Arc;

use imbl::OrdMap;

use self::derived::Derived;
pub(crate) use self::derived::OperationAge;
use crate::{
    change::Change,
    id::LogIndex,
    record::{Record, RowKey},
    wire::{self, WireError},
};

/// One row of State.
#[derive(Debug, Clone)]
pub struct Row {
    /// Index of its last change.
    pub changed_at: LogIndex,
    /// Its content.
    pub record: Record,
    /// SHA-256 of key and row as stored; part of the digest.
    hash: [u8; 32],
}

/// A stored row, decoded but not yet part of a State.
pub struct StoredRow {
    key: RowKey,
    row: Arc<Row>,
}

impl StoredRow {
    /// Decodes key and row. This is most of the work of loading; the rest is [`State::load`].
    pub fn read(key_bytes: &[u8], row_bytes: &[u8]) -> Result<StoredRow, WireError> {
        let key = wire::decode_key(key_bytes)?;
        let (changed_at, mut record) = wire::decode_row(row_bytes)?;
        share_name(&key, &mut record);
        let hash = row_hash(key_bytes, row_bytes);
        Ok(StoredRow { key, row: Arc::new(Row { changed_at, record, hash }) })
    }
}

/// Shares one allocation of a name that is in both key and row: there may be a million domains.
fn share_name(key: &RowKey, record: &mut Record) {
    match (key, record) {
        (RowKey::Domain(name), Record::Domain(domain)) => {
            if let Some(domain) = Arc::get_mut(domain).filter(|domain| domain.name == *name) {
                domain.name = name.clone();
            }
        }
        (RowKey::Name(name), Record::Name(owner)) => {
            if let Some(shared) = name.as_domain_name().filter(|shared| shared == owner) {
                *owner = shared;
            }
        }
        _ => {}
    }
}

/// All rows of one scope, with a digest over them.
#[derive(Clone, Default)]
pub struct State {
    rows: OrdMap<RowKey, Arc<Row>>,
    digest: Digest,
    derived: Derived,
}

impl State {
    /// Returns the rows in the order of their keys.
    pub fn rows(&self) -> impl Iterator<Item = (&RowKey, &Arc<Row>)> {
        self.rows.iter()
    }

    /// Returns the number of rows.
    pub fn row_count(&self) -> u64 {
        u64::try_from(self.rows.len()).unwrap_or(u64::MAX)
    }

    /// Returns the digest of all rows. Nodes with the same rows have the same digest; nodes with
    /// other rows almost certainly have another.
    pub fn digest(&self) -> [u8; 32] {
        self.digest.bytes()
    }

    /// Returns one row.
    pub fn row(&self, key: &RowKey) -> Option<&Arc<Row>> {
        self.rows.get(key)
    }

    /// Builds a State from all rows of a disk or a snapshot.
    pub fn load(mut rows: Vec<StoredRow>) -> State {
        rows.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        let mut state = State::default();
        // Insert every second row, then the others. Inserting in key order leaves half of each tree
        // node empty; the second pass fills these halves.
        let others = rows.iter().skip(1).step_by(2);
        for StoredRow { key, row } in rows.iter().step_by(2).chain(others) {
            state.insert(key.clone(), Arc::clone(row));
        }
        state
    }

    /// Stores a row and returns the change.
    pub(crate) fn put(
        &mut self,
        key: RowKey,
        record: Record,
        changed_at: LogIndex,
    ) -> Result<Change, WireError> {
        let key_bytes = wire::encode_key(&key)?;
        let row_bytes = wire::encode_row(changed_at, &record)?;
        let hash = row_hash(&key_bytes, &row_bytes);
        let row = Row { changed_at, record: record.clone(), hash };
        self.insert(key.clone(), Arc::new(row));
        Ok(Change { key, record: Some(record), key_bytes, row_bytes: Some(row_bytes) })
    }

    /// Removes a row and returns the change; `None` if there was no such row.
    pub(crate) fn remove(&mut self, key: &RowKey) -> Result<Option<Change>, WireError> {
        let Some(old) = self.rows.remove(key) else { return Ok(None) };
        self.digest.subtract(&old.hash);
        self.derived.change(key, Some(&old.record), None);
        let key_bytes = wire::encode_key(key)?;
        Ok(Some(Change { key: key.clone(), record: None, key_bytes, row_bytes: None }))
    }

    /// Returns whether both States have the same derived indexes.
    #[cfg(test)]
    pub(crate) fn has_derived_of(&self, other: &State) -> bool {
        self.derived == other.derived
    }

    fn insert(&mut self, key: RowKey, row: Arc<Row>) {
        self.digest.add(&row.hash);
        let old = self.rows.insert(key.clone(), Arc::clone(&row));
        if let Some(old) = &old {
            self.digest.subtract(&old.hash);
        }
        self.derived.change(&key, old.as_ref().map(|old| &old.record), Some(&row.record));
    }
}

fn row_hash(key_bytes: &[u8], row_bytes: &[u8]) -> [u8; 32] {
    // Both parts begin with a header that contains their length, so no two pairs hash the same
    // bytes.
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(key_bytes);
    context.update(row_bytes);
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// Sum of the row hashes in four lanes of 64 bits. A sum does not depend on the order, and a row
/// can be subtracted again, so a change costs only its own row. Detects damage and divergence; does
/// not protect against forged rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Digest([u64; 4]);

impl Digest {
    fn add(&mut self, hash: &[u8; 32]) {
        self.each_lane(hash, u64::wrapping_add);
    }

    fn subtract(&mut self, hash: &[u8; 32]) {
        self.each_lane(hash, u64::wrapping_sub);
    }

    fn each_lane(&mut self, hash: &[u8; 32], combine: fn(u64, u64) -> u64) {
        for (lane, part) in self.0.iter_mut().zip(hash.as_chunks::<8>().0) {
            *lane = combine(*lane, u64::from_be_bytes(*part));
        }
    }

    fn bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (part, lane) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *part = lane.to_be_bytes();
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{DomainName, ServerName};

    #[test]
    fn rows_load_in_any_order_to_the_state_that_they_are_of() {
        for count in [0, 1, 2, 3, 17, 1_000] {
            let mut state = State::default();
            let mut stored = Vec::new();
            for number in 0..count {
                let name = DomainName::parse(&format!("d{number}.example")).unwrap();
                let key = RowKey::Name(ServerName::from(name.clone()));
                let put = state.put(key, Record::Name(name), LogIndex(number)).unwrap();
                stored.push((put.row_bytes.unwrap(), put.key_bytes));
            }
            // Sorted by bytes, which is another order than by keys.
            stored.sort();
            let rows = stored.iter().map(|(row, key)| StoredRow::read(key, row).unwrap());
            let loaded = State::load(rows.collect());
            assert_eq!((loaded.digest(), loaded.row_count()), (state.digest(), count));
            assert!(loaded.rows().map(|(key, _)| key).eq(state.rows().map(|(key, _)| key)));
        }
    }
}
