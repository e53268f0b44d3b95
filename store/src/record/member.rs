//! Members: the nodes of the cluster.

use serde::{Deserialize, Serialize};

use crate::{
    id::{Generation, NodeId, NodeName},
    time::UnixMillis,
};

/// Role of a member in Raft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberRole {
    /// Votes.
    Voter,
    /// Receives everything, does not vote.
    Learner,
}

/// A node of the cluster. Peers authenticate it by the public key in this row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Number.
    pub id: NodeId,
    /// Name, unique among members.
    pub name: NodeName,
    /// Intended role.
    pub role: MemberRole,
    /// Public key of its transport identity (SubjectPublicKeyInfo, DER), pinned.
    #[serde(with = "serde_bytes")]
    pub identity_der: Vec<u8>,
    /// X25519 public key for wrapping keyring generations.
    pub sealing_key: [u8; 32],
    /// Address for its peers, `HOST:PORT`.
    pub address: String,
    /// Time of joining.
    pub joined: UnixMillis,
}

/// Where a member stands, from level 3 on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberPlace {
    /// Failure zone, as a data centre or a rack; empty: not said.
    pub zone: String,
}

/// A member that has left. The keys that it could open are known by its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepartedMember {
    /// Its name.
    pub name: NodeName,
    /// Public key of its transport identity (SubjectPublicKeyInfo, DER).
    #[serde(with = "serde_bytes")]
    pub identity_der: Vec<u8>,
    /// Time of leaving.
    pub left: UnixMillis,
    /// Last generation of the keyring that it could open.
    pub generation: Generation,
}
