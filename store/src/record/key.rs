//! Private keys and other secrets, sealed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    id::{Fingerprint, Generation},
    time::UnixMillis,
};

/// A secret under AES-256-GCM; what it is bound to is in `node/src/keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Generation of the keyring whose key it was sealed under.
    pub generation: Generation,
    /// Nonce, 96 bits, random.
    pub nonce: [u8; 12],
    /// Ciphertext and tag.
    #[serde(with = "serde_bytes")]
    pub ciphertext: Vec<u8>,
}

/// What a client must be able to verify; a domain can have one key of each (A19).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum KeyFamily {
    /// Elliptic curves: ECDSA and Ed25519. Faster, so it goes first.
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

/// A domain's private key: sealed, with what may be known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainKey {
    /// Family of its algorithm.
    pub family: KeyFamily,
    /// Algorithm and size in words, as `EC P-256`.
    pub algorithm: String,
    /// Public key (SubjectPublicKeyInfo), DER.
    #[serde(with = "serde_bytes")]
    pub public_key_der: Vec<u8>,
    /// SHA-256 of that.
    pub public_key: Fingerprint,
    /// PKCS#8, sealed.
    pub sealed: Sealed,
    /// When it was assigned.
    pub assigned: UnixMillis,
}
