//! Arguments of the changes of tokens and users, from level 4 on.

use serde::{Deserialize, Serialize};

use crate::{
    id::{TokenId, UserName},
    record::{AccessToken, Grant, Proof, User},
};

/// See [`super::Action::GrantToken`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantToken {
    /// Id of the token.
    pub id: TokenId,
    /// The token.
    pub token: AccessToken,
    /// What its holder may do.
    pub grant: Grant,
    /// Proof of both.
    pub proof: Proof,
}

/// See [`super::Action::RevokeTokens`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeTokens {
    /// Access tokens.
    pub access: Vec<TokenId>,
    /// Join tokens.
    pub join: Vec<TokenId>,
}

/// See [`super::Action::PutUser`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutUser {
    /// The user's name.
    pub name: UserName,
    /// The user.
    pub user: User,
    /// Proof of the user.
    pub proof: Proof,
    /// Whether the user must not exist yet; otherwise it must exist.
    pub is_new: bool,
}
