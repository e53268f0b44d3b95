//! Requests and answers about domains.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    canary::Canary, certificate::Certificate, client_auth::ClientAuth, finding::Finding,
    grant::named, key::Key,
};

named!(
    /// How a domain is, as a status counts it.
    DomainState,
    "state of a domain",
    /// Enabled, and nothing needs attention.
    Valid = "valid",
    /// Enabled, with a certificate that expires soon.
    Expiring = "expiring",
    /// Enabled, but clients will be refused, all or some of them.
    Problem = "problem",
    /// In test mode.
    Test = "test",
    /// Disabled.
    Disabled = "disabled",
);

named!(
    /// The order of a list of domains.
    DomainOrder,
    "order of domains",
    /// By name.
    Name = "name",
    /// By the end of the certificate that ends first; domains without one are the last.
    Expiry = "expiry",
);

/// Scope of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The domain exists on every node.
    Shared,
    /// The domain exists on one node.
    Local,
}

/// PKI mode of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "PkiMode")]
pub enum Pki {
    /// No TLS.
    Disabled,
    /// TLS with the node's test certificate.
    Test,
    /// TLS with the domain's own certificate.
    Enabled,
}

/// Request to create a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "DomainCreate")]
pub struct Create {
    /// Name.
    pub name: String,
    /// Aliases; wildcards are possible.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Local addresses of this domain. They select it when a client sends no server name.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Scope; shared if not given.
    #[serde(default)]
    pub scope: Option<Scope>,
    /// PKI mode; `test` if not given.
    #[serde(default)]
    pub pki: Option<Pki>,
}

/// Request to change a domain. Fields that are not given stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "DomainSet")]
pub struct Set {
    /// PKI mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pki: Option<Pki>,
    /// Replacement for all aliases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aliases: Option<Vec<String>>,
    /// Aliases to add.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add_aliases: Vec<String>,
    /// Aliases to remove.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove_aliases: Vec<String>,
    /// Replacement for all addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<String>>,
}

/// A private key with its certificate and chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Credential {
    /// Public facts about the key.
    pub key: Key,
    /// Certificate.
    pub certificate: Option<Certificate>,
    /// CA chain, issuer of the certificate first.
    pub chain: Vec<Certificate>,
    /// Trusted certificate at the end of the chain, and the set that contains it. Only in answers
    /// about one domain, since it needs path validation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_by: Option<String>,
}

/// A domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Domain {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `Domain`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// The name with the letters of its language, if it is an international one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unicode_name: Option<String>,
    /// Scope.
    pub scope: Scope,
    /// A shared domain of the same name is served instead of this local one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    /// This is the Main Domain of the answering node.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub main: bool,
    /// Number of trusted certificates and revocation lists in the domain's own set.
    #[serde(default)]
    pub trusted: u64,
    /// Aliases.
    pub aliases: Vec<String>,
    /// Addresses.
    pub addresses: Vec<String>,
    /// PKI mode.
    pub pki: Pki,
    /// Keys with their certificates and chains, at most one of each family. A client gets the first
    /// certificate whose signatures it can verify.
    pub credentials: Vec<Credential>,
    /// Keys that wait for their certificates, at most one of each family.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending_keys: Vec<Key>,
    /// A new certificate that one node serves before all others do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// Client-certificate policy; none: clients are not asked for a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_auth: Option<ClientAuth>,
    /// Version.
    pub version: u64,
    /// Time of the last change.
    pub changed: String,
    /// Author of that change.
    pub changed_by: String,
    /// Reason of that change.
    pub reason: Option<String>,
    /// Problems of the domain, in sentences.
    pub problems: Vec<String>,
    /// The same with weights and next steps. Answers about one domain have those that need path
    /// validation too.
    #[serde(default)]
    pub findings: Vec<Finding>,
}

/// Request to rename a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "DomainRename")]
pub struct Rename {
    /// The new name.
    pub name: String,
}

/// Request to restore an earlier version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "DomainRollback")]
pub struct Rollback {
    /// Version to restore.
    pub version: u64,
}

/// One version of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DomainVersion {
    /// Number of the version.
    pub version: u64,
    /// Whether this is the current version.
    pub current: bool,
    /// Time of the change that made it.
    pub changed: String,
    /// Author of that change.
    pub changed_by: String,
    /// Reason of that change.
    pub reason: Option<String>,
    /// PKI mode.
    pub pki: Pki,
    /// SHA-256 of each public key.
    pub keys: Vec<String>,
    /// Serial number of each certificate.
    pub certificates: Vec<String>,
    /// What the change that made it changed, in words. Empty if the version before is no longer
    /// stored, or the answering node is older than this field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
}
