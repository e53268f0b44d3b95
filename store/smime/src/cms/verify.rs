//! Verifying (RFC 5652 §5.4 and §5.6).

use std::io::{self, Read, Write};

use conclave_pki::certificate::Certificate;
use der::{
    Decode, Encode, Reader as _, Sequence, SliceReader,
    asn1::{Any, AnyRef, GeneralizedTime, OctetStringRef, UtcTime},
    oid::ObjectIdentifier,
};
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::{
    CAPABILITIES, CONTENT_TYPE, DATA, MESSAGE_DIGEST, SIGNED_DATA, SIGNING_TIME,
    cipher::Cipher,
    digest::{Digests, Hash},
    read,
    signature::SignatureAlgorithm,
};
use crate::{
    ber::{BerError, CONTEXT_0, CONTEXT_1, OCTET_STRING, Reader, SEQUENCE, SET, tlv},
    limits::{ATTRIBUTES_MAX, CERTIFICATES_MAX, SIGNERS_MAX},
};

/// Reason why a signature is not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The structure cannot be read.
    #[error("the signed message cannot be read")]
    Read(#[from] BerError),
    /// It is another type of CMS message.
    #[error("expected a signed message, found content of type {found}")]
    NotSigned {
        /// Object identifier of the type.
        found: String,
    },
    /// The content is elsewhere, or is in two places.
    #[error("{0}")]
    Content(&'static str),
    /// There is no signature.
    #[error("the message has no signer")]
    NoSigner,
    /// There are more parts than in any honest message.
    #[error("the message has more than {max} {what}")]
    TooMany {
        /// The parts.
        what: &'static str,
        /// Number allowed.
        max: usize,
    },
    /// The certificate of a signer is missing.
    #[error("the message does not have the certificate of its signer")]
    NoCertificate,
    /// The algorithm is not accepted.
    #[error("signed by {found}, which is not accepted")]
    Algorithm {
        /// The algorithm, or its object identifier.
        found: String,
    },
    /// The signature is wrong.
    #[error("the signature of {signer} is wrong: {why}")]
    Wrong {
        /// Subject of the signer's certificate.
        signer: String,
        /// The part that is wrong.
        why: &'static str,
    },
}

/// Age of the signatures that are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Age {
    /// SHA-2 and Ed25519.
    #[default]
    Current,
    /// SHA-1 too, which no longer proves anything; for reading an archive.
    Old,
}

/// Settings of verifying.
#[derive(Clone, Copy, Default)]
pub struct Opening<'a> {
    /// Certificates of possible signers, for messages without.
    pub known: &'a [Certificate],
    /// Age of the signatures.
    pub age: Age,
}

/// Signer whose signature is right. Whether the certificate is trusted is another question.
#[derive(Clone)]
pub struct Signer {
    /// The certificate.
    pub certificate: Certificate,
    /// Signing time as the signer states it, in seconds since 1970.
    pub time: Option<u64>,
    /// Name of the signature algorithm, for people.
    pub algorithm: String,
    /// Ciphers that the signer can read, the preferred one first (RFC 8551 §2.5.2).
    pub ciphers: Vec<Cipher>,
}

/// Outcome of verifying. Every signature is right.
#[derive(Clone)]
pub struct Verified {
    /// The signers, at least one.
    pub signers: Vec<Signer>,
    /// All certificates of the message.
    pub certificates: Vec<Certificate>,
}

/// Verifies SignedData with content, which is written to `out` before it is known to be right:
/// on an error the caller must discard it.
pub fn verify(
    input: impl Read,
    out: &mut dyn Write,
    opening: Opening<'_>,
) -> Result<Verified, VerifyError> {
    let mut digests = Digests::for_reading();
    let mut has_content = false;
    let parts = parts(input, &mut |piece| {
        has_content = true;
        digests.write_all(piece)?;
        out.write_all(piece)
    })?;
    if !parts.has_content {
        return Err(VerifyError::Content("the signature is detached: its content is elsewhere"));
    }
    parts.check(&digests, opening)
}

/// Verifies SignedData without content. `content` has the digests of the content.
pub fn verify_detached(
    signature: impl Read,
    content: &Digests,
    opening: Opening<'_>,
) -> Result<Verified, VerifyError> {
    let parts = parts(signature, &mut |_| Ok(()))?;
    if parts.has_content {
        return Err(VerifyError::Content("a detached signature has a content of its own"));
    }
    parts.check(content, opening)
}

/// Parts of SignedData (RFC 5652 §5.1).
struct Parts {
    content_type: ObjectIdentifier,
    has_content: bool,
    certificates: Vec<Certificate>,
    signers: Vec<Vec<u8>>,
}

fn parts(
    input: impl Read,
    sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<Parts, VerifyError> {
    let mut reader = Reader::new(input);
    reader.enter(SEQUENCE)?;
    let found: ObjectIdentifier = read(&mut reader, "a type of content was expected here")?;
    if found != SIGNED_DATA {
        return Err(VerifyError::NotSigned { found: found.to_string() });
    }
    reader.enter(CONTEXT_0)?;
    reader.enter(SEQUENCE)?;
    // Version and digest algorithms: each signer has its own again.
    reader.skip()?;
    reader.skip()?;
    reader.enter(SEQUENCE)?;
    let content_type = read(&mut reader, "a type of content was expected here")?;
    let has_content = reader.tag()?.is_some();
    if has_content {
        reader.enter(CONTEXT_0)?;
        reader.string(OCTET_STRING, sink)?;
        reader.leave()?;
    }
    reader.leave()?;
    let certificates = certificates(&mut reader)?;
    if reader.tag()? == Some(CONTEXT_1) {
        reader.skip()?;
    }
    reader.enter(SET)?;
    let mut signers = Vec::new();
    while reader.tag()?.is_some() {
        if signers.len() >= SIGNERS_MAX {
            return Err(VerifyError::TooMany { what: "signers", max: SIGNERS_MAX });
        }
        signers.push(reader.element()?);
    }
    for _ in 0..4 {
        reader.leave()?;
    }
    Ok(Parts { content_type, has_content, certificates, signers })
}

fn certificates<R: Read>(reader: &mut Reader<R>) -> Result<Vec<Certificate>, VerifyError> {
    let mut found = Vec::new();
    if reader.tag()? != Some(CONTEXT_0) {
        return Ok(found);
    }
    reader.enter(CONTEXT_0)?;
    let mut count = 0;
    while let Some(tag) = reader.tag()? {
        count += 1;
        if count > CERTIFICATES_MAX {
            return Err(VerifyError::TooMany { what: "certificates", max: CERTIFICATES_MAX });
        }
        // Attribute certificates have other tags (RFC 5652 §10.2.2).
        if tag == SEQUENCE {
            // One that cannot be read may be anything but the one that is needed.
            found.extend(Certificate::from_der(&reader.element()?).ok());
        } else {
            reader.skip()?;
        }
    }
    reader.leave()?;
    Ok(found)
}

impl Parts {
    fn check(self, content: &Digests, opening: Opening<'_>) -> Result<Verified, VerifyError> {
        if self.signers.is_empty() {
            return Err(VerifyError::NoSigner);
        }
        let known: Vec<&Certificate> = self.certificates.iter().chain(opening.known).collect();
        let check = |der: &Vec<u8>| {
            let damaged = BerError::Damaged { at: 0, why: "a SignerInfo cannot be read" };
            let info = SignerInfo::read(der).ok_or(damaged)?;
            info.check(self.content_type, content, &known, opening.age)
        };
        let signers = self.signers.iter().map(check).collect::<Result<_, VerifyError>>()?;
        Ok(Verified { signers, certificates: self.certificates })
    }
}

/// SignerInfo (RFC 5652 §5.3).
struct SignerInfo<'a> {
    /// IssuerAndSerialNumber, or SubjectKeyIdentifier with its tag.
    identifier: AnyRef<'a>,
    digest: AlgorithmIdentifierOwned,
    /// Content of the attributes' SET.
    attributes: Option<&'a [u8]>,
    algorithm: AlgorithmIdentifierOwned,
    signature: &'a [u8],
}

/// Attribute with a SET of values.
#[derive(Sequence)]
struct Attribute {
    oid: ObjectIdentifier,
    values: Any,
}

impl<'a> SignerInfo<'a> {
    fn read(der: &'a [u8]) -> Option<SignerInfo<'a>> {
        let whole = AnyRef::from_der(der).ok()?;
        let mut reader = SliceReader::new(whole.value()).ok()?;
        u8::decode(&mut reader).ok()?;
        let identifier = AnyRef::decode(&mut reader).ok()?;
        let digest = AlgorithmIdentifierOwned::decode(&mut reader).ok()?;
        let has_attributes = reader.peek_byte() == Some(CONTEXT_0);
        let attributes = match has_attributes {
            true => Some(AnyRef::decode(&mut reader).ok()?.value()),
            false => None,
        };
        let algorithm = AlgorithmIdentifierOwned::decode(&mut reader).ok()?;
        let signature = <&OctetStringRef>::decode(&mut reader).ok()?.as_bytes();
        Some(SignerInfo { identifier, digest, attributes, algorithm, signature })
    }

    fn check(
        &self,
        content_type: ObjectIdentifier,
        content: &Digests,
        known: &[&Certificate],
        age: Age,
    ) -> Result<Signer, VerifyError> {
        let unknown = |oid: ObjectIdentifier| VerifyError::Algorithm { found: oid.to_string() };
        let hash = Hash::from_oid(self.digest.oid).ok_or_else(|| unknown(self.digest.oid))?;
        let algorithm = SignatureAlgorithm::read(&self.algorithm, hash);
        let algorithm = algorithm.ok_or_else(|| unknown(self.algorithm.oid))?;
        if age == Age::Current && (hash == Hash::Sha1 || algorithm.hash == Hash::Sha1) {
            return Err(VerifyError::Algorithm { found: "SHA-1".to_owned() });
        }
        let certificate = known.iter().find(|one| is_named(one, &self.identifier));
        let certificate = (*certificate.ok_or(VerifyError::NoCertificate)?).clone();
        let wrong = |why| VerifyError::Wrong { signer: certificate.subject_or_names(), why };
        let digest = content.digest(hash).ok_or_else(|| unknown(self.digest.oid))?;
        let Some(attributes) = self.attributes else {
            // A signature of attributes must not pass for one of a content that looks like them.
            if content_type != DATA {
                return Err(wrong("it has no signed attributes, which this content needs"));
            }
            let content = content.digest(algorithm.hash).ok_or_else(|| unknown(self.digest.oid))?;
            let key = certificate.public_key_der();
            return match algorithm.verifies(key, &content, None, self.signature) {
                true => Ok(Signer {
                    certificate,
                    time: None,
                    algorithm: algorithm.name(),
                    ciphers: Vec::new(),
                }),
                false => Err(wrong("the content was changed, or the key is another one")),
            };
        };
        let signed = tlv(SET, &[attributes]);
        let own = aws_lc_rs::digest::digest(algorithm.hash.algorithm(), &signed);
        let key = certificate.public_key_der();
        if !algorithm.verifies(key, &own, Some(&signed), self.signature) {
            return Err(wrong("the key or the signed attributes are others"));
        }
        let attributes =
            Attributes::read(attributes).ok_or_else(|| wrong("unreadable attributes"))?;
        if attributes.one(CONTENT_TYPE) != content_type.to_der().ok() {
            return Err(wrong("it is about another type of content"));
        }
        if attributes.one(MESSAGE_DIGEST) != Some(tlv(OCTET_STRING, &[digest.as_ref()])) {
            return Err(wrong("the content was changed"));
        }
        let (time, ciphers) = (attributes.time(), attributes.ciphers());
        Ok(Signer { certificate, time, algorithm: algorithm.name(), ciphers })
    }
}

/// Returns whether a SignerIdentifier or RecipientIdentifier is about a certificate.
pub(super) fn is_named(certificate: &Certificate, identifier: &AnyRef<'_>) -> bool {
    let Ok(der) = identifier.to_der() else { return false };
    match der.first() {
        Some(0x80) => certificate.key_identifier().is_some_and(|own| own == identifier.value()),
        _ => certificate.is_issuer_and_serial(&der),
    }
}

/// Signed attributes, each with its SET of values.
struct Attributes(Vec<Attribute>);

impl Attributes {
    fn read(set: &[u8]) -> Option<Attributes> {
        let mut reader = SliceReader::new(set).ok()?;
        let mut all = Vec::new();
        while !reader.is_finished() && all.len() < ATTRIBUTES_MAX {
            all.push(Attribute::decode(&mut reader).ok()?);
        }
        reader.is_finished().then_some(Attributes(all))
    }

    /// Returns the value of an attribute that is there once, with one value (RFC 5652 §11), DER.
    fn one(&self, oid: ObjectIdentifier) -> Option<Vec<u8>> {
        let mut found = self.0.iter().filter(|attribute| attribute.oid == oid);
        let (attribute, None) = (found.next()?, found.next()) else { return None };
        // Reading refuses what follows the first value.
        AnyRef::from_der(attribute.values.value()).ok()?.to_der().ok()
    }

    fn time(&self) -> Option<u64> {
        let der = self.one(SIGNING_TIME)?;
        let short = UtcTime::from_der(&der).map(|time| time.to_unix_duration());
        let long = || GeneralizedTime::from_der(&der).map(|time| time.to_unix_duration());
        short.or_else(|_| long()).ok().map(|time| time.as_secs())
    }

    fn ciphers(&self) -> Vec<Cipher> {
        let read = || {
            let all = self.one(CAPABILITIES)?;
            let whole = AnyRef::from_der(&all).ok()?;
            let mut reader = SliceReader::new(whole.value()).ok()?;
            let mut found = Vec::new();
            while !reader.is_finished() {
                let one = AlgorithmIdentifierOwned::decode(&mut reader).ok()?;
                found.extend(Cipher::from_oid(one.oid));
            }
            Some(found)
        };
        read().unwrap_or_default()
    }
}
