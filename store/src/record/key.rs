//! Private keys and other secrets, sealed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    id::{Fingerprint, Generation},
    time::UnixMillis,
};

/// A secret sealed with AES-256-GCM; `node/keys/src/seal.rs` says what it is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Keyring generation of the sealing key.
    pub generation: Generation,
    /// Nonce, 96 bits, random.
    pub nonce: [u8; 12],
    /// Ciphertext and tag.
    #[serde(with = "serde_bytes")]
    pub ciphertext: Vec<u8>,
}

/// Family of key algorithms. A client must be able to verify the family's signatures; a domain has
/// at most one key of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KeyFamily {
    /// Elliptic curves: ECDSA and Ed25519. Preferred, because signing is faster.
    Ec,
    /// RSA.
    Rsa,
}

impl fmt::Display for KeyFamily {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            KeyFamily::Ec => "EC",
            KeyFamily::Rsa => "RSA",
        })
    }
}

/// A domain's private key, sealed, with its public facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainKey {
    /// Family of its algorithm.
    pub family: KeyFamily,
    /// Algorithm and size in words, as `EC P-256`.
    pub algorithm: String,
    /// Public key (SubjectPublicKeyInfo), DER.
    #[serde(with = "serde_bytes")]
    pub public_key_der: Vec<u8>,
    /// SHA-256 of `public_key_der`.
    pub public_key: Fingerprint,
    /// PKCS#8, sealed.
    pub sealed: Sealed,
    /// Time of assignment.
    pub assigned: UnixMillis,
}

impl DomainKey {
    /// Returns whether both are the same private key under the same generation. A key that is
    /// imported after a rotation is sealed anew, which is a change.
    pub fn is_same(&self, other: &DomainKey) -> bool {
        self.public_key == other.public_key && self.sealed.generation == other.sealed.generation
    }
}
