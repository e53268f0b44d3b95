//! Trusted certificates.

use serde::{Deserialize, Serialize};

/// Adds certificates to a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Add {
    /// PEM: one certificate or several.
    pub certificates: String,
}

/// Removes certificates from a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remove {
    /// SHA-256 of each, hex; as many leading digits as make it clear.
    pub fingerprints: Vec<String>,
}

/// A trusted certificate, as a set holds or inherits it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trusted {
    /// `domain`, `server`, `cluster` or `builtin`.
    pub set: String,
    /// It stands in this very set and can be removed from it.
    pub own: bool,
    /// All attributes of whom it was issued to.
    pub subject: String,
    /// Serial number, hex.
    pub serial: String,
    /// First moment of validity.
    pub not_before: String,
    /// Last moment of validity.
    pub not_after: String,
    /// SHA-256 of the certificate, hex.
    pub sha256: String,
    /// The certificate.
    pub pem: String,
}
