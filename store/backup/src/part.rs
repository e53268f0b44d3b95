//! Parts of a backup on their way to the node that restores it.

use conclave_store::{
    id::LogIndex,
    record::{Record, RowKey},
    wire::{self, WireError},
};

/// Rows as they are sent: for each the lengths of key and row, then both as they are stored.
#[derive(Default)]
pub struct Part {
    bytes: Vec<u8>,
}

impl Part {
    /// Adds a row.
    pub fn push(&mut self, key: &RowKey, record: &Record) -> Result<(), WireError> {
        // The row gets the index of the command that restores it.
        let parts = [wire::encode_key(key)?, wire::encode_row(LogIndex(0), record)?];
        for part in &parts {
            let length = u32::try_from(part.len()).map_err(|_| WireError::Length)?;
            self.bytes.extend_from_slice(&length.to_be_bytes());
        }
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        Ok(())
    }

    /// Returns the length in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the part as it is sent.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Reads the rows of a part. Each comes with its length as it is stored.
    pub fn rows(mut bytes: &[u8]) -> Result<Vec<(RowKey, Record, usize)>, WireError> {
        let mut rows = Vec::new();
        while !bytes.is_empty() {
            let lengths = [length(&mut bytes)?, length(&mut bytes)?];
            let [key_bytes, row_bytes] = lengths.map(|length| take(&mut bytes, length));
            let (key_bytes, row_bytes) = (key_bytes?, row_bytes?);
            let (_, record) = wire::decode_row(row_bytes)?;
            rows.push((wire::decode_key(key_bytes)?, record, key_bytes.len() + row_bytes.len()));
        }
        Ok(rows)
    }
}

fn length(bytes: &mut &[u8]) -> Result<usize, WireError> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(WireError::Length)?;
    *bytes = rest;
    usize::try_from(u32::from_be_bytes(*length)).map_err(|_| WireError::Length)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], WireError> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(WireError::Length)?;
    *bytes = rest;
    Ok(taken)
}
