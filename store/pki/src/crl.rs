//! Certificate revocation lists (RFC 5280 §5).

use std::sync::Arc;

use der::{Decode, Encode, asn1::ObjectIdentifier};
use x509_cert::{crl::CertificateList, ext::pkix::crl::CrlNumber, name::Name};

use crate::{
    certificate::{Certificate, CertificateError, pem_error, read_block},
    content::{self, Kind},
    element::{first_element, sizes},
    limits::{
        CERTIFICATES_MAX, CRL_BYTES_MAX, NAME_BYTES_MAX, TRUSTED_PEM_BYTES_MAX,
        VERIFY_WORK_PER_LIST_BYTE,
    },
    name::{self, Comparable},
    pem::{self, Block},
};

pub(crate) const NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");
pub(crate) const DELTA: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.27");

/// A revocation list, parsed once; cheap to clone.
#[derive(Clone)]
pub struct Crl {
    pub(crate) der: Arc<[u8]>,
    pub(crate) parsed: Arc<CertificateList>,
    pub(crate) issuer: Comparable,
    /// A serial number is listed more than once.
    pub(crate) is_ambiguous: bool,
}

/// Reads all revocation lists of a PEM input, or a single one in DER.
pub fn read_crls(input: &[u8]) -> Result<Vec<Crl>, CertificateError> {
    let not = |found: String, line| CertificateError::NotARevocationList { found, line };
    if input.starts_with(&[0x30]) {
        return match content::kind(input) {
            Some(kind) if kind != Kind::RevocationList => Err(not(kind.to_string(), 1)),
            _ => Crl::from_der(input).map(|crl| vec![crl]),
        };
    }
    let blocks = pem::blocks_within(input, TRUSTED_PEM_BYTES_MAX);
    let blocks = blocks.map_err(|error| match pem_error(&error) {
        CertificateError::NoCertificate => not("no PEM block".to_owned(), 1),
        CertificateError::NotACertificate { found, line } => not(found, line),
        other => other,
    })?;
    blocks
        .iter()
        .map(|block| match block.label {
            "X509 CRL" => read_list(block),
            other => Err(not(crate::key::article(other), block.line)),
        })
        .collect()
}

fn read_list(block: &Block) -> Result<Crl, CertificateError> {
    Crl::from_der(&block.der).map_err(|error| match error {
        CertificateError::Damaged { why, .. } => {
            CertificateError::Damaged { why, line: block.line }
        }
        other => other,
    })
}

/// Reads the input for a set of trusted certificates: PEM with certificates, revocation lists or
/// both, at least one of them.
pub fn read_trusted(input: &[u8]) -> Result<(Vec<Certificate>, Vec<Crl>), CertificateError> {
    let blocks =
        pem::blocks_within(input, TRUSTED_PEM_BYTES_MAX).map_err(|error| pem_error(&error))?;
    if blocks.len() > CERTIFICATES_MAX {
        return Err(CertificateError::TooMany { count: blocks.len(), max: CERTIFICATES_MAX });
    }
    let (mut certificates, mut crls) = (Vec::new(), Vec::new());
    for block in &blocks {
        match block.label {
            "X509 CRL" => crls.push(read_list(block)?),
            _ => certificates.push(read_block(block)?),
        }
    }
    Ok((certificates, crls))
}

fn damaged(why: &str) -> CertificateError {
    CertificateError::Damaged { why: why.to_owned(), line: 1 }
}

impl Crl {
    /// Parses one list. Trailing bytes are refused.
    pub fn from_der(der: &[u8]) -> Result<Crl, CertificateError> {
        if der.len() > CRL_BYTES_MAX {
            return Err(damaged("the revocation list is larger than 16 MiB"));
        }
        let not_rfc5280 = || damaged("it is not a revocation list as RFC 5280 defines it");
        // A parsed name takes forty times its bytes, so bound it before parsing.
        if issuer_of(der).ok_or_else(not_rfc5280)?.len() > NAME_BYTES_MAX {
            return Err(damaged("the name of its issuer is larger than 16 KiB"));
        }
        let parsed = CertificateList::from_der(der).map_err(|_| not_rfc5280())?;
        let entries = parsed.tbs_cert_list.revoked_certificates.iter().flatten();
        let mut serials: Vec<&[u8]> = entries.map(|one| one.serial_number.as_bytes()).collect();
        serials.sort_unstable();
        let is_ambiguous = serials.array_windows().any(|[one, next]| one == next);
        let issuer = Comparable::of(&parsed.tbs_cert_list.issuer);
        Ok(Crl { der: der.into(), parsed: parsed.into(), issuer, is_ambiguous })
    }

    /// Returns the list, DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the list, PEM.
    pub fn pem(&self) -> String {
        pem::encode("X509 CRL", &self.der)
    }

    /// Returns all attributes of the issuer.
    pub fn issuer(&self) -> String {
        name::shown(&self.parsed.tbs_cert_list.issuer)
    }

    /// Returns the issuer, DER.
    pub fn issuer_der(&self) -> Result<Vec<u8>, CertificateError> {
        let issuer = self.parsed.tbs_cert_list.issuer.to_der();
        issuer.map_err(|_| damaged("its issuer cannot be read"))
    }

    /// Returns the time of issue, in seconds since 1970.
    pub fn this_update(&self) -> u64 {
        self.parsed.tbs_cert_list.this_update.to_unix_duration().as_secs()
    }

    /// Returns the latest time of the next list, if this one states it.
    pub fn next_update(&self) -> Option<u64> {
        Some(self.parsed.tbs_cert_list.next_update?.to_unix_duration().as_secs())
    }

    /// Returns the number of certificates that it revokes.
    pub fn revoked_count(&self) -> usize {
        self.parsed.tbs_cert_list.revoked_certificates.as_ref().map_or(0, Vec::len)
    }

    /// Returns its number in hex (RFC 5280 §5.2.3); empty if it has none.
    pub fn number(&self) -> String {
        let mut extensions = self.parsed.tbs_cert_list.crl_extensions.iter().flatten();
        let number = extensions.find(|one| one.extn_id == NUMBER);
        let number = number.and_then(|one| CrlNumber::from_der(one.extn_value.as_bytes()).ok());
        let hex = |number: CrlNumber| -> String {
            number.0.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
        };
        number.map(hex).unwrap_or_default()
    }

    /// Returns whether it only has the changes since another list (RFC 5280 §5.2.4).
    pub fn is_delta(&self) -> bool {
        let mut extensions = self.parsed.tbs_cert_list.crl_extensions.iter().flatten();
        extensions.any(|one| one.extn_id == DELTA)
    }

    /// Returns its length.
    pub(crate) fn bytes(&self) -> u64 {
        u64::try_from(self.der.len()).unwrap_or(u64::MAX)
    }

    pub(crate) fn half_work(&self) -> u64 {
        self.bytes().saturating_mul(VERIFY_WORK_PER_LIST_BYTE / 2)
    }

    /// Returns the signed part, byte for byte.
    pub(crate) fn signed_bytes(&self) -> Option<&[u8]> {
        first_element(&self.der)
    }
}

/// Returns whether a list, DER, names the issuer of a certificate as its own (RFC 5280 §7.1),
/// without parsing the list. One whose issuer cannot be read may be anybody's.
pub fn may_speak_of(list: &[u8], certificate: &Certificate) -> bool {
    let issuer = issuer_of(list).and_then(|der| Name::from_der(der).ok());
    issuer.is_none_or(|issuer| Comparable::of(&issuer) == certificate.issuer_name())
}

/// Returns the issuer's name of a list, without parsing the list. The name follows an optional
/// version and an algorithm.
fn issuer_of(der: &[u8]) -> Option<&[u8]> {
    let signed = first_element(der)?;
    let mut rest = signed.get(sizes(signed)?.0..)?;
    let mut next = || {
        let (header, content) = sizes(rest)?;
        let (element, after) = rest.split_at_checked(header.checked_add(content)?)?;
        rest = after;
        Some(element)
    };
    let first = next()?;
    // RFC 5280 §5.1: a version is an INTEGER, an algorithm is not.
    if first.first() == Some(&2) {
        next()?;
    }
    next()
}
