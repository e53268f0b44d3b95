//! Signing with ring, and with AWS-LC where ring refuses a size of RSA.

use der::{Any, Decode};
use pkcs8::PrivateKeyInfoRef;
use ring::{
    rand::SystemRandom,
    signature::{
        self, ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1,
        ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
        RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
        VerificationAlgorithm,
    },
};
use rsa::{Oaep, sha2::Sha256};
use x509_cert::spki::{AlgorithmIdentifierOwned, ObjectIdentifier};

use super::{ED25519, Filled, KeyAlgorithm, KeyError, PrivateKey};

enum Pair {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(RsaKeyPair),
    /// RSA of a size that ring does not sign with.
    OddRsa(aws_lc_rs::rsa::KeyPair),
}

fn pair(algorithm: KeyAlgorithm, pkcs8: &[u8]) -> Option<Pair> {
    // ring needs randomness for the blinding of ECDSA. This file is the one place where randomness
    // is not passed in, because ring's trait for it cannot be implemented outside ring.
    let chance = SystemRandom::new();
    match algorithm {
        KeyAlgorithm::EcP256 => {
            let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8, &chance);
            key.ok().map(Pair::Ec)
        }
        KeyAlgorithm::EcP384 => {
            let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, pkcs8, &chance);
            key.ok().map(Pair::Ec)
        }
        KeyAlgorithm::Ed25519 => {
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).ok().map(Pair::Ed)
        }
        KeyAlgorithm::Rsa(_) => {
            let odd = || aws_lc_rs::rsa::KeyPair::from_pkcs8(pkcs8).ok().map(Pair::OddRsa);
            RsaKeyPair::from_pkcs8(pkcs8).ok().map(Pair::Rsa).or_else(odd)
        }
        KeyAlgorithm::X25519 => None,
    }
}

/// Returns whether ring signs with the key.
pub(super) fn is_of_ring(key: &PrivateKey) -> bool {
    !matches!(pair(key.algorithm, &key.pkcs8), Some(Pair::OddRsa(_)) | None)
}

/// Returns the public key in the form that SubjectPublicKeyInfo contains.
pub(super) fn public_key(algorithm: KeyAlgorithm, pkcs8: &[u8]) -> Option<Vec<u8>> {
    Some(match pair(algorithm, pkcs8)? {
        Pair::Ec(key) => key.public_key().as_ref().to_vec(),
        Pair::Ed(key) => key.public_key().as_ref().to_vec(),
        Pair::Rsa(key) => key.public_key().as_ref().to_vec(),
        Pair::OddRsa(key) => odd_rsa::public_key(&key),
    })
}

/// The trait of AWS-LC for public keys has the name of ring's.
mod odd_rsa {
    use aws_lc_rs::signature::KeyPair;

    pub(super) fn public_key(key: &aws_lc_rs::rsa::KeyPair) -> Vec<u8> {
        key.public_key().as_ref().to_vec()
    }
}

impl PrivateKey {
    /// Signs `message`: ECDSA as ASN.1, with the hash of the curve's size; Ed25519; or RSA PKCS#1
    /// with SHA-256. [`super::is_signed`] verifies it. An X25519 key cannot sign.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.algorithm.check_signs()?;
        let refused = |_| KeyError::TestFailed { why: "it does not sign" };
        let chance = SystemRandom::new();
        match pair(self.algorithm, &self.pkcs8) {
            Some(Pair::Ec(key)) => {
                Ok(key.sign(&chance, message).map_err(refused)?.as_ref().to_vec())
            }
            Some(Pair::Ed(key)) => Ok(key.sign(message).as_ref().to_vec()),
            Some(Pair::Rsa(key)) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &chance, message, &mut signature).map_err(refused)?;
                Ok(signature)
            }
            Some(Pair::OddRsa(key)) => {
                let mut signature = vec![0; key.public_modulus_len()];
                let (padding, chance) =
                    (&aws_lc_rs::signature::RSA_PKCS1_SHA256, aws_lc_rs::rand::SystemRandom::new());
                key.sign(padding, &chance, message, &mut signature)
                    .map_err(|_| KeyError::TestFailed { why: "it does not sign" })?;
                Ok(signature)
            }
            None => Err(KeyError::TestFailed { why: "the signing library refuses it" }),
        }
    }
}

/// Returns the signature algorithm of [`PrivateKey::sign`].
pub(crate) fn signature_algorithm(
    algorithm: KeyAlgorithm,
) -> Result<AlgorithmIdentifierOwned, KeyError> {
    let (oid, parameters) = match algorithm {
        KeyAlgorithm::EcP256 => (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2"), None),
        KeyAlgorithm::EcP384 => (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3"), None),
        KeyAlgorithm::Ed25519 => (ED25519, None),
        KeyAlgorithm::Rsa(_) => {
            (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11"), Some(Any::null()))
        }
        KeyAlgorithm::X25519 => return Err(KeyError::CannotSign { algorithm }),
    };
    Ok(AlgorithmIdentifierOwned { oid, parameters })
}

/// Returns the algorithm that verifies the result of [`PrivateKey::sign`]; `None` if there is none.
fn verification(algorithm: KeyAlgorithm) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match algorithm {
        KeyAlgorithm::EcP256 => &ECDSA_P256_SHA256_ASN1,
        KeyAlgorithm::EcP384 => &ECDSA_P384_SHA384_ASN1,
        KeyAlgorithm::Ed25519 => &signature::ED25519,
        KeyAlgorithm::Rsa(_) => &RSA_PKCS1_2048_8192_SHA256,
        KeyAlgorithm::X25519 => return None,
    })
}

pub(super) fn is_signed(
    algorithm: KeyAlgorithm,
    public_key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> bool {
    let Some(verification) = verification(algorithm) else { return false };
    UnparsedPublicKey::new(verification, public_key).verify(message, signature).is_ok()
}

pub(super) fn test(key: &PrivateKey) -> Result<(), KeyError> {
    const MESSAGE: &[u8] = b"Verification String";
    let failed = |why| KeyError::TestFailed { why };
    let signature = key.sign(MESSAGE)?;
    let public = public_key(key.algorithm, &key.pkcs8).ok_or_else(|| failed("no public key"))?;
    if !is_signed(key.algorithm, &public, MESSAGE, &signature) {
        return Err(failed("what it signs does not verify"));
    }
    if matches!(key.algorithm, KeyAlgorithm::Rsa(_)) {
        test_encryption(key, MESSAGE)?;
    }
    Ok(())
}

fn test_encryption(key: &PrivateKey, message: &[u8]) -> Result<(), KeyError> {
    let failed = |_| KeyError::TestFailed { why: "what it encrypts does not decrypt" };
    let info = PrivateKeyInfoRef::from_der(&key.pkcs8)
        .map_err(|_| KeyError::TestFailed { why: "it cannot be read" })?;
    let inner = info.private_key.as_bytes();
    let private: rsa::PrivateKey = rsa::pkcs1::DecodeRsaPrivateKey::from_pkcs1_der(inner)
        .map_err(|_| KeyError::TestFailed { why: "it cannot be read" })?;
    // The seed of the padding need not be secret: the message is public.
    let mut fill = |bytes: &mut [u8]| bytes.fill(0x55);
    let encrypted = private
        .to_public_key()
        .encrypt(&mut Filled(&mut fill), Oaep::<Sha256>::new(), message)
        .map_err(failed)?;
    let decrypted = private.decrypt(Oaep::<Sha256>::new(), &encrypted).map_err(failed)?;
    if decrypted == message { Ok(()) } else { Err(failed(rsa::Error::Decryption)) }
}
