//! PKCS#8 in all its versions (RFC 5208, RFC 5958), and in the forms that ring once wrote.
//!
//! The `pkcs8` crate refuses a second version without public key, a first one with it, and the tag
//! that ring 0.14 to 0.16 gave to the public key. OpenSSL takes them all.

use der::{
    Decode, Reader, SliceReader, Tag, Tagged,
    asn1::{AnyRef, OctetStringRef},
};
use x509_cert::spki::AlgorithmIdentifierRef;

/// A private key as PKCS#8 wraps it.
pub(super) struct Wrapped<'a> {
    pub(super) algorithm: AlgorithmIdentifierRef<'a>,
    pub(super) private_key: &'a [u8],
    pub(super) public_key: Option<&'a [u8]>,
}

impl<'a> Wrapped<'a> {
    pub(super) fn read(der: &'a [u8]) -> Option<Wrapped<'a>> {
        let whole = AnyRef::from_der(der).ok().filter(|any| any.tag() == Tag::Sequence)?;
        let mut reader = SliceReader::new(whole.value()).ok()?;
        let version = u8::decode(&mut reader).ok()?;
        let algorithm = AlgorithmIdentifierRef::decode(&mut reader).ok()?;
        let private_key = <&OctetStringRef>::decode(&mut reader).ok()?.as_bytes();
        let mut public_key = None;
        while !reader.is_finished() {
            // Attributes are [0], the public key is [1].
            let part = AnyRef::decode(&mut reader).ok()?;
            if let Tag::ContextSpecific { number, constructed } = part.tag()
                && number.value() == 1
            {
                public_key = Some(public_bits(part.value(), constructed)?);
            }
        }
        (version <= 1).then_some(Wrapped { algorithm, private_key, public_key })
    }
}

/// Returns the content of a BIT STRING, tagged implicitly as RFC 5958 has it, or explicitly as ring
/// wrote it.
fn public_bits(value: &[u8], is_explicit: bool) -> Option<&[u8]> {
    let bits = match is_explicit {
        true => AnyRef::from_der(value).ok().filter(|any| any.tag() == Tag::BitString)?.value(),
        false => value,
    };
    // The first byte counts the unused bits of the last one.
    bits.strip_prefix(&[0])
}
