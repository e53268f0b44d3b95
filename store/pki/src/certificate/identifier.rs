//! What names a certificate in a CMS message (RFC 5652 §10.2.4), and what its key is for.

use der::{Decode, Encode, Sequence, oid::ObjectIdentifier};
use x509_cert::{
    ext::pkix::{ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectKeyIdentifier},
    name::Name,
    serial_number::SerialNumber,
};

use super::Certificate;
use crate::{key::KeyAlgorithm, name::Comparable};

/// id-kp-clientAuth (RFC 5280 §4.2.1.12).
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

/// IssuerAndSerialNumber (RFC 5652 §10.2.4).
#[derive(Sequence)]
struct IssuerAndSerial {
    issuer: Name,
    serial: SerialNumber,
}

impl Certificate {
    /// Returns the serial number as its INTEGER has it, big-endian.
    pub fn serial_bytes(&self) -> &[u8] {
        self.parsed.tbs_certificate().serial_number().as_bytes()
    }

    /// Returns IssuerAndSerialNumber (RFC 5652 §10.2.4), DER.
    pub fn issuer_and_serial_der(&self) -> Option<Vec<u8>> {
        let tbs = self.parsed.tbs_certificate();
        let (issuer, serial) = (tbs.issuer().clone(), tbs.serial_number().clone());
        IssuerAndSerial { issuer, serial }.to_der().ok()
    }

    /// Returns whether an IssuerAndSerialNumber, DER, names it. Issuers are compared as names, since
    /// some programs encode them anew.
    pub fn is_issuer_and_serial(&self, der: &[u8]) -> bool {
        // The serial number is last; most others differ in it.
        let may_be_own = der.ends_with(self.serial_bytes());
        may_be_own
            && IssuerAndSerial::from_der(der).is_ok_and(|named| {
                named.serial.as_bytes() == self.serial_bytes()
                    && Comparable::of(&named.issuer) == self.issuer_name()
            })
    }

    /// Returns its subject key identifier (RFC 5280 §4.2.1.2), if it has one.
    pub fn key_identifier(&self) -> Option<Vec<u8>> {
        let found = self.parsed.tbs_certificate().get_extension::<SubjectKeyIdentifier>();
        found.ok().flatten().map(|(_, identifier)| identifier.0.as_bytes().to_vec())
    }

    /// Returns whether messages may be encrypted to its key, by type and key usage (RFC 8550
    /// §4.4.2). Without the extension every use is allowed.
    pub fn may_receive(&self) -> bool {
        self.key_algorithm().and_then(usage_to_receive).is_some_and(|usage| self.has_usage(usage))
    }

    /// Returns whether TLS clients may show it by its extended key usage, which names that.
    pub fn is_for_tls_clients(&self) -> bool {
        let found = self.parsed.tbs_certificate().get_extension::<ExtendedKeyUsage>();
        let found = found.ok().flatten();
        found.is_some_and(|(_, ExtendedKeyUsage(all))| all.contains(&CLIENT_AUTH))
    }

    /// Returns whether its key usage has this bit, or is absent (RFC 5280 §4.2.1.3).
    pub(crate) fn has_usage(&self, wanted: KeyUsages) -> bool {
        let found = self.parsed.tbs_certificate().get_extension::<KeyUsage>();
        found.is_ok_and(|found| found.is_none_or(|(_, usage)| usage.0.contains(wanted)))
    }
}

/// Returns the key usage with which a key receives encrypted messages (RFC 3279 §2.3.1, RFC 5480 §3,
/// RFC 8410 §5); `None` if it cannot.
pub(crate) fn usage_to_receive(algorithm: KeyAlgorithm) -> Option<KeyUsages> {
    match algorithm {
        KeyAlgorithm::Rsa(_) => Some(KeyUsages::KeyEncipherment),
        KeyAlgorithm::EcP256 | KeyAlgorithm::EcP384 | KeyAlgorithm::X25519 => {
            Some(KeyUsages::KeyAgreement)
        }
        KeyAlgorithm::Ed25519 => None,
    }
}
