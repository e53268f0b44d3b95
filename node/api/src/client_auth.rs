//! Client certificates of domains.

use serde::{Deserialize, Serialize};

/// Asks clients of a domain for a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// SHA-256 of the trusted certificate that must have issued them, hex; as many leading digits
    /// as make it clear.
    pub issuer: String,
    /// Nobody connects without one.
    #[serde(default)]
    pub required: bool,
}

/// Whether clients of a domain are asked for a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientAuth {
    /// Nobody connects without one.
    pub required: bool,
    /// SHA-256 of the certificate that must have issued them, hex.
    pub issuer: String,
    /// Whom that was issued to; none if it is not trusted any more, or in lists of domains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The set that it stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
}

/// The same for one domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `ClientAuth`.
    pub kind: String,
    /// The domain.
    pub domain: String,
    /// What is asked for; none: clients are not asked.
    pub client_auth: Option<ClientAuth>,
    /// What is wrong, in sentences.
    pub problems: Vec<String>,
}
