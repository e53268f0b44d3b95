//! Proofs: marks of members that hold the keyring.
//!
//! Raft orders what any member sends, also one whose disk was stolen and which cannot open the
//! keyring. What decides who may open secrets therefore carries a MAC under the keyring. The rules
//! cannot verify it, because they know no keys; nodes verify it before they rely on the row.

use serde::{Deserialize, Serialize};

use crate::id::{Generation, NodeId, TokenId, UserId};

/// Subject of a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ProofOf {
    /// A generation of the keyring, under the one before it.
    Generation(Generation),
    /// A member's name and keys.
    Member(NodeId),
    /// An access token.
    AccessToken(TokenId),
    /// A user (level 4).
    User(UserId),
    /// The cut of the audit trail (level 4).
    AuditCut,
}

/// A MAC under a generation of the keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The generation.
    pub generation: Generation,
    /// HMAC-SHA256.
    pub mac: [u8; 32],
}
