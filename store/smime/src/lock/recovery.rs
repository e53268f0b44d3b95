//! A second copy of a key, sealed to the recovery key of its domain: HPKE (RFC 9180), base mode,
//! DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
//!
//! ```text
//! SealedKey ::= SEQUENCE { version INTEGER (1), body SEQUENCE {
//!     recoveryKey OCTET STRING (SIZE (32)), -- SHA-256 of its SubjectPublicKeyInfo
//!     encapsulated OCTET STRING (SIZE (65)), ciphertext OCTET STRING } }
//! ```
//!
//! The plaintext is PKCS#8. HPKE's `info` is [`Context`] in DER.

use conclave_pki::key::{Filled, KeyAlgorithm, KeyError, PrivateKey, public_key_algorithm};
use der::{
    Decode, Sequence,
    asn1::{AnyRef, OctetStringRef},
};
use hpke::{
    Deserializable, Kem, OpModeR, OpModeS, Serializable, aead::AesGcm256, kdf::HkdfSha256,
    kem::DhP256HkdfSha256, single_shot_open, single_shot_seal_with_rng,
};
use pkcs8::PrivateKeyInfoRef;
use ring::digest::{SHA256, digest};
use x509_cert::spki::SubjectPublicKeyInfoRef;
use zeroize::Zeroizing;

use super::{Context, Unread, VERSION, read, versioned};

const FORMAT: &str = "conclave sealed key";

/// Reason why a key cannot be sealed or recovered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// The recovery key is not of the one type that seals.
    #[error("a recovery key must be EC P-256")]
    NotP256,
    /// The key was sealed to another recovery key.
    #[error("the key was sealed to another recovery key")]
    OtherKey,
    /// The sealed key is damaged, or that of another account or key.
    #[error("the sealed key is damaged, or belongs to another account")]
    Broken,
    /// A later version of the program wrote it.
    #[error("the sealed key has format {found}, expected {VERSION}")]
    Version {
        /// Version found.
        found: u8,
    },
    /// What was sealed is not a key.
    #[error("the sealed key: {0}")]
    Key(#[source] KeyError),
}

#[derive(Sequence)]
struct SealedV1<'a> {
    recovery_key: &'a OctetStringRef,
    encapsulated: &'a OctetStringRef,
    ciphertext: &'a OctetStringRef,
}

impl From<Unread> for RecoveryError {
    fn from(unread: Unread) -> RecoveryError {
        match unread {
            Unread::Broken => RecoveryError::Broken,
            Unread::Version(found) => RecoveryError::Version { found },
        }
    }
}

/// ECPrivateKey (RFC 5915 §3), without what may follow.
#[derive(Sequence)]
struct EcPrivateKey<'a> {
    version: u8,
    scalar: &'a OctetStringRef,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    curve: Option<AnyRef<'a>>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    public: Option<AnyRef<'a>>,
}

/// Seals a key to the public key of a domain's recovery key (SubjectPublicKeyInfo, DER; EC P-256).
pub fn seal_for_recovery(
    key: &PrivateKey,
    recovery_public: &[u8],
    context: &Context<'_>,
    fill: &mut dyn FnMut(&mut [u8]),
) -> Result<Vec<u8>, RecoveryError> {
    let public = public_key(recovery_public).ok_or(RecoveryError::NotP256)?;
    let info = context.binding(FORMAT).ok_or(RecoveryError::Broken)?;
    let (encapsulated, ciphertext) =
        single_shot_seal_with_rng::<AesGcm256, HkdfSha256, DhP256HkdfSha256>(
            &OpModeS::Base,
            &public,
            &info,
            key.pkcs8_der(),
            &[],
            &mut Filled(fill),
        )
        .map_err(|_| RecoveryError::Broken)?;
    let encode = || {
        versioned(&SealedV1 {
            recovery_key: OctetStringRef::new(digest(&SHA256, recovery_public).as_ref())?,
            encapsulated: OctetStringRef::new(&encapsulated.to_bytes())?,
            ciphertext: OctetStringRef::new(&ciphertext)?,
        })
    };
    encode().map_err(|_: der::Error| RecoveryError::Broken)
}

/// Opens a key that was sealed to this recovery key.
pub fn recover(
    sealed: &[u8],
    recovery_private: &PrivateKey,
    context: &Context<'_>,
) -> Result<PrivateKey, RecoveryError> {
    let body: SealedV1<'_> = read(sealed)?;
    let private = private_key(recovery_private).ok_or(RecoveryError::NotP256)?;
    let id = digest(&SHA256, recovery_private.public_key_der());
    if body.recovery_key.as_bytes() != id.as_ref() {
        return Err(RecoveryError::OtherKey);
    }
    let encapsulated =
        <DhP256HkdfSha256 as Kem>::EncappedKey::from_bytes(body.encapsulated.as_bytes())
            .map_err(|_| RecoveryError::Broken)?;
    let info = context.binding(FORMAT).ok_or(RecoveryError::Broken)?;
    let plaintext = single_shot_open::<AesGcm256, HkdfSha256, DhP256HkdfSha256>(
        &OpModeR::Base,
        &private,
        &encapsulated,
        &info,
        body.ciphertext.as_bytes(),
        &[],
    )
    .map_err(|_| RecoveryError::Broken)?;
    PrivateKey::from_pkcs8_der(&Zeroizing::new(plaintext)).map_err(RecoveryError::Key)
}

fn public_key(spki: &[u8]) -> Option<<DhP256HkdfSha256 as Kem>::PublicKey> {
    if public_key_algorithm(spki) != Some(KeyAlgorithm::EcP256) {
        return None;
    }
    let spki = SubjectPublicKeyInfoRef::from_der(spki).ok()?;
    let point = spki.subject_public_key.as_bytes()?;
    <DhP256HkdfSha256 as Kem>::PublicKey::from_bytes(point).ok()
}

fn private_key(key: &PrivateKey) -> Option<<DhP256HkdfSha256 as Kem>::PrivateKey> {
    if key.algorithm() != KeyAlgorithm::EcP256 {
        return None;
    }
    let info = PrivateKeyInfoRef::from_der(key.pkcs8_der()).ok()?;
    let inner = EcPrivateKey::from_der(info.private_key.as_bytes()).ok()?;
    <DhP256HkdfSha256 as Kem>::PrivateKey::from_bytes(inner.scalar.as_bytes()).ok()
}
