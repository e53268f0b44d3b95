//! Names of trees and keys, and the formats of pointer and checkpoint.

use conclave_store::state::State;

/// Name of the tree with the pointer.
pub(crate) const POINTER_TREE: &str = "pointer";
/// Key of the pointer: the number of the tree with the rows.
pub(crate) const POINTER_KEY: &[u8] = b"rows";
/// Key of the checkpoint, beside the rows. No row's key begins with the byte 0xFF.
pub(crate) const CHECKPOINT_KEY: &[u8] = b"\xFFcheckpoint";

const FORMAT: u8 = 2;

/// Returns the name of a numbered tree of rows.
pub(crate) fn tree_name(number: u64) -> String {
    format!("rows-{number}")
}

/// Parses the number in the name of a tree of rows.
pub(crate) fn tree_number(name: &str) -> Option<u64> {
    name.strip_prefix("rows-")?.parse().ok()
}

/// Decodes the number in the pointer.
pub(crate) fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// Checkpoint: the last applied command, and count and digest of the rows after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) index: u64,
    pub(crate) row_count: u64,
    pub(crate) digest: [u8; 32],
    pub(crate) bytes: Vec<u8>,
}

impl Checkpoint {
    pub(crate) fn of(state: &State, index: u64, bytes: &[u8]) -> Checkpoint {
        let bytes = bytes.to_vec();
        Checkpoint { index, row_count: state.row_count(), digest: state.digest(), bytes }
    }

    /// Encodes the checkpoint: format, index, count, digest, bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut all = vec![FORMAT];
        all.extend_from_slice(&self.index.to_be_bytes());
        all.extend_from_slice(&self.row_count.to_be_bytes());
        all.extend_from_slice(&self.digest);
        all.extend_from_slice(&self.bytes);
        all
    }

    pub(crate) fn decode(all: &[u8]) -> Option<Checkpoint> {
        let (format, rest) = all.split_first()?;
        let (index, rest) = rest.split_first_chunk::<8>()?;
        let (row_count, rest) = rest.split_first_chunk::<8>()?;
        let (digest, bytes) = rest.split_first_chunk::<32>()?;
        (*format == FORMAT).then(|| Checkpoint {
            index: u64::from_be_bytes(*index),
            row_count: u64::from_be_bytes(*row_count),
            digest: *digest,
            bytes: bytes.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{Sample, check, meaning};

    fn shown(checkpoint: &Checkpoint) -> String {
        let Checkpoint { index, row_count, digest, bytes } = checkpoint;
        meaning(&(index, row_count, digest, bytes))
    }

    #[test]
    fn what_lies_beside_the_rows_is_read_as_it_was_written() {
        let (digest, bytes) = ([7; 32], b"bytes".to_vec());
        let checkpoint = Checkpoint { index: 70_000, row_count: 258, digest, bytes };
        let (bytes, meant) = (checkpoint.encode(), shown(&checkpoint));
        let made = [
            Sample { name: "checkpoint".to_owned(), bytes, meaning: meant, is_random: false },
            Sample::new("rows", 258_u64.to_be_bytes().to_vec(), &tree_name(258)),
        ];
        assert_eq!([POINTER_KEY, CHECKPOINT_KEY], [&b"rows"[..], b"\xFFcheckpoint"]);
        check("home-layout.tsv", &made, &|name, bytes| match name {
            "checkpoint" => {
                let checkpoint = Checkpoint::decode(bytes)?;
                Some((shown(&checkpoint), checkpoint.encode()))
            }
            _ => {
                let number = number(bytes)?;
                Some((meaning(&tree_name(number)), number.to_be_bytes().to_vec()))
            }
        });
    }
}
