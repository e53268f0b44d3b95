//! Signature algorithms of signers (RFC 3370, 4056, 5754, 8419).

use aws_lc_rs::{
    digest,
    signature::{self, RsaPssSaltLength, UnparsedPublicKey, VerificationAlgorithm},
};
use der::{Decode, Encode, Reader, SliceReader, asn1::AnyRef, oid::ObjectIdentifier};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoRef};

use super::{RSA, digest::Hash};

const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Identifiers of a signature that name their hash function.
const NAMED: [(&str, Family, Hash); 8] = [
    ("1.2.840.113549.1.1.5", Family::Rsa, Hash::Sha1),
    ("1.2.840.113549.1.1.11", Family::Rsa, Hash::Sha256),
    ("1.2.840.113549.1.1.12", Family::Rsa, Hash::Sha384),
    ("1.2.840.113549.1.1.13", Family::Rsa, Hash::Sha512),
    ("1.2.840.10045.4.1", Family::Ecdsa, Hash::Sha1),
    ("1.2.840.10045.4.3.2", Family::Ecdsa, Hash::Sha256),
    ("1.2.840.10045.4.3.3", Family::Ecdsa, Hash::Sha384),
    ("1.2.840.10045.4.3.4", Family::Ecdsa, Hash::Sha512),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Rsa,
    /// Salt length.
    RsaPss(u64),
    Ecdsa,
    Ed25519,
}

/// Algorithm of one signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SignatureAlgorithm {
    family: Family,
    /// Hash function of what is signed.
    pub(super) hash: Hash,
}

impl SignatureAlgorithm {
    /// Reads the algorithm. Plain rsaEncryption leaves the hash function to `digest`, that of the
    /// content (RFC 3370 §3.2).
    pub(super) fn read(identifier: &AlgorithmIdentifierOwned, digest: Hash) -> Option<Self> {
        let found = |family, hash| Some(SignatureAlgorithm { family, hash });
        match identifier.oid {
            RSA => found(Family::Rsa, digest),
            RSA_PSS => {
                let (hash, salt) = pss(&identifier.parameters.as_ref()?.to_der().ok()?)?;
                found(Family::RsaPss(salt), hash)
            }
            // RFC 8419 §3: the content's digest is by SHA-512.
            ED25519 => {
                (digest == Hash::Sha512).then_some(()).and_then(|()| found(Family::Ed25519, digest))
            }
            oid => {
                let named =
                    NAMED.iter().find(|(name, ..)| oid == ObjectIdentifier::new_unwrap(name));
                named.and_then(|(_, family, hash)| found(*family, *hash))
            }
        }
    }

    /// Returns its name, for people.
    pub(super) fn name(self) -> String {
        let hash = self.hash.micalg().to_ascii_uppercase();
        match self.family {
            Family::Rsa => format!("RSA with {hash}"),
            Family::RsaPss(_) => format!("RSASSA-PSS with {hash}"),
            Family::Ecdsa => format!("ECDSA with {hash}"),
            Family::Ed25519 => "Ed25519".to_owned(),
        }
    }

    /// Returns whether the owner of the key (SubjectPublicKeyInfo, DER) signed what has this
    /// digest. Ed25519 needs the signed bytes, so they must be given for it.
    pub(super) fn verifies(
        self,
        key_der: &[u8],
        digest: &digest::Digest,
        signed: Option<&[u8]>,
        signature: &[u8],
    ) -> bool {
        let Ok(key) = SubjectPublicKeyInfoRef::from_der(key_der) else { return false };
        let Some(algorithm) = self.of_key(&key) else { return false };
        let Some(bytes) = key.subject_public_key.as_bytes() else { return false };
        let key = UnparsedPublicKey::new(algorithm, bytes);
        match (self.family, signed) {
            (Family::Ed25519, Some(signed)) => key.verify(signed, signature).is_ok(),
            (Family::Ed25519, None) => false,
            _ => key.verify_digest(digest, signature).is_ok(),
        }
    }

    fn of_key(
        self,
        key: &SubjectPublicKeyInfoRef<'_>,
    ) -> Option<&'static dyn VerificationAlgorithm> {
        let curve = key.algorithm.parameters.and_then(|any| any.decode_as().ok());
        let curve = curve.map(|curve: ObjectIdentifier| curve.to_string());
        match (self.family, key.algorithm.oid) {
            (Family::Rsa, RSA) => Some(match self.hash {
                Hash::Sha1 => &signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
                Hash::Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
                Hash::Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                Hash::Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            }),
            (Family::RsaPss(salt), RSA | RSA_PSS) => of_pss(self.hash, salt, modulus_bits(key)?),
            (Family::Ecdsa, EC) => of_curve(&curve?, self.hash),
            (Family::Ed25519, ED25519) => Some(&signature::ED25519),
            _ => None,
        }
    }
}

fn of_curve(curve: &str, hash: Hash) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match (curve, hash) {
        ("1.2.840.10045.3.1.7", Hash::Sha1) => &signature::ECDSA_P256_SHA1_ASN1,
        ("1.2.840.10045.3.1.7", Hash::Sha256) => &signature::ECDSA_P256_SHA256_ASN1,
        ("1.2.840.10045.3.1.7", Hash::Sha384) => &signature::ECDSA_P256_SHA384_ASN1,
        ("1.2.840.10045.3.1.7", Hash::Sha512) => &signature::ECDSA_P256_SHA512_ASN1,
        ("1.3.132.0.34", Hash::Sha256) => &signature::ECDSA_P384_SHA256_ASN1,
        ("1.3.132.0.34", Hash::Sha384) => &signature::ECDSA_P384_SHA384_ASN1,
        ("1.3.132.0.34", Hash::Sha512) => &signature::ECDSA_P384_SHA512_ASN1,
        ("1.3.132.0.35", Hash::Sha1) => &signature::ECDSA_P521_SHA1_ASN1,
        ("1.3.132.0.35", Hash::Sha256) => &signature::ECDSA_P521_SHA256_ASN1,
        ("1.3.132.0.35", Hash::Sha384) => &signature::ECDSA_P521_SHA384_ASN1,
        ("1.3.132.0.35", Hash::Sha512) => &signature::ECDSA_P521_SHA512_ASN1,
        _ => return None,
    })
}

/// Returns RSASSA-PSS with a salt as programs write it: 20 bytes (the default of RFC 8017), those of
/// the hash, or as long as the modulus permits.
fn of_pss(hash: Hash, salt: u64, bits: u64) -> Option<&'static dyn VerificationAlgorithm> {
    macro_rules! with {
        ($algorithm:ident, $length:expr) => {
            &const { signature::$algorithm.with_pss_salt_length($length) }
        };
    }
    let digest = u64::try_from(hash.algorithm().output_len()).ok()?;
    // RFC 8017 §9.1.1: emLen = ceil((modBits - 1) / 8), and the salt has at most emLen - hLen - 2.
    let longest = (bits.checked_sub(1)?.div_ceil(8)).checked_sub(digest + 2)?;
    use RsaPssSaltLength::{Custom, Digest, Max};
    Some(match (hash, salt) {
        (Hash::Sha256, salt) if salt == digest => with!(RSA_PSS_2048_8192_SHA256, Digest),
        (Hash::Sha384, salt) if salt == digest => with!(RSA_PSS_2048_8192_SHA384, Digest),
        (Hash::Sha512, salt) if salt == digest => with!(RSA_PSS_2048_8192_SHA512, Digest),
        (Hash::Sha256, salt) if salt == longest => with!(RSA_PSS_2048_8192_SHA256, Max),
        (Hash::Sha384, salt) if salt == longest => with!(RSA_PSS_2048_8192_SHA384, Max),
        (Hash::Sha512, salt) if salt == longest => with!(RSA_PSS_2048_8192_SHA512, Max),
        (Hash::Sha256, 20) => with!(RSA_PSS_2048_8192_SHA256, Custom(20)),
        (Hash::Sha384, 20) => with!(RSA_PSS_2048_8192_SHA384, Custom(20)),
        (Hash::Sha512, 20) => with!(RSA_PSS_2048_8192_SHA512, Custom(20)),
        _ => return None,
    })
}

fn modulus_bits(key: &SubjectPublicKeyInfoRef<'_>) -> Option<u64> {
    let mut reader = SliceReader::new(key.subject_public_key.raw_bytes()).ok()?;
    let sequence = AnyRef::decode(&mut reader).ok()?;
    let modulus = AnyRef::decode(&mut SliceReader::new(sequence.value()).ok()?).ok()?;
    let modulus = modulus.value();
    let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    let zeros = u64::from(modulus.first()?.leading_zeros());
    (u64::try_from(modulus.len()).ok()? * 8).checked_sub(zeros)
}

/// Reads RSASSA-PSS-params (RFC 4055 §3.1): the hash function and the salt's length. MGF1 must have
/// the same function.
fn pss(parameters: &[u8]) -> Option<(Hash, u64)> {
    let (mut hash, mut mask, mut salt) = (Hash::Sha1, Hash::Sha1, 20);
    let whole = AnyRef::from_der(parameters).ok()?;
    let mut reader = SliceReader::new(whole.value()).ok()?;
    let of = |identifier: &AlgorithmIdentifierOwned| Hash::from_oid(identifier.oid);
    while !reader.is_finished() {
        let part = AnyRef::decode(&mut reader).ok()?;
        match part.to_der().ok()?.first()? {
            0xa0 => hash = of(&AlgorithmIdentifierOwned::from_der(part.value()).ok()?)?,
            0xa1 => {
                let identifier = AlgorithmIdentifierOwned::from_der(part.value()).ok()?;
                let inner = identifier.parameters.filter(|_| identifier.oid == MGF1)?;
                mask = of(&inner.decode_as().ok()?)?;
            }
            0xa2 => salt = u64::from_der(part.value()).ok()?,
            0xa3 => {}
            _ => return None,
        }
    }
    (hash == mask).then_some((hash, salt))
}
