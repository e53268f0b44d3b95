//! Requests and answers about access tokens of the admin API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Request to create an access token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TokenCreate")]
pub struct Create {
    /// Name, for people.
    pub name: String,
    /// Seconds until it expires: 1 to 31,622,400 (366 days), 90 days if not given.
    #[serde(default)]
    pub expires_in: Option<u64>,
    /// Whether it never expires. Only at the admin socket.
    #[serde(default)]
    pub never_expires: bool,
    /// What its holder may do. Needed from version 0.4.0 on.
    #[serde(default)]
    pub grant: Option<crate::grant::Grant>,
}

/// An access token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// Public id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Expiry time; none: never.
    pub expires: Option<String>,
    /// Creation time.
    pub made: String,
    /// Principal of the creator.
    pub made_by: String,
    /// What its holder may do; none: everything, because it is older than version 0.4.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<crate::grant::Grant>,
    /// Number of changes that it may still make; none: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses_left: Option<u32>,
    /// Name of the user, if a login made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// The answer to the revocation of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "TokenRevoked")]
pub struct Revoked {
    /// Result of the change.
    #[serde(flatten)]
    pub change: crate::change::Change,
    /// Ids and names of the tokens that ended because this one had made them.
    pub made_by_it: Vec<String>,
}

/// A new access token. Its secret is shown only in this answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewToken {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `Token`.
    pub kind: String,
    /// The whole token: `cvt_ID.SECRET.FINGERPRINT`. With the fingerprint of the cluster's
    /// authority its holder can verify the node's HTTPS certificate. None if the token existed
    /// already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Public facts about the token.
    #[serde(flatten)]
    pub about: Token,
    /// Result of the change.
    pub change: crate::change::Change,
}
