//! Trusted certificates.

use serde::{Deserialize, Serialize};

/// Adds certificates and revocation lists to a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Add {
    /// PEM: certificates and revocation lists, one at least.
    pub certificates: String,
}

/// Removes certificates and revocation lists from a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remove {
    /// SHA-256 of each as it is listed, hex; as many leading digits as make it clear.
    pub fingerprints: Vec<String>,
}

/// What stands in a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// A trusted certificate.
    Certificate,
    /// A revocation list of an authority.
    Crl,
}

/// A trusted certificate or a revocation list, as a set holds or inherits it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trusted {
    /// `domain`, `server`, `cluster` or `builtin`.
    pub set: String,
    /// It stands in this very set and can be removed from it.
    pub own: bool,
    /// What it is.
    #[serde(rename = "type")]
    pub of: Type,
    /// All attributes of whom it was issued to; of a list: of who issued it.
    pub subject: String,
    /// Serial number, or number of the list, hex.
    pub serial: String,
    /// First moment of validity; of a list: when it was issued.
    pub not_before: String,
    /// Last moment of validity; of a list: when the next one comes at the latest.
    pub not_after: String,
    /// SHA-256 of the certificate, hex; of a list: of its issuer's name.
    pub sha256: String,
    /// Number of certificates that a list revokes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<u64>,
    /// The certificate or list.
    pub pem: String,
}
