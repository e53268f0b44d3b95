//! Message formats on disk and wire, and their conversion from and to openraft's types.
//!
//! A message consists of: magic `CR`, format version, kind, length, CRC-32 of the payload, payload
//! (bincode with a limit; every byte must be consumed). The structs here are frozen: a changed
//! format gets new structs and a conversion.

use std::collections::{BTreeMap, BTreeSet};

use bincode::config::{Configuration, Limit};
use openraft::{BasicNode, EntryPayload};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_bytes::ByteBuf;

use crate::{
    limits::FRAME_BYTES_MAX,
    types::{
        GroupPoint, LogEntry, LogId, Membership, Payload, Position, StoredMembership, Types, Vote,
    },
};

const MAGIC: [u8; 2] = *b"CR";
const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 12;

/// A type with a message kind of its own.
pub(crate) trait Message: Serialize + DeserializeOwned {
    const KIND: u8;
}

/// Error encoding or decoding a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WireError(&'static str);

pub(crate) const TOO_LARGE: WireError = WireError("a message is too large");
/// Errors for intact messages of a later version.
const LATER_FORMAT: WireError = WireError("a message of an unknown format version");
const LATER_CONTENT: WireError = WireError("a message is malformed");

impl WireError {
    /// Returns whether the bytes are intact, but written by a later version.
    pub(crate) fn is_of_later_version(self) -> bool {
        [LATER_FORMAT, LATER_CONTENT].contains(&self)
    }
}

impl From<WireError> for std::io::Error {
    fn from(error: WireError) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidData, error)
    }
}

pub(crate) fn encode<T: Message>(message: &T) -> Result<Vec<u8>, WireError> {
    let payload = bincode::serde::encode_to_vec(message, bincode::config::standard())
        .map_err(|_| WireError("a message cannot be encoded"))?;
    if payload.len() > FRAME_BYTES_MAX {
        return Err(TOO_LARGE);
    }
    let length = u32::try_from(payload.len()).map_err(|_| TOO_LARGE)?;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[FORMAT, T::KIND]);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&payload).to_be_bytes());
    bytes.extend_from_slice(&payload);
    Ok(bytes)
}

pub(crate) fn decode<T: Message>(bytes: &[u8]) -> Result<T, WireError> {
    let (header, payload) =
        bytes.split_first_chunk::<HEADER_BYTES>().ok_or(WireError("a message is cut"))?;
    let [m0, m1, format, kind, l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    if [m0, m1] != MAGIC || kind != T::KIND {
        return Err(WireError("a message of another kind"));
    }
    if format != FORMAT {
        return Err(LATER_FORMAT);
    }
    if u32::try_from(payload.len()) != Ok(u32::from_be_bytes([l0, l1, l2, l3])) {
        return Err(WireError("a message is cut or padded"));
    }
    if crc32fast::hash(payload) != u32::from_be_bytes([c0, c1, c2, c3]) {
        return Err(WireError("a message is damaged"));
    }
    // The limit bounds what a hostile length prefix can make bincode allocate.
    let config: Configuration<_, _, Limit<FRAME_BYTES_MAX>> =
        bincode::config::standard().with_limit::<FRAME_BYTES_MAX>();
    let (message, used) =
        bincode::serde::decode_from_slice(payload, config).map_err(|_| LATER_CONTENT)?;
    if used == payload.len() { Ok(message) } else { Err(WireError("a message is padded")) }
}

/// Returns whether the kind in the message header is that of `T`.
pub(crate) fn is_kind<T: Message>(bytes: &[u8]) -> bool {
    bytes.get(3) == Some(&T::KIND)
}

macro_rules! messages {
    ($($kind:literal $type:ty,)*) => {
        $(impl Message for $type { const KIND: u8 = $kind; })*

        /// Every kind of message.
        #[cfg(test)]
        const KINDS: &[(u8, &str)] = &[$(($kind, stringify!($type)),)*];
    };
}

messages! {
    1 EntryV1,
    2 MarkV1,
    3 CheckpointV1,
    4 AppendV1,
    5 AppendAnswerV1,
    6 StreamAnswerV1,
    7 VoteRequestV1,
    8 VoteAnswerV1,
    9 SnapshotHeadV1,
    10 SnapshotAnswerV1,
    11 CallV1,
    12 MarkV2,
    13 NoteV1,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VoteV1 {
    pub(crate) term: u64,
    pub(crate) node: u64,
    pub(crate) committed: bool,
}

impl From<&Vote> for VoteV1 {
    fn from(vote: &Vote) -> VoteV1 {
        VoteV1 {
            term: vote.leader_id.term,
            node: vote.leader_id.node_id,
            committed: vote.committed,
        }
    }
}

impl From<VoteV1> for Vote {
    fn from(vote: VoteV1) -> Vote {
        if vote.committed {
            Vote::new_committed(vote.term, vote.node)
        } else {
            Vote::new(vote.term, vote.node)
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct MembershipV1 {
    configs: Vec<BTreeSet<u64>>,
    nodes: BTreeMap<u64, String>,
}

impl From<&Membership> for MembershipV1 {
    fn from(membership: &Membership) -> MembershipV1 {
        MembershipV1 {
            configs: membership.get_joint_config().clone(),
            nodes: membership.nodes().map(|(id, node)| (*id, node.addr.clone())).collect(),
        }
    }
}

impl TryFrom<MembershipV1> for Membership {
    type Error = WireError;
    fn try_from(membership: MembershipV1) -> Result<Membership, WireError> {
        let nodes: BTreeMap<u64, BasicNode> =
            membership.nodes.into_iter().map(|(id, addr)| (id, BasicNode { addr })).collect();
        Membership::new(membership.configs, nodes)
            .map_err(|_| WireError("a membership names nodes that it lacks"))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum ContentV1 {
    Blank,
    Payload(ByteBuf),
    Membership(MembershipV1),
}

/// An entry, on disk and on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EntryV1 {
    pub(crate) position: Position,
    content: ContentV1,
}

impl From<&LogEntry> for EntryV1 {
    fn from(entry: &LogEntry) -> EntryV1 {
        let content = match &entry.payload {
            EntryPayload::Blank => ContentV1::Blank,
            EntryPayload::Normal(payload) => ContentV1::Payload(ByteBuf::from(payload.0.clone())),
            EntryPayload::Membership(membership) => ContentV1::Membership(membership.into()),
        };
        EntryV1 { position: Position::of(&entry.log_id), content }
    }
}

impl EntryV1 {
    /// Returns the proposed payload; `None` for entries that only Raft needs.
    pub(crate) fn into_payload(self) -> Option<Vec<u8>> {
        match self.content {
            ContentV1::Payload(bytes) => Some(bytes.into_vec()),
            ContentV1::Blank | ContentV1::Membership(_) => None,
        }
    }

    /// Converts the entry to openraft's type.
    pub(crate) fn into_entry(self) -> Result<LogEntry, WireError> {
        let payload = match self.content {
            ContentV1::Blank => EntryPayload::Blank,
            ContentV1::Payload(bytes) => EntryPayload::Normal(Payload(bytes.into_vec())),
            ContentV1::Membership(membership) => EntryPayload::Membership(membership.try_into()?),
        };
        Ok(LogEntry { log_id: self.position.log_id(), payload })
    }
}

/// Content of the marker: data that must survive even if the end of the log is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MarkV2 {
    pub(crate) cluster: [u8; 16],
    pub(crate) incarnation: u64,
    pub(crate) vote: Option<VoteV1>,
    /// A group known to be durable; `None` if the log has no segment yet.
    pub(crate) witness: Option<GroupPoint>,
}

/// Note in the log about earlier entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NoteV1 {
    /// Entries after this one are void; `None`: all entries are.
    TruncateAfter(Option<Position>),
    /// Entries up to this one may be dropped.
    Purged(Position),
    /// Entries up to this one are committed.
    Committed(Position),
    /// Sum of the segments before this one.
    Base { last: Option<Position>, purged: Option<Position>, committed: Option<Position> },
}

/// Content of the marker of version 0.1.0, which kept its log in sled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MarkV1 {
    pub(crate) cluster: [u8; 16],
    pub(crate) incarnation: u64,
    pub(crate) vote: Option<VoteV1>,
    pub(crate) last: Option<Position>,
    pub(crate) purged: Option<Position>,
    pub(crate) committed: Option<Position>,
    pub(crate) applied: Option<Position>,
    pub(crate) row_count: u64,
    pub(crate) digest: [u8; 32],
}

/// Checkpoint, stored by a machine with its state and sent at the head of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct CheckpointV1 {
    pub(crate) applied: Option<Position>,
    membership_position: Option<Position>,
    membership: MembershipV1,
}

impl CheckpointV1 {
    pub(crate) fn new(applied: Option<Position>, stored: &StoredMembership) -> CheckpointV1 {
        CheckpointV1 {
            applied,
            membership_position: stored.log_id().as_ref().map(Position::of),
            membership: stored.membership().into(),
        }
    }

    pub(crate) fn stored_membership(&self) -> Result<StoredMembership, WireError> {
        let membership = Membership::try_from(self.membership.clone())?;
        Ok(StoredMembership::new(self.membership_position.map(Position::log_id), membership))
    }
}

/// Returns the index of the last applied entry in a checkpoint; `None` if the checkpoint is
/// damaged.
pub fn checkpoint_index(bytes: &[u8]) -> Option<u64> {
    let checkpoint = decode::<CheckpointV1>(bytes).ok()?;
    Some(checkpoint.applied.map_or(0, |applied| applied.index))
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AppendV1 {
    pub(crate) vote: VoteV1,
    pub(crate) previous: Option<Position>,
    pub(crate) entries: Vec<EntryV1>,
    pub(crate) committed: Option<Position>,
}

impl From<&openraft::raft::AppendEntriesRequest<Types>> for AppendV1 {
    fn from(request: &openraft::raft::AppendEntriesRequest<Types>) -> AppendV1 {
        AppendV1 {
            vote: (&request.vote).into(),
            previous: request.prev_log_id.as_ref().map(Position::of),
            entries: request.entries.iter().map(EntryV1::from).collect(),
            committed: request.leader_commit.as_ref().map(Position::of),
        }
    }
}

impl TryFrom<AppendV1> for openraft::raft::AppendEntriesRequest<Types> {
    type Error = WireError;
    fn try_from(append: AppendV1) -> Result<Self, WireError> {
        let entries = append.entries.into_iter().map(EntryV1::into_entry);
        Ok(openraft::raft::AppendEntriesRequest {
            vote: append.vote.into(),
            prev_log_id: append.previous.map(Position::log_id),
            entries: entries.collect::<Result<_, _>>()?,
            leader_commit: append.committed.map(Position::log_id),
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum AppendAnswerV1 {
    Success,
    Partial(Option<Position>),
    Conflict,
    HigherVote(VoteV1),
}

impl From<openraft::raft::AppendEntriesResponse<Types>> for AppendAnswerV1 {
    fn from(answer: openraft::raft::AppendEntriesResponse<Types>) -> AppendAnswerV1 {
        use openraft::raft::AppendEntriesResponse as Answer;
        match answer {
            Answer::Success => AppendAnswerV1::Success,
            Answer::PartialSuccess(id) => AppendAnswerV1::Partial(id.as_ref().map(Position::of)),
            Answer::Conflict => AppendAnswerV1::Conflict,
            Answer::HigherVote(vote) => AppendAnswerV1::HigherVote((&vote).into()),
        }
    }
}

impl From<AppendAnswerV1> for openraft::raft::AppendEntriesResponse<Types> {
    fn from(answer: AppendAnswerV1) -> Self {
        match answer {
            AppendAnswerV1::Success => Self::Success,
            AppendAnswerV1::Partial(position) => {
                Self::PartialSuccess(position.map(Position::log_id))
            }
            AppendAnswerV1::Conflict => Self::Conflict,
            AppendAnswerV1::HigherVote(vote) => Self::HigherVote(vote.into()),
        }
    }
}

/// Answer to one append on a stream of appends.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum StreamAnswerV1 {
    Flushed(Option<Position>),
    Conflict(Position),
    HigherVote(VoteV1),
}

type StreamResult = Result<Option<LogId>, openraft::raft::StreamAppendError<Types>>;

impl From<StreamResult> for StreamAnswerV1 {
    fn from(result: StreamResult) -> StreamAnswerV1 {
        use openraft::raft::StreamAppendError as Error;
        match result {
            Ok(id) => StreamAnswerV1::Flushed(id.as_ref().map(Position::of)),
            Err(Error::Conflict(id)) => StreamAnswerV1::Conflict(Position::of(&id)),
            Err(Error::HigherVote(vote)) => StreamAnswerV1::HigherVote((&vote).into()),
        }
    }
}

impl From<StreamAnswerV1> for StreamResult {
    fn from(answer: StreamAnswerV1) -> StreamResult {
        use openraft::raft::StreamAppendError as Error;
        match answer {
            StreamAnswerV1::Flushed(position) => Ok(position.map(Position::log_id)),
            StreamAnswerV1::Conflict(position) => Err(Error::Conflict(position.log_id())),
            StreamAnswerV1::HigherVote(vote) => Err(Error::HigherVote(vote.into())),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct VoteRequestV1 {
    pub(crate) vote: VoteV1,
    pub(crate) last: Option<Position>,
    pub(crate) is_pre_vote: bool,
    pub(crate) is_transfer: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct VoteAnswerV1 {
    pub(crate) vote: VoteV1,
    pub(crate) is_granted: bool,
    pub(crate) last: Option<Position>,
}

/// Head of a snapshot on the wire. The state follows as `bytes` raw bytes with this CRC-32.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotHeadV1 {
    pub(crate) vote: VoteV1,
    pub(crate) checkpoint: CheckpointV1,
    pub(crate) bytes: u64,
    pub(crate) checksum: u32,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotAnswerV1 {
    pub(crate) vote: VoteV1,
}

/// A request of the layer above, or its answer; opaque to this crate.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CallV1(pub(crate) ByteBuf);

#[cfg(test)]
mod samples;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> LogEntry {
        LogEntry {
            log_id: Position { term: 3, node: 2, index: 17 }.log_id(),
            payload: EntryPayload::Normal(Payload(b"payload".to_vec())),
        }
    }

    #[test]
    fn an_entry_reads_back_and_damage_is_refused() {
        let bytes = encode(&EntryV1::from(&entry())).unwrap();
        let back = decode::<EntryV1>(&bytes).unwrap().into_entry().unwrap();
        assert_eq!(back, entry());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode::<EntryV1>(&flipped).is_err(), "bit {bit}");
        }
        assert!(decode::<MarkV1>(&bytes).is_err(), "another kind");
        assert!(decode::<EntryV1>(&bytes[..bytes.len() - 1]).is_err(), "cut");
    }

    #[test]
    fn a_hostile_length_allocates_nothing() {
        // A valid header, then a sequence that claims 2^60 elements.
        let payload = [0xFD, 0, 0, 0, 0, 0, 0, 0, 0x10];
        let mut bytes = vec![b'C', b'R', FORMAT, CallV1::KIND];
        bytes.extend_from_slice(&9u32.to_be_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&payload).to_be_bytes());
        bytes.extend_from_slice(&payload);
        assert!(decode::<CallV1>(&bytes).is_err());
    }
}
