//! Tokens that let somebody in.

use serde::{Deserialize, Serialize};

use super::{Sealed, Stamp};
use crate::{
    id::{Fingerprint, NodeId},
    time::UnixMillis,
};

/// Who used a join token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUse {
    /// Number that the new member got.
    pub node: NodeId,
    /// SHA-256 of its identity key: the same key may ask again and gets the same answer.
    pub identity: Fingerprint,
}

/// Lets one node join, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// The secret with which the joining node proves that it has the token, sealed.
    pub secret: Sealed,
    /// No use after this.
    pub expires: UnixMillis,
    /// By whom it was used.
    pub used: Option<TokenUse>,
    /// Who made it.
    pub made: Stamp,
}

/// Lets its holder use the admin API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessToken {
    /// Name that people gave.
    pub name: String,
    /// SHA-256 of the secret; the secret itself is random and long enough for that.
    pub secret: Fingerprint,
    /// No use after this, if set.
    pub expires: Option<UnixMillis>,
    /// Who made it.
    pub made: Stamp,
}
