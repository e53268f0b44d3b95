//! A domain's certificate, with the facts that rules need.

use serde::{Deserialize, Serialize};

use crate::{id::Fingerprint, time::UnixMillis};

/// A certificate with the facts parsed from it at admission. Apply never parses X.509: two versions
/// of a parser would make replicas differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The certificate, DER.
    #[serde(with = "serde_bytes")]
    pub der: Vec<u8>,
    /// SHA-256 of the certified public key (SubjectPublicKeyInfo, DER).
    pub public_key: Fingerprint,
    /// First moment of validity.
    pub not_before: UnixMillis,
    /// Last moment of validity.
    pub not_after: UnixMillis,
}
