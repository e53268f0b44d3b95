//! TLS and DTLS settings of the whole cluster.

use serde::{Deserialize, Serialize};

use crate::id::Version;

/// Verbosity of the log about handshakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TlsLogLevel {
    /// Only events for the operator to act on.
    Error,
    /// Refused and failed handshakes as well.
    Info,
    /// Every handshake, with how its domain was chosen.
    Debug,
}

/// Oldest accepted version; DTLS has only 1.2 so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246), AEAD suites only.
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

/// TLS settings of the cluster; one row, created by the first change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsSettings {
    /// Verbosity of the log about handshakes.
    pub log_level: TlsLogLevel,
    /// Lifetime of a session in seconds; 0 disables resumption.
    pub session_ttl_s: u32,
    /// Interval between new ticket keys, in seconds.
    pub ticket_rotation_s: u32,
    /// Oldest version accepted.
    pub version_min: TlsVersion,
    /// Whether the server name of the ClientHello, if present, selects the domain.
    pub process_target_domain: bool,
    /// Whether a wrong client certificate ends the handshake. If not, it is treated as absent.
    pub abort_on_wrong_client_certificate: bool,
    /// Cipher suites by their IANA names, most preferred first; empty: all that are supported.
    pub cipher_suites: Vec<String>,
    /// Key exchange groups by their IANA names, most preferred first; empty: all that are
    /// supported.
    pub groups: Vec<String>,
    /// Number of flushes. Sessions made under another number do not resume.
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
