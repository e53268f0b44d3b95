//! Keys that sign.

use std::sync::Arc;

use p521::ecdsa::signature::hazmat::PrehashSigner;
use ring::{
    digest::{SHA256 as SHA256_HASH, SHA512 as SHA512_HASH, digest},
    rand::{SecureRandom, SystemRandom},
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
    },
};

use super::der::{bits, context, integer, oid, raw, sequence};

const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
const RSA_SHA256: &str = "1.2.840.113549.1.1.11";
const ECDSA_SHA512: &str = "1.2.840.10045.4.3.4";
const SHA256: &str = "2.16.840.1.101.3.4.2.1";

#[derive(Clone)]
pub(crate) enum Key {
    P256(Arc<EcdsaKeyPair>),
    P384(Arc<EcdsaKeyPair>),
    P521(Arc<p521::ecdsa::SigningKey>),
    Ed25519(Arc<Ed25519KeyPair>),
    Rsa(Arc<RsaKeyPair>),
    /// A public key alone: SubjectPublicKeyInfo.
    Public(Vec<u8>),
}

fn null_algorithm(id: &str) -> Vec<u8> {
    sequence(&[oid(id), raw(5, &[])])
}

/// An algorithm that is none of those used.
pub(super) fn other_algorithm() -> Vec<u8> {
    sequence(&[oid("1.2.840.10045.4.3.4")])
}

fn ec_spki(curve: &str, point: &[u8]) -> Vec<u8> {
    sequence(&[sequence(&[oid("1.2.840.10045.2.1"), oid(curve)]), bits(point)])
}

impl Key {
    pub(crate) fn make(kind: &str) -> Key {
        let random = SystemRandom::new();
        let ec = |algorithm| {
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
            Arc::new(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap())
        };
        match kind {
            "p256" => Key::P256(ec(&ECDSA_P256_SHA256_ASN1_SIGNING)),
            "p384" => Key::P384(ec(&ECDSA_P384_SHA384_ASN1_SIGNING)),
            "p521" => {
                // The top bits stay clear, so that the number is below the curve's order.
                let mut number = [0; 66];
                random.fill(&mut number[1..]).unwrap();
                Key::P521(Arc::new(p521::ecdsa::SigningKey::from_slice(&number).unwrap()))
            }
            "ed25519" => {
                let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
                Key::Ed25519(Arc::new(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap()))
            }
            "rsa" => {
                let pkcs8 = include_bytes!("../../fixtures/rsa2048.pk8");
                Key::Rsa(Arc::new(RsaKeyPair::from_pkcs8(pkcs8).unwrap()))
            }
            "rsa1024" => Key::Public(include_bytes!("../../fixtures/rsa1024.spki").to_vec()),
            // prime192v1, any point: the curve alone is refused.
            "p192" => Key::Public(ec_spki("1.2.840.10045.3.1.1", &[4; 49])),
            other => panic!("no key {other}"),
        }
    }

    pub(super) fn spki(&self) -> Vec<u8> {
        match self {
            Key::P256(pair) => ec_spki("1.2.840.10045.3.1.7", pair.public_key().as_ref()),
            Key::P384(pair) => ec_spki("1.3.132.0.34", pair.public_key().as_ref()),
            Key::P521(key) => {
                ec_spki("1.3.132.0.35", &key.verifying_key().to_sec1_point(false).to_bytes())
            }
            Key::Ed25519(pair) => {
                sequence(&[sequence(&[oid("1.3.101.112")]), bits(pair.public_key().as_ref())])
            }
            Key::Rsa(pair) => {
                let key = bits(pair.public_key().as_ref());
                sequence(&[null_algorithm("1.2.840.113549.1.1.1"), key])
            }
            Key::Public(spki) => spki.clone(),
        }
    }

    /// Key identifier: a hash of the public key.
    pub(super) fn id(&self) -> Vec<u8> {
        ring::digest::digest(&ring::digest::SHA256, &self.spki()).as_ref()[..20].to_vec()
    }

    /// Algorithm of its signatures; `how` names special ones.
    pub(super) fn algorithm(&self, how: Option<&str>) -> Vec<u8> {
        match (self, how) {
            (_, Some("sha1")) => null_algorithm("1.2.840.113549.1.1.5"),
            (Key::Rsa(_), Some("pss")) => {
                let mgf1 = sequence(&[oid("1.2.840.113549.1.1.8"), null_algorithm(SHA256)]);
                let parameters = sequence(&[
                    context(0, &null_algorithm(SHA256)),
                    context(1, &mgf1),
                    context(2, &integer(&[32])),
                ]);
                sequence(&[oid("1.2.840.113549.1.1.10"), parameters])
            }
            (Key::Rsa(_), _) => null_algorithm(RSA_SHA256),
            (Key::P384(_), _) => sequence(&[oid("1.2.840.10045.4.3.3")]),
            (Key::P521(_), Some("sha256")) => sequence(&[oid(ECDSA_SHA256)]),
            (Key::P521(_), _) => sequence(&[oid(ECDSA_SHA512)]),
            (Key::Ed25519(_), _) => sequence(&[oid("1.3.101.112")]),
            (Key::P256(_) | Key::Public(_), _) => sequence(&[oid(ECDSA_SHA256)]),
        }
    }

    pub(super) fn sign(&self, message: &[u8], how: Option<&str>) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Key::P256(pair) | Key::P384(pair) => {
                pair.sign(&random, message).unwrap().as_ref().to_vec()
            }
            Key::P521(key) => {
                let hash = if how == Some("sha256") { &SHA256_HASH } else { &SHA512_HASH };
                let hash = digest(hash, message);
                // Left-padded: the signer wants half of the order's bytes at least.
                let number = [&vec![0; 66 - hash.as_ref().len()], hash.as_ref()].concat();
                let signature: p521::ecdsa::Signature = key.sign_prehash(&number).unwrap();
                signature.to_der().as_bytes().to_vec()
            }
            Key::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Key::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let padding: &dyn ring::signature::RsaEncoding =
                    if how == Some("pss") { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                pair.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
            Key::Public(_) => vec![1; 64],
        }
    }
}
