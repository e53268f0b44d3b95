//! Basic types of this crate, and the type parameters of openraft.

use std::fmt;

use serde::{Deserialize, Serialize};

openraft::declare_raft_types!(
    /// Type parameters of openraft.
    pub(crate) Types:
        D = Payload,
        R = Response,
        NodeId = u64,
        Node = openraft::BasicNode,
        Term = u64,
        LeaderId = openraft::impls::leader_id_adv::LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = crate::rt::Rt,
);

pub(crate) type LogId = openraft::alias::LogIdOf<Types>;
pub(crate) type Vote = openraft::alias::VoteOf<Types>;
pub(crate) type LogEntry = openraft::alias::EntryOf<Types>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<Types>;
pub(crate) type Membership = openraft::Membership<u64, openraft::BasicNode>;

/// Payload of an entry: opaque bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Payload(#[serde(with = "serde_bytes")] pub(crate) Vec<u8>);

impl fmt::Display for Payload {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} bytes", self.0.len())
    }
}

/// Answer of the machine to one payload: opaque bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Response(#[serde(with = "serde_bytes")] pub(crate) Vec<u8>);

/// Number of a node. Never reused.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Identity of an entry of the log: two logs with the same position have the same entries up to it
/// (Raft §5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Position {
    /// Term of the proposing leader.
    pub term: u64,
    /// The proposing leader.
    pub node: u64,
    /// Index in the log.
    pub index: u64,
}

impl Position {
    pub(crate) fn of(id: &LogId) -> Position {
        let leader = id.committed_leader_id();
        Position { term: leader.term, node: leader.node_id, index: id.index() }
    }

    pub(crate) fn log_id(self) -> LogId {
        let leader =
            openraft::impls::leader_id_adv::LeaderId { term: self.term, node_id: self.node };
        LogId::new(leader, self.index)
    }
}

/// Position of a group in the sequence of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct GroupPoint {
    /// Number of the group: one more than that of the group before it.
    pub(crate) sequence: u64,
    /// Checksum over the checksums of all groups up to this one.
    pub(crate) chain: u32,
}

impl GroupPoint {
    /// Returns the point of the next group, whose body has this checksum.
    pub(crate) fn next(self, body_checksum: u32) -> GroupPoint {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.chain.to_be_bytes());
        hasher.update(&body_checksum.to_be_bytes());
        GroupPoint { sequence: self.sequence + 1, chain: hasher.finalize() }
    }
}
