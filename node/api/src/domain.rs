//! Domains.

use serde::{Deserialize, Serialize};

use crate::{certificate::Certificate, client_auth::ClientAuth, key::Key};

/// Where a domain lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// On every node.
    Shared,
    /// On one node.
    Local,
}

/// PKI services of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pki {
    /// No TLS.
    Disabled,
    /// The node's test certificate.
    Test,
    /// The domain's own certificate.
    Enabled,
}

/// Asks for a new domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// Name.
    pub name: String,
    /// Further names, wildcards included.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Local addresses that mean this domain when a client sends no name.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Where it lives; shared if not given.
    #[serde(default)]
    pub scope: Option<Scope>,
    /// PKI services; `test` if not given.
    #[serde(default)]
    pub pki: Option<Pki>,
}

/// Changes a domain; what is not given stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// PKI services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pki: Option<Pki>,
    /// All aliases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aliases: Option<Vec<String>>,
    /// Aliases to have besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add_aliases: Vec<String>,
    /// Aliases to have no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove_aliases: Vec<String>,
    /// All addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<String>>,
}

/// A private key and what was issued for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// What may be known of the key.
    pub key: Key,
    /// Certificate.
    pub certificate: Option<Certificate>,
    /// CA chain, issuer of the certificate first.
    pub chain: Vec<Certificate>,
    /// Which trusted certificate the chain leads to, and the set that it stands in; only when
    /// one domain is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_by: Option<String>,
}

/// A domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `Domain`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Where it lives.
    pub scope: Scope,
    /// A shared domain of the same name exists and is served instead of this local one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    /// Further names.
    pub aliases: Vec<String>,
    /// Addresses.
    pub addresses: Vec<String>,
    /// PKI services.
    pub pki: Pki,
    /// Keys with what belongs to them: at most one of each family. A client gets the
    /// certificate of the first that it can verify.
    pub credentials: Vec<Credential>,
    /// Whether clients are asked for a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_auth: Option<ClientAuth>,
    /// Version.
    pub version: u64,
    /// When it was changed last.
    pub changed: String,
    /// By whom.
    pub changed_by: String,
    /// Why.
    pub reason: Option<String>,
    /// What is wrong with it, in sentences; empty if nothing is.
    pub problems: Vec<String>,
}

/// Gives a domain another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rename {
    /// The new name.
    pub name: String,
}

/// Makes an earlier version the present one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// Which version.
    pub version: u64,
}

/// One version of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainVersion {
    /// Its number.
    pub version: u64,
    /// It is the present one.
    pub current: bool,
    /// When it was made.
    pub changed: String,
    /// By whom.
    pub changed_by: String,
    /// Why.
    pub reason: Option<String>,
    /// PKI services.
    pub pki: Pki,
    /// SHA-256 of each public key.
    pub keys: Vec<String>,
    /// Serial number of each certificate.
    pub certificates: Vec<String>,
}
