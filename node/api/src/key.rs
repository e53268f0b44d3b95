//! Private keys. They are write-only: no answer holds one.

use serde::{Deserialize, Serialize};

/// What a client must be able to verify; a domain can have one key of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Elliptic curves: ECDSA and Ed25519.
    Ec,
    /// RSA.
    Rsa,
}

/// Asks for a new key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generate {
    /// `p256` (default), `p384`, `ed25519`, `rsa2048`, `rsa3072`, `rsa4096`.
    #[serde(default, rename = "type")]
    pub algorithm: Option<String>,
}

/// Brings a key along.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// PEM.
    pub key: String,
    /// What opens an encrypted PKCS#8 key; it is used once and not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<String>,
}

/// What may be known of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Family of its algorithm.
    pub family: Family,
    /// Algorithm and size in words, `EC P-256`.
    pub algorithm: String,
    /// SHA-256 of the public key (SubjectPublicKeyInfo, DER).
    pub sha256: String,
    /// Generation of the keyring that seals it.
    pub generation: u64,
    /// When it was assigned.
    pub assigned: String,
}

/// What one node says of a domain's keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Test {
    /// Which node.
    pub node: String,
    /// Each key opens there, signs, and what it signs verifies; RSA also decrypts.
    pub ok: bool,
    /// `Verification String is OK`, or why not.
    pub message: String,
    /// Microseconds that it took.
    pub took_us: u64,
}
