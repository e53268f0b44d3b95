//! Access tokens of the admin API.

use serde::{Deserialize, Serialize};

/// Asks for an access token.
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
    /// Its public part.
    pub id: String,
    /// Name.
    pub name: String,
    /// When it expires.
    pub expires: Option<String>,
    /// When it was made.
    pub made: String,
    /// By whom.
    pub made_by: String,
}

/// A new access token; the secret is shown once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewToken {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `Token`.
    pub kind: String,
    /// The whole token: `cvt_ID.SECRET.FINGERPRINT`. The fingerprint is that of the cluster's
    /// authority, so that its holder knows whom to trust over HTTPS.
    pub token: String,
    /// What it is.
    #[serde(flatten)]
    pub about: Token,
    /// The change that made it.
    pub change: crate::change::Change,
}
