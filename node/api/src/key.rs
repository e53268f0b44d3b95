//! Requests and answers about private keys. Keys are write-only: no answer contains one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Key family, by the signatures that a client must be able to verify. A domain can have one key of
/// each family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "KeyFamily")]
pub enum Family {
    /// Elliptic curves: ECDSA and Ed25519.
    Ec,
    /// RSA.
    Rsa,
}

/// Request to generate a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "KeyGenerate")]
pub struct Generate {
    /// `p256` (default), `p384`, `ed25519`, `rsa2048`, `rsa3072`, `rsa4096`.
    #[serde(default, rename = "type")]
    pub algorithm: Option<String>,
}

/// Request to import a key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "KeyImport")]
pub struct Import {
    /// The private key, PEM.
    pub key: String,
    /// Passphrase of an encrypted PKCS#8 key. It is used once and not stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<String>,
}

/// Public facts about a private key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Key {
    /// Family of its algorithm.
    pub family: Family,
    /// Algorithm and size, as `EC P-256`.
    pub algorithm: String,
    /// SHA-256 of the public key (SubjectPublicKeyInfo, DER).
    pub sha256: String,
    /// Keyring generation of the sealed key.
    pub generation: u64,
    /// Time of assignment to the domain.
    pub assigned: String,
    /// The key of the same family that waits for its certificate, if there is one. Only in answers
    /// about one key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Box<Key>>,
}

/// Result of one node's test of a domain's keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "KeyTest")]
pub struct Test {
    /// Name of the node.
    pub node: String,
    /// Whether each key opens there, signs, and its signature verifies. RSA keys must also decrypt.
    pub ok: bool,
    /// `Verification String is OK`, or the reason of the failure.
    pub message: String,
    /// Duration in microseconds.
    pub took_us: u64,
}
