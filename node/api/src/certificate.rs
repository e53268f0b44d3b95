//! Certificates.

use serde::{Deserialize, Serialize};

/// Brings a certificate along: alone, with its chain, with its key.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// PEM: the certificate and, if it has one, its chain.
    pub certificate: String,
    /// PEM: the private key, to replace the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What opens the key if it is encrypted PKCS#8; it is used once and not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<String>,
    /// Take it though it is for none of the domain's names.
    #[serde(default)]
    pub allow_name_mismatch: bool,
    /// Take the chain though it is broken.
    #[serde(default)]
    pub allow_broken_chain: bool,
    /// Put the chain in order.
    #[serde(default)]
    pub sort: bool,
}

/// Asks for the same self-signed certificate with a new validity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Refresh {
    /// Days of validity; 365 if not given.
    pub days: Option<u32>,
}

/// Asks for a self-signed certificate; every field may stay empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SelfSign {
    /// Common name; the domain's name if not given.
    pub common_name: Option<String>,
    /// Country, two letters.
    pub country: Option<String>,
    /// Province or state.
    pub province: Option<String>,
    /// City.
    pub city: Option<String>,
    /// Organization.
    pub organization: Option<String>,
    /// Unit.
    pub unit: Option<String>,
    /// E-mail address of a contact.
    pub contact: Option<String>,
    /// Further names beside the domain's own and its aliases.
    pub names: Vec<String>,
    /// Days of validity; 365 if not given.
    pub days: Option<u32>,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// All attributes of whom it was issued to.
    pub subject: String,
    /// All attributes of who issued it.
    pub issuer: String,
    /// Serial number, hex.
    pub serial: String,
    /// First moment of validity.
    pub not_before: String,
    /// Last moment of validity.
    pub not_after: String,
    /// Full days left; negative if it has expired.
    pub days_left: i64,
    /// DNS names, addresses and e-mail addresses that it is for.
    pub names: Vec<String>,
    /// Algorithm and size of its key.
    pub algorithm: String,
    /// SHA-256 of the certificate.
    pub sha256: String,
    /// SHA-256 of its public key.
    pub key_sha256: String,
    /// The certificate.
    pub pem: String,
}
