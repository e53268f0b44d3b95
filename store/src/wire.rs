//! Encoding of commands, outcomes and rows in logs, on disks and in snapshots.
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
    record::{Origin, Record, RowKey},
};

const MAGIC: [u8; 2] = *b"CV";
const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 12;

/// Kind of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Command,
    Outcome,
    Key,
    Row,
    Commands,
    Outcomes,
    /// A command with its origin.
    CommandFrom,
}

/// Reason why bytes are not a valid message of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Larger than this kind of message may be.
    #[error("{found} bytes, at most {max} are possible")]
    TooLarge {
        /// Bytes found.
        found: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Shorter or longer than the header says, or too short for a header.
    #[error("cut or padded")]
    Length,
    /// Wrong magic or kind.
    #[error("not a message of this kind")]
    Kind,
    /// The format version is unknown to this program.
    #[error("format version {0}, this program knows {FORMAT}")]
    Format(u8),
    /// The checksum does not match.
    #[error("the checksum does not match")]
    Checksum,
    /// The payload does not decode.
    #[error("the payload is malformed")]
    Payload,
}

impl WireError {
    /// Returns whether the bytes are probably intact, but written by a later version of the
    /// program.
    pub fn is_of_later_version(&self) -> bool {
        // The checksum is verified before the payload is decoded, so such a payload is not damaged.
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

/// Prepends the header to a payload.
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
            Kind::CommandFrom => 7,
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

/// Encodes a command for the log. Fails above [`COMMAND_BYTES_MAX`], and also below it if the
/// command has so many small values that a reader would refuse it: the reader's limit counts a
/// number by its type, which may be eight times its encoding. A command that was ordered and cannot
/// be read stops every node.
pub fn encode_command(command: &Command) -> Result<Vec<u8>, WireError> {
    let bytes = match &command.origin {
        None => encode(Kind::Command, COMMAND_BYTES_MAX, command)?,
        Some(origin) => encode(Kind::CommandFrom, COMMAND_BYTES_MAX, &(command, origin))?,
    };
    match decode_command(&bytes) {
        Ok(_) => Ok(bytes),
        Err(_) => Err(WireError::TooLarge { found: bytes.len(), max: COMMAND_BYTES_MAX }),
    }
}

/// Decodes the output of [`encode_command`].
pub fn decode_command(bytes: &[u8]) -> Result<Command, WireError> {
    if !is_of_kind(bytes, Kind::CommandFrom) {
        return decode::<_, COMMAND_BYTES_MAX>(Kind::Command, bytes);
    }
    let (command, origin) =
        decode::<(Command, Origin), COMMAND_BYTES_MAX>(Kind::CommandFrom, bytes)?;
    Ok(Command { origin: Some(origin), ..command })
}

fn is_of_kind(bytes: &[u8], kind: Kind) -> bool {
    bytes.get(3) == Some(&kind.byte())
}

/// Encodes one log entry of several commands, each the output of [`encode_command`]. Used from
/// level 1 on: version 0.1.0 reads one command per entry.
pub fn encode_commands(commands: &[Vec<u8>]) -> Result<Vec<u8>, WireError> {
    let commands: Vec<&Bytes> = commands.iter().map(|command| Bytes::new(command)).collect();
    encode(Kind::Commands, ENTRY_BYTES_MAX, &commands)
}

/// Decodes the commands of a log entry, which has one or several.
pub fn decode_entry(bytes: &[u8]) -> Result<Vec<Command>, WireError> {
    if !is_shared_entry(bytes) {
        return Ok(vec![decode_command(bytes)?]);
    }
    let commands = decode::<Vec<ByteBuf>, ENTRY_BYTES_MAX>(Kind::Commands, bytes)?;
    commands.iter().map(|command| decode_command(command)).collect()
}

/// Encodes the outcomes of several commands, each the output of [`encode_outcome`].
pub fn encode_outcomes(outcomes: &[Vec<u8>]) -> Result<Vec<u8>, WireError> {
    let outcomes: Vec<&Bytes> = outcomes.iter().map(|outcome| Bytes::new(outcome)).collect();
    encode(Kind::Outcomes, ENTRY_BYTES_MAX, &outcomes)
}

/// Decodes the output of [`encode_outcomes`]; each outcome stays encoded.
pub fn decode_outcomes(bytes: &[u8]) -> Result<Vec<Vec<u8>>, WireError> {
    let outcomes = decode::<Vec<ByteBuf>, ENTRY_BYTES_MAX>(Kind::Outcomes, bytes)?;
    Ok(outcomes.into_iter().map(ByteBuf::into_vec).collect())
}

/// Returns whether an entry was made for several commands, so that its answer is a list as well.
pub fn is_shared_entry(bytes: &[u8]) -> bool {
    is_of_kind(bytes, Kind::Commands)
}

/// Encodes an outcome for the node that proposed the command.
pub fn encode_outcome(outcome: &Outcome) -> Result<Vec<u8>, WireError> {
    encode(Kind::Outcome, COMMAND_BYTES_MAX, outcome)
}

/// Decodes the output of [`encode_outcome`].
pub fn decode_outcome(bytes: &[u8]) -> Result<Outcome, WireError> {
    decode::<_, COMMAND_BYTES_MAX>(Kind::Outcome, bytes)
}

/// Encodes a row's key. The bytes are unique per key; their order has no meaning.
pub fn encode_key(key: &RowKey) -> Result<Vec<u8>, WireError> {
    encode(Kind::Key, ROW_BYTES_MAX, key)
}

/// Decodes the output of [`encode_key`].
pub fn decode_key(bytes: &[u8]) -> Result<RowKey, WireError> {
    decode::<_, ROW_BYTES_MAX>(Kind::Key, bytes)
}

/// Strips the header from the output of [`encode_key`]. Without it, neighbours in State are
/// neighbours on disk. Its checksum is not needed there: a key is checked together with its row.
pub fn key_payload(key_bytes: &[u8]) -> &[u8] {
    key_bytes.get(HEADER_BYTES..).unwrap_or_default()
}

/// Restores the output of [`encode_key`] from its payload.
pub fn key_of_payload(payload: &[u8]) -> Result<Vec<u8>, WireError> {
    whole(Kind::Key, payload)
}

/// Encodes a row: the index of its last change, and the record.
pub fn encode_row(changed_at: LogIndex, record: &Record) -> Result<Vec<u8>, WireError> {
    encode(Kind::Row, ROW_BYTES_MAX, &(changed_at, record))
}

/// Decodes the output of [`encode_row`].
pub fn decode_row(bytes: &[u8]) -> Result<(LogIndex, Record), WireError> {
    decode::<_, ROW_BYTES_MAX>(Kind::Row, bytes)
}

#[cfg(test)]
mod samples;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{command::Action, id::NodeId, time::UnixMillis};

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
    fn a_command_that_no_reader_takes_is_not_encoded() {
        let rows = |count| vec![(RowKey::Level, Record::Level(1)); count];
        let command = |count| {
            let action = Action::RestoreRows(rows(count));
            Command::by_node(NodeId(1), [0; 10], UnixMillis(1), action)
        };
        assert!(encode_command(&command(1_000)).is_ok());
        // Each row has 3 bytes, which count as 12 or more.
        let refused = encode_command(&command(20_000)).unwrap_err();
        assert!(matches!(refused, WireError::TooLarge { found: 60_000..65_000, .. }), "{refused}");
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
