//! Bytes of commands, outcomes and rows, as they stand in logs, on disks and in snapshots.
//!
//! Every message: magic `CV`, format version, kind, length, CRC-32 of the payload, payload
//! (bincode, standard configuration, with a limit; every byte must be consumed).

use bincode::config::{Configuration, Limit};
use serde::{Serialize, de::DeserializeOwned};
use serde_bytes::{ByteBuf, Bytes};

use crate::{
    command::Command,
    id::LogIndex,
    limits::{COMMAND_BYTES_MAX, ENTRY_BYTES_MAX, ROW_BYTES_MAX},
    outcome::Outcome,
    record::{Record, RowKey},
};

const MAGIC: [u8; 2] = *b"CV";
const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 12;

/// What a message holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Command,
    Outcome,
    Key,
    Row,
    Commands,
    Outcomes,
}

/// Why bytes are no message of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Larger than such a message may be.
    #[error("{found} bytes, at most {max} are possible")]
    TooLarge {
        /// Bytes found.
        found: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Shorter or longer than its header says, or no header at all.
    #[error("cut or padded")]
    Length,
    /// Another magic or kind.
    #[error("not a message of this kind")]
    Kind,
    /// A format version that this program does not know.
    #[error("format version {0}, this program knows {FORMAT}")]
    Format(u8),
    /// The checksum does not match.
    #[error("the checksum does not match")]
    Checksum,
    /// The payload is not what the kind says.
    #[error("the payload is malformed")]
    Payload,
}

impl WireError {
    /// Whether the bytes are as they were written, but by a version that knows more.
    pub fn is_of_later_version(&self) -> bool {
        // The checksum was right before the payload was looked at.
        matches!(self, WireError::Format(_) | WireError::Payload)
    }
}

fn encode<T: Serialize>(kind: Kind, max: usize, value: &T) -> Result<Vec<u8>, WireError> {
    let payload = bincode::serde::encode_to_vec(value, bincode::config::standard())
        .map_err(|_| WireError::Payload)?;
    if payload.len() > max {
        return Err(WireError::TooLarge { found: payload.len(), max });
    }
    whole(kind, &payload)
}

/// Header and payload.
fn whole(kind: Kind, payload: &[u8]) -> Result<Vec<u8>, WireError> {
    let length = u32::try_from(payload.len()).map_err(|_| WireError::Length)?;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.push(FORMAT);
    bytes.push(kind.byte());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&crc32fast::hash(payload).to_be_bytes());
    bytes.extend_from_slice(payload);
    Ok(bytes)
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Kind::Command => 1,
            Kind::Outcome => 2,
            Kind::Key => 3,
            Kind::Row => 4,
            Kind::Commands => 5,
            Kind::Outcomes => 6,
        }
    }
}

fn decode<T: DeserializeOwned, const MAX: usize>(kind: Kind, bytes: &[u8]) -> Result<T, WireError> {
    let (header, payload) = bytes.split_at_checked(HEADER_BYTES).ok_or(WireError::Length)?;
    let [m0, m1, format, kind_byte, l0, l1, l2, l3, c0, c1, c2, c3] = header else {
        return Err(WireError::Length);
    };
    if [*m0, *m1] != MAGIC || *kind_byte != kind.byte() {
        return Err(WireError::Kind);
    }
    if *format != FORMAT {
        return Err(WireError::Format(*format));
    }
    if payload.len() > MAX {
        return Err(WireError::TooLarge { found: payload.len(), max: MAX });
    }
    if u32::try_from(payload.len()) != Ok(u32::from_be_bytes([*l0, *l1, *l2, *l3])) {
        return Err(WireError::Length);
    }
    if crc32fast::hash(payload) != u32::from_be_bytes([*c0, *c1, *c2, *c3]) {
        return Err(WireError::Checksum);
    }
    // The limit bounds what a hostile length prefix can make bincode allocate.
    let config: Configuration<_, _, Limit<MAX>> = bincode::config::standard().with_limit::<MAX>();
    let (value, used) =
        bincode::serde::decode_from_slice(payload, config).map_err(|_| WireError::Payload)?;
    if used != payload.len() {
        return Err(WireError::Length);
    }
    Ok(value)
}

/// Bytes of a command for the log; refused above [`COMMAND_BYTES_MAX`].
pub fn encode_command(command: &Command) -> Result<Vec<u8>, WireError> {
    encode(Kind::Command, COMMAND_BYTES_MAX, command)
}

/// Reads what [`encode_command`] wrote.
pub fn decode_command(bytes: &[u8]) -> Result<Command, WireError> {
    decode::<_, COMMAND_BYTES_MAX>(Kind::Command, bytes)
}

/// Bytes of one log entry for several commands, each as [`encode_command`] gave it. Only from
/// level 1 on: version 0.1.0 reads one command an entry.
pub fn encode_commands(commands: &[Vec<u8>]) -> Result<Vec<u8>, WireError> {
    let commands: Vec<&Bytes> = commands.iter().map(|command| Bytes::new(command)).collect();
    encode(Kind::Commands, ENTRY_BYTES_MAX, &commands)
}

/// The commands of a log entry: one, or several.
pub fn decode_entry(bytes: &[u8]) -> Result<Vec<Command>, WireError> {
    if !is_shared_entry(bytes) {
        return Ok(vec![decode_command(bytes)?]);
    }
    let commands = decode::<Vec<ByteBuf>, ENTRY_BYTES_MAX>(Kind::Commands, bytes)?;
    commands.iter().map(|command| decode_command(command)).collect()
}

/// Bytes of the outcomes of several commands, each as [`encode_outcome`] gave it.
pub fn encode_outcomes(outcomes: &[Vec<u8>]) -> Result<Vec<u8>, WireError> {
    let outcomes: Vec<&Bytes> = outcomes.iter().map(|outcome| Bytes::new(outcome)).collect();
    encode(Kind::Outcomes, ENTRY_BYTES_MAX, &outcomes)
}

/// Reads what [`encode_outcomes`] wrote; the outcomes stay bytes.
pub fn decode_outcomes(bytes: &[u8]) -> Result<Vec<Vec<u8>>, WireError> {
    let outcomes = decode::<Vec<ByteBuf>, ENTRY_BYTES_MAX>(Kind::Outcomes, bytes)?;
    Ok(outcomes.into_iter().map(ByteBuf::into_vec).collect())
}

/// Whether an entry was made for several commands, so that its answer is a list too.
pub fn is_shared_entry(bytes: &[u8]) -> bool {
    bytes.get(3) == Some(&Kind::Commands.byte())
}

/// Bytes of an outcome for whoever proposed the command.
pub fn encode_outcome(outcome: &Outcome) -> Result<Vec<u8>, WireError> {
    encode(Kind::Outcome, COMMAND_BYTES_MAX, outcome)
}

/// Reads what [`encode_outcome`] wrote.
pub fn decode_outcome(bytes: &[u8]) -> Result<Outcome, WireError> {
    decode::<_, COMMAND_BYTES_MAX>(Kind::Outcome, bytes)
}

/// Bytes of a row's key. Unique per key; their order means nothing.
pub fn encode_key(key: &RowKey) -> Result<Vec<u8>, WireError> {
    encode(Kind::Key, ROW_BYTES_MAX, key)
}

/// Reads what [`encode_key`] wrote.
pub fn decode_key(bytes: &[u8]) -> Result<RowKey, WireError> {
    decode::<_, ROW_BYTES_MAX>(Kind::Key, bytes)
}

/// What [`encode_key`] gave, without what its header repeats of it: neighbours in State are
/// neighbours on disk, and a key is not checked apart from its row.
pub fn key_payload(key_bytes: &[u8]) -> &[u8] {
    key_bytes.get(HEADER_BYTES..).unwrap_or_default()
}

/// What [`encode_key`] gave, from its payload.
pub fn key_of_payload(payload: &[u8]) -> Result<Vec<u8>, WireError> {
    whole(Kind::Key, payload)
}

/// Bytes of a row: index of its last change, and the record.
pub fn encode_row(changed_at: LogIndex, record: &Record) -> Result<Vec<u8>, WireError> {
    encode(Kind::Row, ROW_BYTES_MAX, &(changed_at, record))
}

/// Reads what [`encode_row`] wrote.
pub fn decode_row(bytes: &[u8]) -> Result<(LogIndex, Record), WireError> {
    decode::<_, ROW_BYTES_MAX>(Kind::Row, bytes)
}

#[cfg(test)]
mod samples;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeId;

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let bytes = encode_key(&RowKey::Member(NodeId(3))).unwrap();
        assert_eq!(decode_key(&bytes), Ok(RowKey::Member(NodeId(3))));
        for cut in 0..bytes.len() {
            assert!(decode_key(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_key(&flipped).is_err(), "bit {bit}");
        }
        assert!(decode_command(&bytes).is_err(), "another kind");
    }

    #[test]
    fn what_a_later_version_wrote_is_not_called_damaged() {
        let bytes = encode_key(&RowKey::Member(NodeId(3))).unwrap();
        let is_later = |bytes: &[u8]| decode_key(bytes).unwrap_err().is_of_later_version();
        let mut later = bytes.clone();
        later[2] += 1;
        assert!(is_later(&later), "a later format");
        let mut other = bytes.clone();
        let (head, payload) = other.split_at_mut(HEADER_BYTES);
        payload[0] = 250;
        head[8..].copy_from_slice(&crc32fast::hash(payload).to_be_bytes());
        assert!(is_later(&other), "a kind of row that nobody knows here");
        let mut flipped = bytes;
        flipped[HEADER_BYTES] ^= 1;
        assert!(!is_later(&flipped), "damage");
    }
}
