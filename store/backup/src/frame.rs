//! Frames of the body: keys, rows, and the end.

use std::io::{self, Read, Write};

use conclave_store::{
    id::{ClusterId, Generation},
    record::{Record, RowKey},
    scope::Scope,
    wire::{self, WireError},
};
use zeroize::Zeroizing;

use crate::limits::STORED_BYTES_MAX;

const KEY: u8 = 1;
const ROW: u8 = 2;
const END: u8 = 3;
const SHARED: u8 = 0;
const LOCAL: u8 = 1;

/// A key that opens sealed secrets of the rows.
#[derive(Clone)]
pub struct KeyringKey {
    /// Scope of the secrets.
    pub scope: Scope,
    /// Id to which the secrets are bound: of the cluster, or of the node's local scope.
    pub scope_id: ClusterId,
    /// Generation; 0 in the local scope.
    pub generation: Generation,
    /// The key; wiped when dropped.
    pub key: Zeroizing<[u8; 32]>,
}

/// Numbers of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Rows of the cluster's State.
    pub shared: u64,
    /// Rows of the State of one node.
    pub local: u64,
}

/// A piece of the body.
pub enum Item {
    /// A key. All keys come before the first row.
    Key(KeyringKey),
    /// A row of State. Those of a scope come in the order of their keys.
    Row {
        /// Its scope.
        scope: Scope,
        /// Its key.
        key: RowKey,
        /// Its content.
        record: Record,
    },
}

/// A piece of the body as it is read.
pub(crate) enum Frame {
    Key(KeyringKey),
    Row { scope: Scope, key: Result<RowKey, WireError>, record: Result<Record, WireError> },
    End(Numbers),
}

fn scope_byte(scope: Scope) -> u8 {
    match scope {
        Scope::Shared => SHARED,
        Scope::Local => LOCAL,
    }
}

pub(crate) fn write_key(out: &mut dyn Write, key: &KeyringKey) -> io::Result<()> {
    out.write_all(&[KEY, scope_byte(key.scope)])?;
    out.write_all(&key.scope_id.0)?;
    out.write_all(&key.generation.0.to_be_bytes())?;
    out.write_all(key.key.as_slice())
}

/// Writes a row as it is stored.
pub(crate) fn write_row(
    out: &mut dyn Write,
    scope: Scope,
    key_bytes: &[u8],
    row_bytes: &[u8],
) -> io::Result<()> {
    out.write_all(&[ROW, scope_byte(scope)])?;
    for part in [key_bytes, row_bytes] {
        let length = u32::try_from(part.len()).map_err(io::Error::other)?;
        out.write_all(&length.to_be_bytes())?;
    }
    out.write_all(key_bytes)?;
    out.write_all(row_bytes)
}

pub(crate) fn write_end(out: &mut dyn Write, numbers: Numbers) -> io::Result<()> {
    out.write_all(&[END])?;
    out.write_all(&numbers.shared.to_be_bytes())?;
    out.write_all(&numbers.local.to_be_bytes())
}

/// Reads the next frame; `None` if its form is unknown.
pub(crate) fn read(input: &mut dyn Read) -> io::Result<Option<Frame>> {
    let [kind] = array(input)?;
    if kind == END {
        let shared = u64::from_be_bytes(array(input)?);
        return Ok(Some(Frame::End(Numbers { shared, local: u64::from_be_bytes(array(input)?) })));
    }
    let scope = match array(input)? {
        [SHARED] => Scope::Shared,
        [LOCAL] => Scope::Local,
        _ => return Ok(None),
    };
    match kind {
        KEY => {
            let scope_id = ClusterId(array(input)?);
            let generation = Generation(u64::from_be_bytes(array(input)?));
            let key = Zeroizing::new(array(input)?);
            Ok(Some(Frame::Key(KeyringKey { scope, scope_id, generation, key })))
        }
        ROW => {
            let lengths = [array(input)?, array(input)?].map(u32::from_be_bytes);
            let [key_length, row_length] = lengths.map(usize::try_from);
            let (Ok(key_length), Ok(row_length)) = (key_length, row_length) else {
                return Ok(None);
            };
            if key_length.max(row_length) > STORED_BYTES_MAX {
                return Ok(None);
            }
            let mut bytes = vec![0; key_length + row_length];
            input.read_exact(&mut bytes)?;
            let (key_bytes, row_bytes) = bytes.split_at(key_length);
            let key = wire::decode_key(key_bytes);
            let record = wire::decode_row(row_bytes).map(|(_, record)| record);
            Ok(Some(Frame::Row { scope, key, record }))
        }
        _ => Ok(None),
    }
}

fn array<const N: usize>(input: &mut dyn Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}
