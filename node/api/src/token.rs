//! Requests and answers about access tokens of the admin API.

use serde::{Deserialize, Serialize};

/// Request to create an access token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// Name, for people.
    pub name: String,
    /// Seconds until it expires; never if not given.
    #[serde(default)]
    pub expires_in: Option<u64>,
}

/// An access token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// A new access token. Its secret is shown only in this answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
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
