//! Records as sled holds them: the value behind a checksum over key and value.

use crate::{
    error::Fault,
    limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX},
};

const CHECKSUM_BYTES: usize = 4;

/// Puts and removals that happen together or not at all.
#[derive(Debug, Default)]
pub struct Batch {
    inner: sled::Batch,
    length: usize,
    largest: usize,
}

impl Batch {
    /// Sets `key` to `value`.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        let record = record(key, value);
        self.length += 1;
        self.largest = self.largest.max(value.len());
        if key.len() > KEY_BYTES_MAX {
            self.largest = usize::MAX;
        }
        self.inner.insert(key, record);
    }

    /// Removes `key`; it need not exist.
    pub fn remove(&mut self, key: &[u8]) {
        self.length += 1;
        self.inner.remove(key);
    }

    /// Number of puts and removals.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether the batch would change nothing.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The batch for sled, if every record is within its bound.
    pub(crate) fn checked(self) -> Result<sled::Batch, Fault> {
        if self.largest > VALUE_BYTES_MAX {
            return Err(Fault::TooLarge { bytes: self.largest, max: VALUE_BYTES_MAX });
        }
        Ok(self.inner)
    }
}

/// Checksum and value, as sled holds them.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(CHECKSUM_BYTES + value.len());
    record.extend_from_slice(&checksum(key, value));
    record.extend_from_slice(value);
    record
}

/// The value of a record, if its checksum matches.
pub(crate) fn value(tree: &str, key: &[u8], record: &[u8]) -> Result<Vec<u8>, Fault> {
    let damaged = || Fault::Damaged { tree: tree.to_owned() };
    let (stored, value) = record.split_at_checked(CHECKSUM_BYTES).ok_or_else(damaged)?;
    if stored != checksum(key, value) {
        return Err(damaged());
    }
    Ok(value.to_vec())
}

fn checksum(key: &[u8], value: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = crc32fast::Hasher::new();
    // Eight bytes on every machine.
    hasher.update(&u64::try_from(key.len()).unwrap_or(u64::MAX).to_be_bytes());
    hasher.update(key);
    hasher.update(value);
    hasher.finalize().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{Sample, check, meaning};

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let made = [Sample::new("key", record(b"key", b"value"), &"value")];
        check("disk-record.tsv", &made, &|name, bytes| {
            let value = value("tree", name.as_bytes(), bytes).ok()?;
            let again = record(name.as_bytes(), &value);
            Some((meaning(&String::from_utf8(value).ok()?), again))
        });
    }
}
