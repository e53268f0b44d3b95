//! What one command changed, for the disk and for the live index.

use crate::record::{Record, RowKey};

/// One row that was put or removed.
#[derive(Debug, Clone)]
pub struct Change {
    /// Which row.
    pub key: RowKey,
    /// What it holds now; none: it is gone.
    pub record: Option<Record>,
    /// The row's key as stored, see [`crate::wire::encode_key`].
    pub key_bytes: Vec<u8>,
    /// The row as stored, see [`crate::wire::encode_row`]; none: it is gone.
    pub row_bytes: Option<Vec<u8>>,
}
