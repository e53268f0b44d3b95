//! Snapshots: a whole State as a stream of bytes, for nodes that lag too far behind and for
//! backups.
//!
//! Layout: magic `CVSN`, format version, row count, digest; then for each row its key length, row
//! length, key and row as stored. Reading verifies every row, the count and the digest.

use std::io::{self, Read, Write};

use crate::{
    limits::ROW_BYTES_MAX,
    state::{State, StoredRow},
    wire::{self, WireError},
};

const MAGIC: [u8; 4] = *b"CVSN";
const FORMAT: u8 = 1;

/// Reason why a stream is not a valid snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The stream cannot be read to its end.
    #[error("the snapshot cannot be read to its end")]
    Read(#[from] io::Error),
    /// The stream is not a snapshot, or has a format that this program does not know.
    #[error("not a snapshot of a known format")]
    Format,
    /// A row is damaged.
    #[error("row {row} of the snapshot is damaged")]
    Row {
        /// Number of the row, from 0.
        row: u64,
        /// The reason.
        #[source]
        source: WireError,
    },
    /// Every row is valid, but rows are missing, added or replaced.
    #[error("the rows do not match the digest of the snapshot")]
    Digest,
}

/// Writes a snapshot of `state`. The caller provides buffering.
pub fn write(state: &State, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&MAGIC)?;
    out.write_all(&[FORMAT])?;
    out.write_all(&state.row_count().to_be_bytes())?;
    out.write_all(&state.digest())?;
    for (key, row) in state.rows() {
        let key_bytes = wire::encode_key(key).map_err(io::Error::other)?;
        let row_bytes = wire::encode_row(row.changed_at, &row.record).map_err(io::Error::other)?;
        for part in [&key_bytes, &row_bytes] {
            let length = u32::try_from(part.len()).map_err(io::Error::other)?;
            out.write_all(&length.to_be_bytes())?;
        }
        out.write_all(&key_bytes)?;
        out.write_all(&row_bytes)?;
    }
    Ok(())
}

/// Reads a snapshot written by [`write()`]. The caller provides buffering. A damaged stream is an
/// error, never a State.
pub fn read(input: &mut dyn Read) -> Result<State, SnapshotError> {
    let [m0, m1, m2, m3, format] = read_array::<5>(input)?;
    if [m0, m1, m2, m3] != MAGIC || format != FORMAT {
        return Err(SnapshotError::Format);
    }
    let row_count = u64::from_be_bytes(read_array(input)?);
    let digest = read_array::<32>(input)?;
    // Reserve no capacity: the count is not verified yet and may be damaged.
    let mut rows = Vec::new();
    for row in 0..row_count {
        let key_length = u32::from_be_bytes(read_array(input)?);
        let row_length = u32::from_be_bytes(read_array(input)?);
        let key_bytes = read_bytes(input, key_length, row)?;
        let row_bytes = read_bytes(input, row_length, row)?;
        let stored = StoredRow::read(&key_bytes, &row_bytes);
        rows.push(stored.map_err(|source| SnapshotError::Row { row, source })?);
    }
    let state = State::load(rows);
    if state.row_count() != row_count || state.digest() != digest {
        return Err(SnapshotError::Digest);
    }
    Ok(state)
}

fn read_array<const N: usize>(input: &mut dyn Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_bytes(input: &mut dyn Read, length: u32, row: u64) -> Result<Vec<u8>, SnapshotError> {
    // The bound is for the payload; a stored row has a header as well.
    let max = ROW_BYTES_MAX + 64;
    let found = usize::try_from(length).unwrap_or(usize::MAX);
    if found > max {
        let source = WireError::TooLarge { found, max };
        return Err(SnapshotError::Row { row, source });
    }
    let mut bytes = vec![0; found];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}
