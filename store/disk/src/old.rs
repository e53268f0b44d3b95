//! Reader of databases of version 0.1.0, for their migration: a record is a checksum and the value.

use std::ops::RangeBounds;

use crate::{error::Fault, record::checksum};

const CHECKSUM_BYTES: usize = 4;

/// A tree of version 0.1.0.
pub struct OldTree {
    pub(crate) tree: sled::Tree,
    pub(crate) name: String,
}

impl OldTree {
    /// Reads the value of `key`.
    pub fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        match crate::disk::guarded(|| Ok(self.tree.get(key)?))? {
            Some(record) => value(&self.name, key, &record).map(Some),
            None => Ok(None),
        }
    }

    /// Iterates over records in the order of their keys.
    pub fn range<R: RangeBounds<Vec<u8>>>(
        &self,
        range: R,
    ) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), Fault>> {
        let name = self.name.clone();
        let mut records = self.tree.range(range);
        std::iter::from_fn(move || {
            let found = crate::disk::guarded(|| Ok(records.next().transpose()?));
            let read = |(key, record): (sled::IVec, sled::IVec)| {
                let value = value(&name, &key, &record)?;
                Ok((key.to_vec(), value))
            };
            found.transpose().map(|found| found.and_then(read))
        })
    }

    /// Writes records as version 0.1.0 did, for tests of the migration.
    pub fn put(&self, records: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Fault> {
        let mut batch = sled::Batch::default();
        for (key, value) in records {
            batch.insert(key.as_slice(), [&checksum(key, value)[..], value].concat());
        }
        crate::disk::guarded(|| Ok(self.tree.apply_batch(batch)?))
    }
}

/// Returns the value of a record, if its checksum matches.
fn value(tree: &str, key: &[u8], record: &[u8]) -> Result<Vec<u8>, Fault> {
    let damaged = || Fault::Damaged { tree: tree.to_owned() };
    let (stored, value) = record.split_at_checked(CHECKSUM_BYTES).ok_or_else(damaged)?;
    if stored == checksum(key, value) { Ok(value.to_vec()) } else { Err(damaged()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{Sample, check, meaning};

    #[test]
    fn a_record_of_0_1_0_is_read_as_it_was_written() {
        let record = |key: &[u8], value: &[u8]| [&checksum(key, value)[..], value].concat();
        let made = [Sample::new("key", record(b"key", b"value"), &"value")];
        check("disk-record.tsv", &made, &|name, bytes| {
            let value = value("tree", name.as_bytes(), bytes).ok()?;
            let again = record(name.as_bytes(), &value);
            Some((meaning(&String::from_utf8(value).ok()?), again))
        });
    }
}
