//! Arguments of the changes of members and of the keyring, from level 3 on.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::RotateKeyring;
use crate::{
    id::{Generation, LogIndex, NodeId, TokenId},
    record::{Member, MemberPlace, MemberRole, Proof, ProofOf, RowKey, Sealed},
};

/// See [`super::Action::TurnKeyring`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnKeyring {
    /// The new generation.
    pub rotate: RotateKeyring,
    /// Proof of the new generation under the one before.
    pub proof: Proof,
    /// Proofs of the remaining members under the new generation, in their order.
    pub members: Vec<(NodeId, Proof)>,
}

/// See [`super::Action::RemoveMember`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveMember {
    /// The member.
    pub id: NodeId,
    /// The generation that it never gets.
    pub turn: TurnKeyring,
}

/// See [`super::Action::Join`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// The token; admission has verified the proof of possession.
    pub token: TokenId,
    /// The new member.
    pub member: Member,
    /// Where it stands.
    pub place: MemberPlace,
    /// Every generation that the keyring has afterwards, wrapped for it.
    pub wraps: Vec<(Generation, ByteBuf)>,
    /// Proof of the member under the generation that is current afterwards.
    pub proof: Proof,
    /// The member whose name and place it takes. It leaves in the same step.
    pub replaces: Option<RemoveMember>,
}

/// See [`super::Action::SetMember`]; `None` keeps a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetMember {
    /// The member.
    pub id: NodeId,
    /// Its address for its peers.
    pub address: Option<String>,
    /// Its intended role.
    pub role: Option<MemberRole>,
    /// Where it stands.
    pub place: Option<MemberPlace>,
}

/// See [`super::Action::Reseal`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reseal {
    /// Secrets under the current generation, in place of older ones.
    pub secrets: Vec<Resealed>,
    /// Proofs under the current generation.
    pub proofs: Vec<(ProofOf, Proof)>,
}

/// The secrets of one row, sealed anew. A row that has changed since is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resealed {
    /// The row.
    pub key: RowKey,
    /// Index of its last change when its secrets were opened.
    pub changed_at: LogIndex,
    /// All its secrets, in the order of [`crate::record::Record::sealed`].
    pub secrets: Vec<Sealed>,
}
