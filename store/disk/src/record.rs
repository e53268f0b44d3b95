//! Format of records in sled: a value cut into pieces, with a checksum over key and value in front.
//!
//! sled keeps about 16 neighbours in one page, and moves a page above 128 KiB into a file of its
//! own, which it never syncs. Pieces of [`PIECE_BYTES`] keep every page below that size. Each key
//! in sled begins with the length of the record's key, so that the pieces of a record are
//! neighbours.

use std::collections::BTreeMap;

use crate::{
    error::Fault,
    limits::{KEY_BYTES_MAX, PIECE_BYTES, VALUE_BYTES_MAX},
};

const CHECKSUM_BYTES: usize = 4;
const HEAD_BYTES: usize = CHECKSUM_BYTES + 1;

/// Puts and removals, applied together or not at all. The last change of a key wins.
#[derive(Debug, Default)]
pub struct Batch {
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Batch {
    /// Sets `key` to `value`.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.changes.insert(key.to_vec(), Some(value.to_vec()));
    }

    /// Removes `key`; it need not exist.
    pub fn remove(&mut self, key: &[u8]) {
        self.changes.insert(key.to_vec(), None);
    }

    /// Returns the number of puts and removals.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Returns whether the batch changes nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Converts to a batch for sled, if every record is within its limits. `pieces_before` returns
    /// the current number of pieces of a key, so that surplus pieces are removed.
    pub(crate) fn for_sled(
        self,
        pieces_before: impl Fn(&[u8]) -> Result<u8, Fault>,
    ) -> Result<sled::Batch, Fault> {
        let mut batch = sled::Batch::default();
        for (key, value) in self.changes {
            let largest = value.as_ref().map_or(0, Vec::len);
            if largest > VALUE_BYTES_MAX || key.len() > KEY_BYTES_MAX {
                return Err(Fault::TooLarge { bytes: largest, max: VALUE_BYTES_MAX });
            }
            let before = pieces_before(&key)?;
            let pieces = value.map(|value| pieces(&key, &value)).unwrap_or_default();
            let mut number: u8 = 0;
            for piece in pieces {
                batch.insert(piece_key(&key, number), piece);
                number += 1;
            }
            for gone in number..before {
                batch.remove(piece_key(&key, gone));
            }
        }
        Ok(batch)
    }
}

/// Returns the key of a piece in sled.
pub(crate) fn piece_key(key: &[u8], number: u8) -> Vec<u8> {
    let length = u16::try_from(key.len()).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(key.len() + 3);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(key);
    bytes.push(number);
    bytes
}

/// Splits a key in sled into the record's key and the number of the piece.
pub(crate) fn split_key(bytes: &[u8]) -> Option<(&[u8], u8)> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (number, key) = rest.split_last()?;
    (key.len() == usize::from(u16::from_be_bytes(*length))).then_some((key, *number))
}

/// Cuts a value into pieces. The head piece has checksum, number of pieces and bytes; the others
/// have bytes only.
fn pieces(key: &[u8], value: &[u8]) -> Vec<Vec<u8>> {
    let (first, rest) = value.split_at(value.len().min(PIECE_BYTES - HEAD_BYTES));
    let count = u8::try_from(1 + rest.len().div_ceil(PIECE_BYTES)).unwrap_or(u8::MAX);
    let mut head = Vec::with_capacity(HEAD_BYTES + first.len());
    head.extend_from_slice(&checksum(key, value));
    head.push(count);
    head.extend_from_slice(first);
    std::iter::once(head).chain(rest.chunks(PIECE_BYTES).map(<[u8]>::to_vec)).collect()
}

/// A value being reassembled from its pieces.
pub(crate) struct Assembly {
    checksum: [u8; CHECKSUM_BYTES],
    missing: u8,
    value: Vec<u8>,
}

impl Assembly {
    /// Begins a value with its head piece.
    pub(crate) fn new(head: &[u8]) -> Option<Assembly> {
        let (checksum, rest) = head.split_first_chunk::<CHECKSUM_BYTES>()?;
        let (count, first) = rest.split_first()?;
        let missing = count.checked_sub(1)?;
        Some(Assembly { checksum: *checksum, missing, value: first.to_vec() })
    }

    /// Returns the number of pieces of the record. Correct only before the first `push`.
    pub(crate) fn pieces(&self) -> u8 {
        self.missing.saturating_add(1)
    }

    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.value.extend_from_slice(piece);
        self.missing = self.missing.saturating_sub(1);
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Returns the value, if it is complete and its checksum matches.
    pub(crate) fn value(self, key: &[u8]) -> Option<Vec<u8>> {
        let is_whole = self.missing == 0 && self.checksum == checksum(key, &self.value);
        is_whole.then_some(self.value)
    }
}

pub(crate) fn checksum(key: &[u8], value: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    // Hash the length of the key as well, so that the boundary between key and value is
    // unambiguous.
    hasher.update(&u64::try_from(key.len()).unwrap_or(u64::MAX).to_be_bytes());
    hasher.update(key);
    hasher.update(value);
    hasher.finalize().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{Sample, check, meaning};

    fn joined(key: &[u8], pieces: &[Vec<u8>]) -> Option<Vec<u8>> {
        let (head, rest) = pieces.split_first()?;
        let mut assembly = Assembly::new(head)?;
        rest.iter().for_each(|piece| assembly.push(piece));
        assembly.value(key)
    }

    #[test]
    fn a_value_of_any_length_comes_back_from_its_pieces() {
        let lengths =
            [0, 1, PIECE_BYTES - HEAD_BYTES, PIECE_BYTES, 2 * PIECE_BYTES, VALUE_BYTES_MAX];
        for length in lengths {
            let value: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let mut pieces = pieces(b"key", &value);
            assert!(pieces.iter().all(|piece| piece.len() <= PIECE_BYTES), "{length}");
            assert_eq!(joined(b"key", &pieces).as_deref(), Some(&value[..]), "{length}");
            assert!(joined(b"kez", &pieces).is_none(), "another key");
            pieces.last_mut().unwrap().push(1);
            assert!(joined(b"key", &pieces).is_none(), "{length}: another value");
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let bytes = [piece_key(b"key", 0), pieces(b"key", b"value").remove(0)].concat();
        let made = [Sample::new("key", bytes, &"value")];
        check("disk-piece.tsv", &made, &|name, bytes| {
            let (key, head) = bytes.split_at_checked(piece_key(name.as_bytes(), 0).len())?;
            let (key, number) = split_key(key)?;
            let value = Assembly::new(head)?.value(key)?;
            let again = [piece_key(key, number), pieces(key, &value).remove(0)].concat();
            Some((meaning(&String::from_utf8(value).ok()?), again))
        });
    }
}
