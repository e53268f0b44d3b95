//! Schemes of key agreement: from a shared secret to the key that wraps the content key (RFC 5753,
//! RFC 8418).

use aws_lc_rs::hkdf::{self, KeyType, Salt};
use conclave_pki::key::KeyAlgorithm;
use der::oid::ObjectIdentifier;
use zeroize::Zeroizing;

use super::digest::Hash;
use crate::ber::{CONTEXT_0, CONTEXT_2, OCTET_STRING, SEQUENCE, tlv};

/// Key derivation function of a scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Derivation {
    /// ANSI-X9.63-KDF (RFC 5753 §7.2, RFC 8418 §2.1).
    X963(Hash),
    /// HKDF (RFC 8418 §2.2).
    Hkdf(Hash),
}

/// A scheme of key agreement with an ephemeral key of the sender: dhSinglePass-stdDH with a key
/// derivation (RFC 5753 §7.1.4, RFC 8418 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scheme {
    /// Its identifier.
    pub(super) oid: ObjectIdentifier,
    derivation: Derivation,
}

const X963_SHA256: Scheme = scheme("1.3.132.1.11.1", Derivation::X963(Hash::Sha256));
const X963_SHA384: Scheme = scheme("1.3.132.1.11.2", Derivation::X963(Hash::Sha384));
const HKDF_SHA256: Scheme = scheme("1.2.840.113549.1.9.16.3.19", Derivation::Hkdf(Hash::Sha256));

const ALL: [Scheme; 7] = [
    scheme("1.3.133.16.840.63.0.2", Derivation::X963(Hash::Sha1)),
    X963_SHA256,
    X963_SHA384,
    scheme("1.3.132.1.11.3", Derivation::X963(Hash::Sha512)),
    HKDF_SHA256,
    scheme("1.2.840.113549.1.9.16.3.20", Derivation::Hkdf(Hash::Sha384)),
    scheme("1.2.840.113549.1.9.16.3.21", Derivation::Hkdf(Hash::Sha512)),
];

const fn scheme(oid: &str, derivation: Derivation) -> Scheme {
    Scheme { oid: ObjectIdentifier::new_unwrap(oid), derivation }
}

/// Length of a derived key.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl Scheme {
    /// Returns the scheme that is written for a recipient with such a key.
    pub(super) fn of_key(algorithm: KeyAlgorithm) -> Scheme {
        match algorithm {
            KeyAlgorithm::X25519 => HKDF_SHA256,
            KeyAlgorithm::EcP384 => X963_SHA384,
            _ => X963_SHA256,
        }
    }

    /// Returns the scheme with this identifier, if it is supported.
    pub(super) fn from_oid(oid: ObjectIdentifier) -> Option<Scheme> {
        ALL.into_iter().find(|scheme| scheme.oid == oid)
    }

    /// Derives a key of `bytes` bytes, 16 to 32. `wrap` is the AlgorithmIdentifier of the key wrap,
    /// `material` the user keying material of the sender.
    pub(super) fn derive(
        self,
        shared: &[u8],
        wrap: &[u8],
        material: Option<&[u8]>,
        bytes: usize,
    ) -> Option<Zeroizing<Vec<u8>>> {
        let info = shared_info(wrap, material, bytes);
        match self.derivation {
            Derivation::X963(hash) => Some(x963(hash, shared, &info, bytes)),
            Derivation::Hkdf(hash) => {
                let algorithm = match hash {
                    Hash::Sha1 => return None,
                    Hash::Sha256 => hkdf::HKDF_SHA256,
                    Hash::Sha384 => hkdf::HKDF_SHA384,
                    Hash::Sha512 => hkdf::HKDF_SHA512,
                };
                // The material is both in the info and the salt.
                let extracted = Salt::new(algorithm, material.unwrap_or_default()).extract(shared);
                let mut key = Zeroizing::new(vec![0; bytes]);
                extracted.expand(&[&info], Length(bytes)).ok()?.fill(&mut key).ok()?;
                Some(key)
            }
        }
    }
}

/// Encodes ECC-CMS-SharedInfo (RFC 5753 §7.2).
fn shared_info(wrap: &[u8], material: Option<&[u8]>, bytes: usize) -> Vec<u8> {
    let material = material.map(|bytes| tlv(CONTEXT_0, &[&tlv(OCTET_STRING, &[bytes])]));
    let bits = u32::try_from(bytes * 8).unwrap_or(u32::MAX).to_be_bytes();
    let size = tlv(CONTEXT_2, &[&tlv(OCTET_STRING, &[&bits])]);
    tlv(SEQUENCE, &[wrap, &material.unwrap_or_default(), &size])
}

/// Hashes secret, counter and info as often as the key needs (SEC1 §3.6.1).
fn x963(hash: Hash, shared: &[u8], info: &[u8], bytes: usize) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(Vec::with_capacity(2 * 64));
    for counter in 1_u32.. {
        if key.len() >= bytes {
            break;
        }
        let input = Zeroizing::new([shared, &counter.to_be_bytes(), info].concat());
        key.extend_from_slice(aws_lc_rs::digest::digest(hash.algorithm(), &input).as_ref());
    }
    key.truncate(bytes);
    key
}
