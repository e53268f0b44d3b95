//! Join tokens and access tokens.

use serde::{Deserialize, Serialize};

use super::{Sealed, Stamp};
use crate::{
    id::{Fingerprint, NodeId},
    time::UnixMillis,
};

/// Use of a join token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUse {
    /// Number assigned to the new member.
    pub node: NodeId,
    /// SHA-256 of its identity key. A retry with the same key gets the same answer.
    pub identity: Fingerprint,
}

/// Permission for one node to join, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// Secret to prove possession of the token, sealed.
    pub secret: Sealed,
    /// The token is invalid after this time.
    pub expires: UnixMillis,
    /// Its use, once it has been used.
    pub used: Option<TokenUse>,
    /// Its creation.
    pub made: Stamp,
}

/// Permission to use the admin API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessToken {
    /// Name chosen by the operator.
    pub name: String,
    /// SHA-256 of the secret. A plain hash suffices, because the secret is random and long.
    pub secret: Fingerprint,
    /// The token is invalid after this time, if set.
    pub expires: Option<UnixMillis>,
    /// Its creation.
    pub made: Stamp,
}
