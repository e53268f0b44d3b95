//! How TLS and DTLS are spoken in the whole cluster.

use serde::{Deserialize, Serialize};

use crate::id::Version;

/// How much a handshake says in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TlsLogLevel {
    /// Only what an operator must act on.
    Error,
    /// Refused and failed handshakes too.
    Info,
    /// Every handshake, with how its domain was chosen.
    Debug,
}

/// Oldest version that is accepted; DTLS knows only 1.2 so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246), AEAD suites only.
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

/// TLS settings of the cluster (C3); one row, made when it is first changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsSettings {
    /// How much is logged.
    pub log_level: TlsLogLevel,
    /// Seconds for which a session may resume; 0: never.
    pub session_ttl_s: u32,
    /// Seconds after which a new ticket key is made.
    pub ticket_rotation_s: u32,
    /// Oldest version accepted.
    pub version_min: TlsVersion,
    /// The domain is chosen by the server name of the hello, if it has one.
    pub process_target_domain: bool,
    /// A wrong client certificate ends the handshake; else it counts as none.
    pub abort_on_wrong_client_certificate: bool,
    /// Cipher suites by their IANA names, wanted ones first; empty: all that the program has.
    pub cipher_suites: Vec<String>,
    /// Key exchange groups by their IANA names, wanted ones first; empty: all.
    pub groups: Vec<String>,
    /// Sessions made under another number do not resume.
    pub flushes: u64,
    /// Number of changes.
    pub version: Version,
}

impl Default for TlsSettings {
    fn default() -> TlsSettings {
        TlsSettings {
            log_level: TlsLogLevel::Info,
            session_ttl_s: 2 * 60 * 60,
            ticket_rotation_s: 60 * 60,
            version_min: TlsVersion::V1_2,
            process_target_domain: true,
            abort_on_wrong_client_certificate: true,
            cipher_suites: Vec::new(),
            groups: Vec::new(),
            flushes: 0,
            version: Version(0),
        }
    }
}
