//! Cryptographic Message Syntax (RFC 5652): signed and encrypted content.
//!
//! Content is written in pieces with indefinite lengths (BER), since its size is unknown until it
//! ends; a detached signature has none and is DER. Both forms are read.

mod cipher;
mod decrypt;
mod digest;
mod encrypt;
mod recipient;
mod scheme;
mod sign;
mod signature;
mod verify;

use der::{Decode, Encode, oid::ObjectIdentifier};

use crate::ber;

pub use crate::ber::BerError;

pub use cipher::Cipher;
pub use decrypt::{DecryptError, Holder, Spool, decrypt};
pub use digest::{Digests, Hash};
pub use encrypt::{EncryptError, Encryptor};
pub use sign::{SignError, SignWriter, SigningKey, sign_detached};
pub use verify::{Age, Opening, Signer, Verified, VerifyError, verify, verify_detached};

/// id-data (RFC 5652 §4).
const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
/// id-signedData (RFC 5652 §5.1).
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
/// id-envelopedData (RFC 5652 §6.1).
const ENVELOPED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.3");
/// id-ct-authEnvelopedData (RFC 5083 §2.1).
const AUTH_ENVELOPED_DATA: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.23");
/// rsaEncryption (RFC 8017 §A.1).
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// id-contentType, id-messageDigest, id-signingTime (RFC 5652 §11).
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SIGNING_TIME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.5");
/// smimeCapabilities (RFC 8551 §2.5.2).
const CAPABILITIES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.15");

/// Type of a CMS message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContentType {
    /// SignedData.
    Signed,
    /// EnvelopedData.
    Enveloped,
    /// AuthEnvelopedData.
    AuthEnveloped,
    /// Any other.
    Other,
}

/// Returns the type of a CMS message from its first 32 bytes or more; `None` if it is none.
pub fn content_type(start: &[u8]) -> Option<ContentType> {
    let mut reader = ber::Reader::new(start);
    reader.enter(ber::SEQUENCE).ok()?;
    let oid = ObjectIdentifier::from_der(&reader.element().ok()?).ok()?;
    Some(match oid {
        SIGNED_DATA => ContentType::Signed,
        ENVELOPED_DATA => ContentType::Enveloped,
        AUTH_ENVELOPED_DATA => ContentType::AuthEnveloped,
        _ => ContentType::Other,
    })
}

/// Encodes an object identifier.
fn oid(oid: ObjectIdentifier) -> Vec<u8> {
    oid.to_der().unwrap_or_default()
}

/// Encodes an AlgorithmIdentifier with these parameters, empty for none.
fn algorithm(identifier: ObjectIdentifier, parameters: &[u8]) -> Vec<u8> {
    ber::tlv(ber::SEQUENCE, &[&oid(identifier), parameters])
}

/// NULL, the parameters of some algorithms.
const NULL: [u8; 2] = [5, 0];

/// Reads the next element as `T`.
fn read<T: for<'a> Decode<'a>, R: std::io::Read>(
    reader: &mut ber::Reader<R>,
    why: &'static str,
) -> Result<T, BerError> {
    let element = reader.element()?;
    T::from_der(&element).map_err(|_| reader.damaged(why))
}
