//! Requests and answers about trusted certificates and revocation lists.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Request to add certificates and revocation lists to a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TrustAdd")]
pub struct Add {
    /// PEM: at least one certificate or revocation list.
    pub certificates: String,
}

/// Request to remove certificates and revocation lists from a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TrustRemove")]
pub struct Remove {
    /// SHA-256 of each entry as listed, hex. A unique prefix is enough.
    pub fingerprints: Vec<String>,
}

/// Type of an entry of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "TrustedType")]
pub enum Type {
    /// A trusted certificate.
    Certificate,
    /// A revocation list of an authority.
    Crl,
}

/// A trusted certificate or revocation list that a set contains or inherits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Trusted {
    /// `domain`, `server`, `cluster` or `builtin`.
    pub set: String,
    /// Whether the requested set itself contains the entry. Inherited entries cannot be removed
    /// from it.
    pub own: bool,
    /// Type of the entry.
    #[serde(rename = "type")]
    pub of: Type,
    /// Certificate: subject, with all attributes. List: issuer, with all attributes.
    pub subject: String,
    /// Certificate: serial number, hex. List: CRL number, hex.
    pub serial: String,
    /// Certificate: start of validity. List: time of issue.
    pub not_before: String,
    /// Certificate: end of validity. List: latest time of the next list.
    pub not_after: String,
    /// Certificate: its SHA-256, hex. List: SHA-256 of its issuer's name, hex.
    pub sha256: String,
    /// List: number of revoked certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<u64>,
    /// The certificate or list, PEM.
    pub pem: String,
}
