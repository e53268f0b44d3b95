//! Content keys for recipients: by RSA (RFC 3370 §4.2.1, RFC 3560), ECDH (RFC 5753) and X25519 (RFC
//! 8418).

use aes::{Aes128, Aes192, Aes256};
use aes_kw::{AesKw, KeyInit};
use conclave_pki::{
    certificate::Certificate,
    key::{self, KeyAlgorithm, KeyError, OaepHash, PrivateKey, RsaPadding},
};
use der::{
    Decode, Encode, Reader, Sequence, SliceReader,
    asn1::{AnyRef, BitStringRef, OctetStringRef},
    oid::ObjectIdentifier,
};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoRef};
use zeroize::Zeroizing;

use super::{
    NULL, RSA, algorithm, decrypt::Holder, digest::Hash, scheme::Scheme, verify::is_named,
};
use crate::{
    ber::{CONTEXT_0, CONTEXT_1, OCTET_STRING, SEQUENCE, tlv},
    limits::RECIPIENTS_MAX,
};

const OAEP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.7");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const X25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.110");
const AES_256_WRAP: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.45");

/// Random bytes, from the caller.
pub(crate) type Fill<'a> = &'a mut dyn FnMut(&mut [u8]);

/// Returns the RecipientInfo (RFC 5652 §6.2), DER, that gives the content key to the owner of a
/// certificate.
pub(super) fn info(
    certificate: &Certificate,
    padding: RsaPadding,
    content_key: &[u8],
    fill: Fill<'_>,
) -> Result<Vec<u8>, KeyError> {
    let damaged = || KeyError::TestFailed { why: "its certificate cannot be encoded" };
    let name = certificate.issuer_and_serial_der().ok_or_else(damaged)?;
    let public = certificate.public_key_der();
    match certificate.key_algorithm() {
        Some(algorithm @ (KeyAlgorithm::EcP256 | KeyAlgorithm::EcP384 | KeyAlgorithm::X25519)) => {
            agreement(algorithm, public, &name, content_key, fill)
        }
        _ => {
            let encrypted = key::encrypt(public, padding, content_key, fill)?;
            let algorithm = match padding {
                RsaPadding::Pkcs1 => algorithm(RSA, &NULL),
                _ => oaep_sha256(),
            };
            let encrypted = tlv(OCTET_STRING, &[&encrypted]);
            Ok(tlv(SEQUENCE, &[&[2, 1, 0], &name, &algorithm, &encrypted]))
        }
    }
}

/// Encodes id-RSAES-OAEP with SHA-256 in both places (RFC 4055 §4.1).
fn oaep_sha256() -> Vec<u8> {
    let hash = algorithm(Hash::Sha256.oid(), &NULL);
    let mask = algorithm(MGF1, &hash);
    let parameters = tlv(SEQUENCE, &[&tlv(CONTEXT_0, &[&hash]), &tlv(CONTEXT_1, &[&mask])]);
    algorithm(OAEP, &parameters)
}

/// Returns KeyAgreeRecipientInfo (RFC 5753 §3.1.1, RFC 8418 §3.1) with a new key of the same curve.
fn agreement(
    curve: KeyAlgorithm,
    public: &[u8],
    name: &[u8],
    content_key: &[u8],
    fill: Fill<'_>,
) -> Result<Vec<u8>, KeyError> {
    let failed = |why| KeyError::TestFailed { why };
    let point = |spki: &[u8]| {
        let spki = SubjectPublicKeyInfoRef::from_der(spki).ok()?;
        Some(spki.subject_public_key.raw_bytes().to_vec())
    };
    let ephemeral = PrivateKey::generate(curve, fill)?;
    let theirs = point(public).ok_or_else(|| failed("its public key cannot be read"))?;
    let ours = point(ephemeral.public_key_der()).ok_or_else(|| failed("no public key"))?;
    let scheme = Scheme::of_key(curve);
    let wrap = algorithm(AES_256_WRAP, &[]);
    let shared = ephemeral.agree(&theirs)?;
    let key = scheme.derive(&shared, &wrap, None, 32);
    let wrapped = key.and_then(|key| wrapped(&key, content_key));
    let wrapped = wrapped.ok_or_else(|| failed("the key is not wrapped"))?;
    let bits = tlv(3, &[&[0], &ours]);
    let curve = if curve == KeyAlgorithm::X25519 { X25519 } else { EC };
    let originator = tlv(CONTEXT_1, &[&algorithm(curve, &[]), &bits]);
    let recipient = tlv(SEQUENCE, &[name, &tlv(OCTET_STRING, &[&wrapped])]);
    Ok(tlv(
        CONTEXT_1,
        &[
            &[2, 1, 3],
            &tlv(CONTEXT_0, &[&originator]),
            &algorithm(scheme.oid, &wrap),
            &tlv(SEQUENCE, &[&recipient]),
        ],
    ))
}

/// Wraps a key with AES-256 (RFC 3394).
fn wrapped(key: &[u8], content_key: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![0; content_key.len() + 8];
    AesKw::<Aes256>::new_from_slice(key).ok()?.wrap_key(content_key, &mut out).ok()?;
    Some(out)
}

fn unwrapped(key: &[u8], wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(vec![0; wrapped.len().checked_sub(8)?]);
    match key.len() {
        16 => AesKw::<Aes128>::new_from_slice(key).ok()?.unwrap_key(wrapped, &mut out).ok()?,
        24 => AesKw::<Aes192>::new_from_slice(key).ok()?.unwrap_key(wrapped, &mut out).ok()?,
        _ => AesKw::<Aes256>::new_from_slice(key).ok()?.unwrap_key(wrapped, &mut out).ok()?,
    };
    Some(out)
}

/// Encrypted content key that one of the holders can open.
pub(super) struct Found<'a> {
    holder: Holder<'a>,
    how: How,
    encrypted: Vec<u8>,
}

enum How {
    Transport(RsaPadding),
    Agreement {
        scheme: Scheme,
        point: Vec<u8>,
        material: Option<Vec<u8>>,
        /// AlgorithmIdentifier of the key wrap, as the sender encoded it.
        wrap: Vec<u8>,
        wrap_bytes: usize,
    },
}

impl<'a> Found<'a> {
    /// Looks for a holder among the recipients of a RecipientInfo, DER. An algorithm that is not
    /// supported is an error with its identifier, if the recipient is one of the holders.
    pub(super) fn read(
        info: &[u8],
        holders: &[Holder<'a>],
    ) -> Result<Option<Found<'a>>, ObjectIdentifier> {
        match info.first() {
            Some(&SEQUENCE) => transport(info, holders).unwrap_or(Ok(None)),
            Some(&CONTEXT_1) => agreed(info, holders).unwrap_or(Ok(None)),
            // Passwords and keys known before (RFC 5652 §6.2.3): no holder has one.
            _ => Ok(None),
        }
    }

    /// Returns the content key of `bytes` bytes, or a random one for every error, so that the
    /// sender cannot tell causes apart (RFC 3218 §2.3.2).
    pub(super) fn open(&self, bytes: usize, fill: Fill<'_>) -> Zeroizing<Vec<u8>> {
        let mut random = Zeroizing::new(vec![0; bytes]);
        fill(&mut random);
        let key = self.holder.key;
        match &self.how {
            How::Transport(padding) => {
                let opened = key.decrypt(*padding, &self.encrypted, random.clone(), fill);
                opened.unwrap_or(random)
            }
            How::Agreement { scheme, point, material, wrap, wrap_bytes } => {
                let opened = key.agree(point).ok().and_then(|shared| {
                    let key = scheme.derive(&shared, wrap, material.as_deref(), *wrap_bytes)?;
                    unwrapped(&key, &self.encrypted)
                });
                opened.filter(|key| key.len() == bytes).unwrap_or(random)
            }
        }
    }
}

type Outcome<'a> = Option<Result<Option<Found<'a>>, ObjectIdentifier>>;

fn holder<'a>(holders: &[Holder<'a>], identifier: &AnyRef<'_>) -> Option<Holder<'a>> {
    holders.iter().find(|holder| is_named(holder.certificate, identifier)).copied()
}

/// Reads KeyTransRecipientInfo (RFC 5652 §6.2.1).
fn transport<'a>(info: &[u8], holders: &[Holder<'a>]) -> Outcome<'a> {
    let whole = AnyRef::from_der(info).ok()?;
    let mut reader = SliceReader::new(whole.value()).ok()?;
    u8::decode(&mut reader).ok()?;
    let holder = holder(holders, &AnyRef::decode(&mut reader).ok()?)?;
    let algorithm = AlgorithmIdentifierOwned::decode(&mut reader).ok()?;
    let encrypted = <&OctetStringRef>::decode(&mut reader).ok()?.as_bytes().to_vec();
    let padding = match algorithm.oid {
        RSA => Some(RsaPadding::Pkcs1),
        OAEP => oaep(&algorithm),
        _ => None,
    };
    let Some(padding) = padding else { return Some(Err(algorithm.oid)) };
    Some(Ok(Some(Found { holder, how: How::Transport(padding), encrypted })))
}

/// RSAES-OAEP-params (RFC 4055 §4.1).
#[derive(Sequence)]
struct OaepParameters {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    hash: Option<AlgorithmIdentifierOwned>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    mask: Option<AlgorithmIdentifierOwned>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    label: Option<AlgorithmIdentifierOwned>,
}

fn oaep(algorithm: &AlgorithmIdentifierOwned) -> Option<RsaPadding> {
    let of = |oid| match Hash::from_oid(oid)? {
        Hash::Sha1 => Some(OaepHash::Sha1),
        Hash::Sha256 => Some(OaepHash::Sha256),
        _ => None,
    };
    let Some(parameters) = &algorithm.parameters else {
        return Some(RsaPadding::Oaep { hash: OaepHash::Sha1, mask: OaepHash::Sha1 });
    };
    let read: OaepParameters = parameters.decode_as().ok()?;
    let hash = read.hash.map_or(Some(OaepHash::Sha1), |hash| of(hash.oid))?;
    let mask = match read.mask {
        None => OaepHash::Sha1,
        Some(mask) if mask.oid == MGF1 => {
            of(mask.parameters?.decode_as::<AlgorithmIdentifierOwned>().ok()?.oid)?
        }
        Some(_) => return None,
    };
    // Every program has the empty label, encoded or not.
    Some(RsaPadding::Oaep { hash, mask })
}

/// Reads KeyAgreeRecipientInfo (RFC 5652 §6.2.2) with an ephemeral key of the sender.
fn agreed<'a>(info: &[u8], holders: &[Holder<'a>]) -> Outcome<'a> {
    let whole = AnyRef::from_der(info).ok()?;
    let mut reader = SliceReader::new(whole.value()).ok()?;
    u8::decode(&mut reader).ok()?;
    let originator = AnyRef::decode(&mut reader).ok()?;
    let mut material = None;
    if reader.peek_byte() == Some(CONTEXT_1) {
        let part = AnyRef::decode(&mut reader).ok()?;
        material = Some(<&OctetStringRef>::from_der(part.value()).ok()?.as_bytes().to_vec());
    }
    let algorithm = AlgorithmIdentifierOwned::decode(&mut reader).ok()?;
    let keys = AnyRef::decode(&mut reader).ok()?;
    let (holder, encrypted) = own_key(keys.value(), holders)?;
    let Some(scheme) = Scheme::from_oid(algorithm.oid) else { return Some(Err(algorithm.oid)) };
    let wrap: AlgorithmIdentifierOwned = algorithm.parameters?.decode_as().ok()?;
    let wrap_bytes = match wrap.oid.to_string().as_str() {
        "2.16.840.1.101.3.4.1.5" => 16,
        "2.16.840.1.101.3.4.1.25" => 24,
        "2.16.840.1.101.3.4.1.45" => 32,
        _ => return Some(Err(wrap.oid)),
    };
    // OriginatorPublicKey is [1]; certificates of senders are for static keys only.
    let originator = AnyRef::from_der(originator.value()).ok()?;
    let is_key = originator.to_der().ok()?.first() == Some(&CONTEXT_1);
    let mut inner = SliceReader::new(originator.value()).ok().filter(|_| is_key)?;
    AlgorithmIdentifierOwned::decode(&mut inner).ok()?;
    let point = BitStringRef::decode(&mut inner).ok()?.raw_bytes().to_vec();
    let wrap = wrap.to_der().ok()?;
    let how = How::Agreement { scheme, point, material, wrap, wrap_bytes };
    Some(Ok(Some(Found { holder, how, encrypted })))
}

/// Finds a holder among RecipientEncryptedKeys, and what is encrypted for it.
fn own_key<'a>(keys: &[u8], holders: &[Holder<'a>]) -> Option<(Holder<'a>, Vec<u8>)> {
    let mut reader = SliceReader::new(keys).ok()?;
    for _ in 0..RECIPIENTS_MAX {
        let one = AnyRef::decode(&mut reader).ok()?;
        let mut one = SliceReader::new(one.value()).ok()?;
        let identifier = AnyRef::decode(&mut one).ok()?;
        let encrypted = <&OctetStringRef>::decode(&mut one).ok()?.as_bytes();
        let found = match identifier.to_der().ok()?.first() {
            // RecipientKeyIdentifier begins with the identifier of the key.
            Some(&CONTEXT_0) => {
                let mut inner = SliceReader::new(identifier.value()).ok()?;
                let own = <&OctetStringRef>::decode(&mut inner).ok()?.as_bytes();
                let is_own = |holder: &&Holder<'a>| {
                    holder.certificate.key_identifier().is_some_and(|key| key == own)
                };
                holders.iter().find(is_own).copied()
            }
            _ => holder(holders, &identifier),
        };
        if let Some(found) = found {
            return Some((found, encrypted.to_vec()));
        }
    }
    None
}

#[cfg(test)]
mod tests;
