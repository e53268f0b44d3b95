//! Requests and answers about client certificates of domains.

use serde::{Deserialize, Serialize};

/// Request to make a domain ask its clients for a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// SHA-256 of the trusted certificate that must have issued them, hex. A unique prefix is
    /// enough.
    pub issuer: String,
    /// Whether clients without a certificate are refused.
    #[serde(default)]
    pub required: bool,
}

/// The client-certificate policy of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientAuth {
    /// Whether clients without a certificate are refused.
    pub required: bool,
    /// SHA-256 of the certificate that must have issued them, hex.
    pub issuer: String,
    /// Subject of the issuer's certificate; none if it is no longer trusted, and in lists of
    /// domains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The set of trusted certificates that holds the issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
}

/// The client-certificate policy as an answer of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
