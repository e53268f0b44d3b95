//! Row changes made by a command, for the disk and for the live index.

use crate::record::{Record, RowKey};

/// A row put or removed by a command.
#[derive(Debug, Clone)]
pub struct Change {
    /// The row's key.
    pub key: RowKey,
    /// Its new content; `None` if the row was removed.
    pub record: Option<Record>,
    /// The row's key as stored, see [`crate::wire::encode_key`].
    pub key_bytes: Vec<u8>,
    /// The row as stored, see [`crate::wire::encode_row`]; `None` if the row was removed.
    pub row_bytes: Option<Vec<u8>>,
}
