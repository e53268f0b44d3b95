//! Requests and answers about the cluster's TLS settings and sessions.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Log level of handshakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Actionable errors only.
    Error,
    /// Also refused and failed handshakes.
    Info,
    /// All handshakes.
    Debug,
}

/// Request to change TLS settings. Fields that are not given stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "TlsSet")]
pub struct Set {
    /// Log level of handshakes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_level: Option<LogLevel>,
    /// Lifetime of sessions in seconds; 0 disables resumption.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u64>,
    /// Rotation period of ticket keys in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation_s: Option<u64>,
    /// Oldest version accepted: `1.2` or `1.3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_version: Option<String>,
    /// Choose the domain by the server name of the ClientHello.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_target_domain: Option<bool>,
    /// Whether an invalid client certificate always ends the handshake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abort_on_wrong_client_certificate: Option<bool>,
    /// Cipher suites by their IANA names, most preferred first; empty: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cipher_suites: Option<Vec<String>>,
    /// Key exchange groups by their IANA names, most preferred first; empty: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// Legacy option. Only `false` is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cbc_ciphers_for_old_tls: Option<bool>,
    /// Legacy option. Only `false` is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weak_ciphers: Option<bool>,
    /// Legacy option. Only `false` is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept_sslv2_hello: Option<bool>,
}

/// The TLS settings of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "TlsSettings")]
pub struct Settings {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `TlsSettings`.
    pub kind: String,
    /// Log level of handshakes.
    pub log_level: LogLevel,
    /// Lifetime of sessions in seconds; 0 disables resumption.
    pub ttl_s: u64,
    /// Rotation period of ticket keys in seconds.
    pub rotation_s: u64,
    /// Oldest version accepted: `1.2` or `1.3`.
    pub min_version: String,
    /// Whether the server name of the ClientHello selects the domain.
    pub process_target_domain: bool,
    /// Whether an invalid client certificate always ends the handshake. If not, it is ignored where
    /// a certificate is optional.
    pub abort_on_wrong_client_certificate: bool,
    /// Cipher suites, most preferred first; empty: all that the program supports.
    pub cipher_suites: Vec<String>,
    /// Key exchange groups, most preferred first; empty: all that the program supports.
    pub groups: Vec<String>,
    /// All supported cipher suites of the answering node.
    pub known_cipher_suites: Vec<String>,
    /// All supported key exchange groups of the answering node.
    pub known_groups: Vec<String>,
    /// Disabled legacy options, each with its reason.
    pub legacy: Vec<Legacy>,
    /// Number of session flushes.
    pub flushes: u64,
    /// Version of the settings.
    pub version: u64,
    /// Stricter limits in the configuration file of the answering node.
    pub node: NodeLimits,
}

/// A legacy option, permanently off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "LegacyOption")]
pub struct Legacy {
    /// The option of `tls set`.
    pub setting: String,
    /// Always `off`.
    pub value: String,
    /// The reason.
    pub reason: String,
}

/// TLS limits in the configuration file of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeLimits {
    /// Name of the node.
    pub name: String,
    /// Oldest accepted version of the node, even if the cluster accepts older ones.
    pub min_version: String,
    /// The only accepted cipher suites of the node; empty: those of the cluster.
    pub cipher_suites: Vec<String>,
}

/// State of session resumption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "TlsSessions")]
pub struct Sessions {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `TlsSessions`.
    pub kind: String,
    /// Lifetime of sessions in seconds; 0 disables resumption.
    pub ttl_s: u64,
    /// Number of session flushes.
    pub flushes: u64,
    /// Session keys, which seal tickets and cookies.
    pub keys: Vec<SessionKeys>,
    /// Handshakes of the answering node since its start.
    pub node: Handshakes,
}

/// Handshakes of one node since its start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Handshakes {
    /// Name of the node.
    pub name: String,
    /// Completed handshakes.
    pub done: u64,
    /// Completed handshakes by resumption of a session.
    pub resumed: u64,
    /// Failed handshakes by reason. Reasons that never occurred are omitted.
    pub failed: BTreeMap<String, u64>,
}

/// The domain for a client with a given server name at a given address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "TlsServed")]
pub struct Served {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `TlsServed`.
    pub kind: String,
    /// Name of the domain; none if no domain matches.
    pub domain: Option<String>,
    /// Selection rule: `name`, `address` or `main`.
    pub chosen: Option<String>,
    /// SHA-256 of the certificates that the answering node shows for the domain, hex.
    pub certificates: Vec<String>,
    /// Whether the domain is in test mode. Then each node shows a test certificate of its own.
    #[serde(default)]
    pub is_test: bool,
    /// Name of the member with that address, if known.
    pub node: Option<String>,
}

/// The session keys of one use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionKeys {
    /// `ticket` or `cookie`.
    #[serde(rename = "use")]
    pub used_for: String,
    /// Number of keys, without expired ones.
    pub count: u64,
    /// Rotation period in seconds.
    pub rotation_s: u64,
    /// The sealing key.
    pub active: Option<SessionKey>,
    /// Its successor. Nodes already open with it, but do not seal with it yet.
    pub next: Option<SessionKey>,
}

/// Public facts about a session key. The key itself is never shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionKey {
    /// Public id.
    pub id: String,
    /// Creation time.
    pub made: String,
    /// Age in seconds.
    pub age_s: u64,
    /// End of sealing: no node seals with the key after this time.
    pub not_after: String,
    /// Expiry time: no node opens with the key after it.
    pub expires: String,
    /// Keyring generation of the sealed key.
    pub generation: u64,
}
