//! Names and bytes of what lies beside the rows.

use conclave_store::state::State;

/// Tree of the pointer.
pub(crate) const POINTER_TREE: &str = "pointer";
/// Which numbered tree holds the rows.
pub(crate) const POINTER_KEY: &[u8] = b"rows";
/// The checkpoint, beside the rows; no row's key is that short.
pub(crate) const CHECKPOINT_KEY: &[u8] = b"checkpoint";

const FORMAT: u8 = 1;

/// Name of a numbered tree of rows.
pub(crate) fn tree_name(number: u64) -> String {
    format!("rows-{number}")
}

/// The number that the pointer holds.
pub(crate) fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// What was applied last, and what the rows then were.
pub(crate) struct Checkpoint {
    pub(crate) row_count: u64,
    pub(crate) digest: [u8; 32],
    pub(crate) bytes: Vec<u8>,
}

impl Checkpoint {
    pub(crate) fn of(state: &State, bytes: &[u8]) -> Checkpoint {
        let bytes = bytes.to_vec();
        Checkpoint { row_count: state.row_count(), digest: state.digest(), bytes }
    }

    /// Format, count, digest, bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut all = vec![FORMAT];
        all.extend_from_slice(&self.row_count.to_be_bytes());
        all.extend_from_slice(&self.digest);
        all.extend_from_slice(&self.bytes);
        all
    }

    pub(crate) fn decode(all: &[u8]) -> Option<Checkpoint> {
        let (format, rest) = all.split_first()?;
        let (row_count, rest) = rest.split_first_chunk::<8>()?;
        let (digest, bytes) = rest.split_first_chunk::<32>()?;
        (*format == FORMAT).then(|| Checkpoint {
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
        meaning(&(checkpoint.row_count, checkpoint.digest, &checkpoint.bytes))
    }

    #[test]
    fn what_lies_beside_the_rows_is_read_as_it_was_written() {
        let checkpoint = Checkpoint { row_count: 258, digest: [7; 32], bytes: b"bytes".to_vec() };
        let (bytes, meant) = (checkpoint.encode(), shown(&checkpoint));
        let made = [
            Sample { name: "checkpoint".to_owned(), bytes, meaning: meant, is_random: false },
            Sample::new("rows", 258_u64.to_be_bytes().to_vec(), &tree_name(258)),
        ];
        assert_eq!([POINTER_KEY, CHECKPOINT_KEY], [&b"rows"[..], b"checkpoint"]);
        check("sled-layout.tsv", &made, &|name, bytes| match name {
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
