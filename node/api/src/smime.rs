//! Requests and answers about the issuers of S/MIME certificates.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{certificate::Certificate, key::Key};

/// What issues the certificates of a domain's accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SmimeIssuer")]
pub struct Issuer {
    /// Name of the domain.
    pub domain: String,
    /// Whether it is a key of its own. Otherwise it is the domain's certificate.
    pub own: bool,
    /// The key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// Certificate of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// Certificates above it, its issuer first.
    pub chain: Vec<Certificate>,
    /// Whether it may issue certificates of accounts.
    pub may_issue: bool,
    /// Why it may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Command that mends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Number of revoked certificates.
    pub revoked: u32,
    /// URL of the revocation list that new certificates of accounts name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crl_url: Option<String>,
    /// SHA-256 of the recovery key (SubjectPublicKeyInfo, DER): its holder can open the keys that
    /// accounts get from now on. None: nobody can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_key: Option<String>,
    /// Number of changes of a key of its own; 0 without one.
    pub version: u64,
}

/// Subject of an issuer's certificate or signing request. Every field is optional.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "SmimeSubject")]
pub struct Subject {
    /// Type of a new key, if there is none: `p256` (default), `p384`, `rsa2048`, `rsa3072`,
    /// `rsa4096`.
    #[serde(rename = "type")]
    pub algorithm: Option<String>,
    /// Common name; `S/MIME CA of` the domain if not given.
    pub common_name: Option<String>,
    /// Country, two letters.
    pub country: Option<String>,
    /// Organization.
    pub organization: Option<String>,
    /// Unit.
    pub unit: Option<String>,
    /// Days of validity, 3650 if not given. A signing request has none.
    pub days: Option<u32>,
}

/// Request to import an issuer's certificate, with or without its chain and its key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SmimeImport")]
pub struct Import {
    /// PEM: the certificate and, if it has one, its chain.
    pub certificate: String,
    /// PEM: the private key. Without it the certificate is for the present key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Passphrase of an encrypted PKCS#8 key. It is used once and not stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<String>,
}

/// Request to set the chain above the issuer's certificate.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SmimeChain")]
pub struct Chain {
    /// PEM, issuer of the certificate first; empty to send none.
    pub chain: String,
}

/// Request to change what a domain does for its accounts; what is not given stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "SmimeSet")]
pub struct Set {
    /// URL of the revocation list that new certificates of accounts name; empty: they name none.
    pub crl_url: Option<String>,
}

/// Request to set the recovery key of a domain's accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SmimeRecoveryKey")]
pub struct SetRecoveryKey {
    /// PEM: the public key, EC P-256.
    pub public_key: String,
}

/// A certificate revocation list (RFC 5280 §5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SmimeCrl")]
pub struct Crl {
    /// Its number, hex.
    pub number: String,
    /// Time of issue.
    pub this_update: String,
    /// Time by which the next one is issued.
    pub next_update: String,
    /// Number of revoked certificates in it.
    pub revoked: usize,
    /// The list, PEM.
    pub pem: String,
}
