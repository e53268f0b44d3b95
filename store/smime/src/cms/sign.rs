//! Signing (RFC 5652 §5), detached or with the content inside.

use std::{
    io::{self, Write},
    time::Duration,
};

use conclave_pki::{
    certificate::Certificate,
    key::{KeyAlgorithm, KeyError, PrivateKey},
};
use der::{
    Encode,
    asn1::{GeneralizedTime, UtcTime},
    oid::ObjectIdentifier,
};

use super::{
    CAPABILITIES, CONTENT_TYPE, DATA, MESSAGE_DIGEST, NULL, RSA, SIGNED_DATA, SIGNING_TIME,
    algorithm,
    cipher::Cipher,
    digest::{Digests, Hash},
    oid,
};
use crate::{
    ber::{CONTEXT_0, END, INDEFINITE, OCTET_STRING, SEQUENCE, SET, tlv},
    limits::{CERTIFICATES_MAX, PIECE_BYTES},
};

/// Reason why a content cannot be signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The certificate is not that of the key.
    #[error("the certificate of {subject} does not certify this key")]
    OtherKey {
        /// Subject of the certificate.
        subject: String,
    },
    /// The chain is longer than any real one.
    #[error("a signature has at most 64 certificates, here are {count}")]
    TooManyCertificates {
        /// Number found.
        count: usize,
    },
    /// The certificate or the time cannot be encoded.
    #[error("the {what} cannot be encoded")]
    Encode {
        /// The part.
        what: &'static str,
    },
    /// The key does not sign.
    #[error("the key does not sign")]
    Key(#[from] KeyError),
    /// The output fails.
    #[error("the signed message cannot be written")]
    Write(#[source] io::Error),
}

/// Signer: key, certificates and time.
#[derive(Clone, Copy)]
pub struct SigningKey<'a> {
    /// The private key. RSA and P-256 sign with SHA-256, P-384 with SHA-384.
    pub key: &'a PrivateKey,
    /// Its certificate.
    pub certificate: &'a Certificate,
    /// Certificates of the issuers, for readers that do not have them.
    pub chain: &'a [Certificate],
    /// Signing time, in seconds since 1970.
    pub time: u64,
}

impl SigningKey<'_> {
    /// Returns the hash function for the content.
    pub fn hash(&self) -> Hash {
        match self.key.algorithm() {
            KeyAlgorithm::EcP384 => Hash::Sha384,
            // RFC 8419 §3.
            KeyAlgorithm::Ed25519 => Hash::Sha512,
            _ => Hash::Sha256,
        }
    }

    /// Checks what can be refused before the content is read.
    pub(crate) fn check(&self) -> Result<(), SignError> {
        self.key.algorithm().check_signs()?;
        if !self.certificate.matches(self.key) {
            let subject = self.certificate.subject_or_names();
            return Err(SignError::OtherKey { subject });
        }
        let count = self.chain.len() + 1;
        if count > CERTIFICATES_MAX {
            return Err(SignError::TooManyCertificates { count });
        }
        Ok(())
    }

    /// Returns the AlgorithmIdentifier of the hash function; without parameters (RFC 5754 §2).
    fn digest_algorithm(&self) -> Vec<u8> {
        algorithm(self.hash().oid(), &[])
    }

    /// Returns the certificates and the SignerInfos, the parts of SignedData behind the content.
    fn end(&self, content: &Digests) -> Result<Vec<u8>, SignError> {
        let encode = |what| SignError::Encode { what };
        let digest = content.digest(self.hash()).ok_or_else(|| encode("digest"))?;
        let attributes = self.attributes(digest.as_ref())?;
        // What is signed has the tag of a SET (RFC 5652 §5.4).
        let signature = self.key.sign(&tlv(SET, &[&attributes]))?;
        let signature_algorithm = match self.key.algorithm() {
            KeyAlgorithm::Rsa(_) => algorithm(RSA, &NULL),
            KeyAlgorithm::EcP256 => algorithm(named("1.2.840.10045.4.3.2"), &[]),
            KeyAlgorithm::EcP384 => algorithm(named("1.2.840.10045.4.3.3"), &[]),
            KeyAlgorithm::Ed25519 => algorithm(named("1.3.101.112"), &[]),
            _ => return Err(encode("type of the key")),
        };
        let own = self.certificate.issuer_and_serial_der();
        let signer = tlv(
            SEQUENCE,
            &[
                &[2, 1, 1],
                &own.ok_or_else(|| encode("certificate"))?,
                &self.digest_algorithm(),
                &tlv(CONTEXT_0, &[&attributes]),
                &signature_algorithm,
                &tlv(OCTET_STRING, &[&signature]),
            ],
        );
        // An authority that signs itself may stand in the chain too.
        let mut certificates: Vec<&[u8]> =
            [self.certificate].into_iter().chain(self.chain).map(Certificate::der).collect();
        certificates.sort_unstable();
        certificates.dedup();
        Ok([tlv(CONTEXT_0, &certificates), tlv(SET, &[&signer])].concat())
    }

    /// Returns the signed attributes without their tag, sorted as DER wants a SET.
    fn attributes(&self, digest: &[u8]) -> Result<Vec<u8>, SignError> {
        let attribute = |name, value: &[u8]| tlv(SEQUENCE, &[&oid(name), &tlv(SET, &[value])]);
        let ciphers: Vec<u8> = Cipher::WRITTEN
            .iter()
            .flat_map(|cipher| tlv(SEQUENCE, &[&oid(cipher.oid())]))
            .collect();
        let mut all = [
            attribute(CONTENT_TYPE, &oid(DATA)),
            attribute(MESSAGE_DIGEST, &tlv(OCTET_STRING, &[digest])),
            attribute(SIGNING_TIME, &time(self.time)?),
            attribute(CAPABILITIES, &tlv(SEQUENCE, &[&ciphers])),
        ];
        all.sort();
        Ok(all.concat())
    }
}

fn named(oid: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(oid)
}

/// Encodes a time: UTCTime through 2049, GeneralizedTime from 2050 (RFC 5652 §11.3).
fn time(seconds: u64) -> Result<Vec<u8>, SignError> {
    let since = Duration::from_secs(seconds);
    let short = UtcTime::from_unix_duration(since).and_then(|time| time.to_der());
    let long = || GeneralizedTime::from_unix_duration(since).and_then(|time| time.to_der());
    short.or_else(|_| long()).map_err(|_| SignError::Encode { what: "time" })
}

/// Signs a content by its digest, which must have been made by [`SigningKey::hash`]. Returns
/// SignedData without content, DER.
pub fn sign_detached(signer: &SigningKey<'_>, content: &Digests) -> Result<Vec<u8>, SignError> {
    signer.check()?;
    let signed = tlv(
        SEQUENCE,
        &[
            &[2, 1, 1],
            &tlv(SET, &[&signer.digest_algorithm()]),
            &tlv(SEQUENCE, &[&oid(DATA)]),
            &signer.end(content)?,
        ],
    );
    Ok(tlv(SEQUENCE, &[&oid(SIGNED_DATA), &tlv(CONTEXT_0, &[&signed])]))
}

/// SignedData around a content that is written to it.
pub struct SignWriter<'a, W: Write> {
    signer: SigningKey<'a>,
    out: Pieces<W>,
    digests: Digests,
}

impl<'a, W: Write> SignWriter<'a, W> {
    /// Writes what comes before the content.
    pub fn new(mut out: W, signer: SigningKey<'a>) -> Result<SignWriter<'a, W>, SignError> {
        signer.check()?;
        let start = [
            &[SEQUENCE, INDEFINITE][..],
            &oid(SIGNED_DATA),
            &[CONTEXT_0, INDEFINITE, SEQUENCE, INDEFINITE, 2, 1, 1],
            &tlv(SET, &[&signer.digest_algorithm()]),
            &[SEQUENCE, INDEFINITE],
            &oid(DATA),
            &[CONTEXT_0, INDEFINITE, OCTET_STRING | 0x20, INDEFINITE],
        ];
        out.write_all(&start.concat()).map_err(SignError::Write)?;
        let digests = Digests::of(&[signer.hash()]);
        Ok(SignWriter { signer, out: Pieces::new(out), digests })
    }

    /// Signs the content, writes the end and returns the output.
    pub fn finish(self) -> Result<W, SignError> {
        let mut out = self.out.finish().map_err(SignError::Write)?;
        let end = self.signer.end(&self.digests)?;
        let all = [&END.repeat(3)[..], &end, &END.repeat(3)].concat();
        out.write_all(&all).map_err(SignError::Write)?;
        Ok(out)
    }
}

impl<W: Write> Write for SignWriter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.digests.write_all(bytes)?;
        self.out.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.out.flush()
    }
}

/// OCTET STRINGs of [`PIECE_BYTES`], the last one shorter (X.690 §8.7.3).
struct Pieces<W: Write> {
    out: W,
    held: Vec<u8>,
}

impl<W: Write> Pieces<W> {
    fn new(out: W) -> Pieces<W> {
        Pieces { out, held: Vec::with_capacity(PIECE_BYTES) }
    }

    fn finish(mut self) -> io::Result<W> {
        if !self.held.is_empty() {
            self.out.write_all(&tlv(OCTET_STRING, &[&self.held]))?;
        }
        Ok(self.out)
    }
}

impl<W: Write> Write for Pieces<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE_BYTES.saturating_sub(self.held.len());
        let (now, _) = bytes.split_at(room.min(bytes.len()));
        self.held.extend_from_slice(now);
        if self.held.len() >= PIECE_BYTES {
            self.out.write_all(&tlv(OCTET_STRING, &[&self.held]))?;
            self.held.clear();
        }
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
