//! Requests and answers about join tokens.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Request to create a join token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "JoinTokenCreate")]
pub struct Create {
    /// Seconds until it expires; 3600 if not given.
    pub expires_in: Option<u64>,
}

/// A new join token. Its secret is shown only in this answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JoinToken {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `JoinToken`.
    pub kind: String,
    /// Public id of the token.
    pub id: String,
    /// The whole token.
    pub token: String,
    /// `HOST:PORT` of the answering node, for `cluster join`.
    pub address: String,
    /// SHA-256 of the certificate of the cluster's authority; part of the token.
    pub fingerprint: String,
    /// Expiry time.
    pub expires: String,
    /// Result of the change.
    pub change: crate::change::Change,
}

/// A join token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "KnownJoinToken")]
pub struct Known {
    /// Public id.
    pub id: String,
    /// Expiry time.
    pub expires: String,
    /// Number of the node that has used it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by: Option<u64>,
    /// Creation time.
    pub made: String,
    /// Principal of the creator.
    pub made_by: String,
}
