//! Requests and answers about client certificates of domains.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Request to make a domain ask its clients for a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ClientAuthSet")]
pub struct Set {
    /// SHA-256 of the required issuer's certificate, which must be trusted, hex. A unique prefix is
    /// enough.
    pub issuer: String,
    /// Whether clients without a certificate are refused.
    #[serde(default)]
    pub required: bool,
}

/// The client-certificate policy of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClientAuth {
    /// Whether clients without a certificate are refused.
    pub required: bool,
    /// SHA-256 of the required issuer's certificate, hex.
    pub issuer: String,
    /// Subject of the issuer's certificate; none if it is no longer trusted, and in lists of
    /// domains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The set of trusted certificates that contains the issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
}

/// Answer about the client-certificate policy of one domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ClientAuthShown")]
pub struct Shown {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `ClientAuth`.
    pub kind: String,
    /// The domain.
    pub domain: String,
    /// The policy; none: clients are not asked for a certificate.
    pub client_auth: Option<ClientAuth>,
    /// Problems of the policy, in sentences.
    pub problems: Vec<String>,
}
