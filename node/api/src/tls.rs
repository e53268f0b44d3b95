//! TLS settings of the cluster, and its sessions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How much a handshake says in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Only what an operator must act on.
    Error,
    /// Refused and failed handshakes too.
    Info,
    /// Every handshake.
    Debug,
}

/// Changes settings; what is not given stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Set {
    /// How much is logged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_level: Option<LogLevel>,
    /// Seconds for which a session may resume; 0: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u64>,
    /// Seconds after which a new ticket key is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation_s: Option<u64>,
    /// Oldest version accepted: `1.2` or `1.3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_version: Option<String>,
    /// Choose the domain by the server name of the hello.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_target_domain: Option<bool>,
    /// A wrong client certificate ends the handshake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abort_on_wrong_client_certificate: Option<bool>,
    /// Cipher suites by their IANA names, wanted ones first; empty: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cipher_suites: Option<Vec<String>>,
    /// Key exchange groups by their IANA names, wanted ones first; empty: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// Cannot be turned on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cbc_ciphers_for_old_tls: Option<bool>,
    /// Cannot be turned on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weak_ciphers: Option<bool>,
    /// Cannot be turned on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept_sslv2_hello: Option<bool>,
}

/// The settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `TlsSettings`.
    pub kind: String,
    /// How much is logged.
    pub log_level: LogLevel,
    /// Seconds for which a session may resume; 0: never.
    pub ttl_s: u64,
    /// Seconds after which a new ticket key is made.
    pub rotation_s: u64,
    /// Oldest version accepted: `1.2` or `1.3`.
    pub min_version: String,
    /// The domain is chosen by the server name of the hello.
    pub process_target_domain: bool,
    /// A wrong client certificate ends the handshake; else it counts as none.
    pub abort_on_wrong_client_certificate: bool,
    /// Cipher suites, wanted ones first; empty: all that the program has.
    pub cipher_suites: Vec<String>,
    /// Groups, wanted ones first; empty: all that the program has.
    pub groups: Vec<String>,
    /// All cipher suites of the answering node's program.
    pub known_cipher_suites: Vec<String>,
    /// All groups of the answering node's program.
    pub known_groups: Vec<String>,
    /// What this server does not speak, with the reason.
    pub legacy: Vec<Legacy>,
    /// Number of times that all sessions were ended.
    pub flushes: u64,
    /// Number of changes.
    pub version: u64,
    /// Where the answering node is stricter by its configuration file.
    pub node: NodeLimits,
}

/// Something old that cannot be turned on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Legacy {
    /// Option of `tls set`.
    pub setting: String,
    /// Always `off`.
    pub value: String,
    /// Why.
    pub reason: String,
}

/// Limits in the configuration file of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeLimits {
    /// The node.
    pub name: String,
    /// Oldest version that it accepts, whatever the cluster says.
    pub min_version: String,
    /// Cipher suites that it accepts at most; empty: those of the cluster.
    pub cipher_suites: Vec<String>,
}

/// What is known of sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `TlsSessions`.
    pub kind: String,
    /// Seconds for which a session may resume; 0: never.
    pub ttl_s: u64,
    /// Number of times that all sessions were ended.
    pub flushes: u64,
    /// Keys that tickets and cookies are sealed with.
    pub keys: Vec<SessionKeys>,
    /// What the node that answers has done since its start.
    pub node: Handshakes,
}

/// Handshakes of one node since its start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshakes {
    /// Which node.
    pub name: String,
    /// Those that came to their end.
    pub done: u64,
    /// Those of them that resumed a session.
    pub resumed: u64,
    /// Those that did not, by reason; reasons that never occurred are left out.
    pub failed: BTreeMap<String, u64>,
}

/// Which domain a client of this name at this address is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `TlsServed`.
    pub kind: String,
    /// The domain; none if the name leads to none.
    pub domain: Option<String>,
    /// How it is found: `name`, `address` or `main`.
    pub chosen: Option<String>,
    /// SHA-256 of its certificates, hex.
    pub certificates: Vec<String>,
    /// The member with that address, as far as it is known.
    pub node: Option<String>,
}

/// Session keys of one use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionKeys {
    /// `ticket` or `cookie`.
    #[serde(rename = "use")]
    pub used_for: String,
    /// Keys that may still open something.
    pub count: u64,
    /// Seconds after which a new one is made.
    pub rotation_s: u64,
    /// The key in use.
    pub active: Option<SessionKey>,
    /// Its successor, which nodes open with but do not use yet.
    pub next: Option<SessionKey>,
}

/// One session key; the key itself is never shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionKey {
    /// Its public name.
    pub id: String,
    /// When it was made.
    pub made: String,
    /// Seconds since then.
    pub age_s: u64,
    /// No node seals with it after this.
    pub not_after: String,
    /// No node opens with it after this.
    pub expires: String,
    /// Generation of the keyring that it is sealed under.
    pub generation: u64,
}
