//! Requests and answers about certificates.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Request to import a certificate, with or without its chain and its key.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CertificateImport")]
pub struct Import {
    /// PEM: the certificate and, if it has one, its chain.
    pub certificate: String,
    /// PEM: the new private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Passphrase of an encrypted PKCS#8 key. It is used once and not stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<String>,
    /// Accept a certificate for none of the domain's names.
    #[serde(default)]
    pub allow_name_mismatch: bool,
    /// Accept a broken chain.
    #[serde(default)]
    pub allow_broken_chain: bool,
    /// Sort the chain.
    #[serde(default)]
    pub sort: bool,
    /// Name of the node that alone serves it at first. Every node serves it after `soak_s`, if its
    /// handshakes with that node are right, and otherwise none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<String>,
    /// Seconds for which the one node serves it alone, 600 if not given; 1 to
    /// [`SOAK_SECONDS_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak_s: Option<u64>,
}

/// Longest time for which one node serves a certificate alone, in seconds: seven days.
pub const SOAK_SECONDS_MAX: u64 = 7 * 24 * 60 * 60;

/// Request to renew the self-signed certificate with a new validity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "CertificateRefresh")]
pub struct Refresh {
    /// Days of validity; as many as the old certificate has if not given.
    pub days: Option<u32>,
}

/// Request to make a self-signed certificate. Every field is optional.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SelfSign {
    /// Common name; the domain's name if not given, none if empty.
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
    /// Names in addition to the domain's own name and its aliases.
    pub names: Vec<String>,
    /// Leave out the domain's own name and its aliases.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub only_names: bool,
    /// Days of validity; 365 if not given.
    pub days: Option<u32>,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Certificate {
    /// Subject, with all attributes.
    pub subject: String,
    /// Issuer, with all attributes.
    pub issuer: String,
    /// Serial number, hex.
    pub serial: String,
    /// Start of validity.
    pub not_before: String,
    /// End of validity.
    pub not_after: String,
    /// Full days left; negative if it has expired.
    pub days_left: i64,
    /// DNS names, IP addresses and e-mail addresses that it covers.
    pub names: Vec<String>,
    /// Algorithm and size of its key.
    pub algorithm: String,
    /// SHA-256 of the certificate.
    pub sha256: String,
    /// SHA-256 of its public key.
    pub key_sha256: String,
    /// The certificate, PEM.
    pub pem: String,
}
