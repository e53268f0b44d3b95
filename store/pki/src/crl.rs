//! Certificate revocation lists (RFC 5280 §5).

use der::{Decode, Encode, SliceReader, asn1::ObjectIdentifier};
use x509_cert::{
    Version,
    crl::CertificateList,
    ext::pkix::{IssuingDistributionPoint, crl::CrlNumber},
};

use crate::{
    certificate::{Certificate, CertificateError, pem_error, read_block},
    limits::{CERTIFICATES_MAX, CRL_BYTES_MAX},
    name, pem,
    verify::{Broken, Reason, check_signature},
};

const AKI: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");
const NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");
const DELTA: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.27");
const POINT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");
const FRESHEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.46");
const REASON: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.21");
const INVALIDITY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.24");

/// A revocation list, parsed once.
#[derive(Clone)]
pub struct Crl {
    der: Vec<u8>,
    parsed: CertificateList,
}

/// Reads all revocation lists of a PEM input, or one in DER.
pub fn read_crls(input: &[u8]) -> Result<Vec<Crl>, CertificateError> {
    if input.starts_with(&[0x30]) {
        return Crl::from_der(input).map(|crl| vec![crl]);
    }
    let blocks = pem::blocks(input).map_err(|_| damaged("it is no PEM file"))?;
    blocks
        .iter()
        .map(|block| match block.label.as_str() {
            "X509 CRL" => Crl::from_der(&block.der),
            other => Err(damaged(&format!("expected a revocation list, found {other:?}"))),
        })
        .collect()
}

/// Reads what a set of trusted certificates is filled from: a PEM input with certificates,
/// revocation lists or both, one thing at least.
pub fn read_trusted(input: &[u8]) -> Result<(Vec<Certificate>, Vec<Crl>), CertificateError> {
    let blocks = pem::blocks(input).map_err(|error| pem_error(&error))?;
    if blocks.len() > CERTIFICATES_MAX {
        return Err(CertificateError::TooMany { count: blocks.len() });
    }
    let (mut certificates, mut crls) = (Vec::new(), Vec::new());
    for block in &blocks {
        if block.label == "X509 CRL" {
            let at_line = |error| match error {
                CertificateError::Damaged { why, .. } => {
                    CertificateError::Damaged { why, line: block.line }
                }
                other => other,
            };
            crls.push(Crl::from_der(&block.der).map_err(at_line)?);
        } else {
            certificates.push(read_block(block)?);
        }
    }
    Ok((certificates, crls))
}

fn damaged(why: &str) -> CertificateError {
    CertificateError::Damaged { why: why.to_owned(), line: 1 }
}

impl Crl {
    /// Reads one list; every byte must belong to it.
    pub fn from_der(der: &[u8]) -> Result<Crl, CertificateError> {
        if der.len() > CRL_BYTES_MAX {
            return Err(damaged("the revocation list is larger than 16 MiB"));
        }
        let parsed = CertificateList::from_der(der)
            .map_err(|_| damaged("it is not a revocation list as RFC 5280 defines it"))?;
        Ok(Crl { der: der.to_vec(), parsed })
    }

    /// The list.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The list as PEM.
    pub fn pem(&self) -> String {
        pem::encode("X509 CRL", &self.der)
    }

    /// All attributes of who issued it.
    pub fn issuer(&self) -> String {
        name::shown(&self.parsed.tbs_cert_list.issuer)
    }

    /// The same, DER.
    pub fn issuer_der(&self) -> Result<Vec<u8>, CertificateError> {
        let issuer = self.parsed.tbs_cert_list.issuer.to_der();
        issuer.map_err(|_| damaged("its issuer cannot be read"))
    }

    /// When it was issued, in seconds since 1970.
    pub fn this_update(&self) -> u64 {
        self.parsed.tbs_cert_list.this_update.to_unix_duration().as_secs()
    }

    /// When the next one comes at the latest, if it says so.
    pub fn next_update(&self) -> Option<u64> {
        Some(self.parsed.tbs_cert_list.next_update?.to_unix_duration().as_secs())
    }

    /// Number of certificates that it revokes.
    pub fn revoked_count(&self) -> usize {
        self.parsed.tbs_cert_list.revoked_certificates.as_ref().map_or(0, Vec::len)
    }

    /// Its number in hex (RFC 5280 §5.2.3); empty if it has none.
    pub fn number(&self) -> String {
        let mut extensions = self.parsed.tbs_cert_list.crl_extensions.iter().flatten();
        let number = extensions.find(|one| one.extn_id == NUMBER);
        let number = number.and_then(|one| CrlNumber::from_der(one.extn_value.as_bytes()).ok());
        let hex = |number: CrlNumber| -> String {
            number.0.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
        };
        number.map(hex).unwrap_or_default()
    }

    /// It only says what has changed since another one (RFC 5280 §5.2.4).
    pub fn is_delta(&self) -> bool {
        let mut extensions = self.parsed.tbs_cert_list.crl_extensions.iter().flatten();
        extensions.any(|one| one.extn_id == DELTA)
    }

    /// The part that is signed.
    fn signed_bytes(&self) -> Option<&[u8]> {
        first_element(&self.der)
    }
}

/// The first element of a SEQUENCE, header included: what a signature covers.
pub(crate) fn first_element(der: &[u8]) -> Option<&[u8]> {
    let mut reader = SliceReader::new(der).ok()?;
    let header = der::Header::decode(&mut reader).ok()?;
    let start = usize::try_from(header.encoded_len().ok()?).ok()?;
    let inner = der.get(start..)?;
    let mut reader = SliceReader::new(inner).ok()?;
    let first = der::Header::decode(&mut reader).ok()?;
    let length = usize::try_from((first.encoded_len().ok()? + first.length()).ok()?).ok()?;
    inner.get(..length)
}

/// Who issued the certificate whose status is asked for.
pub(crate) struct Status<'a> {
    pub(crate) issuer: &'a Certificate,
    /// Issuer's name as it stands in the certificate.
    pub(crate) issuer_name: &'a [u8],
    /// The issuer's key usage allows lists.
    pub(crate) may_sign: bool,
}

/// Whether one of `crls` revokes the certificate. An issuer of whom no list is given is not
/// asked; of whom one is given, one must be usable.
pub(crate) fn check(
    certificate: &Certificate,
    status: &Status<'_>,
    crls: &[Crl],
    at: u64,
) -> Result<(), Broken> {
    let mut unusable = None;
    let mut is_known = false;
    for crl in crls {
        if crl.parsed.tbs_cert_list.issuer.to_der().is_ok_and(|name| name == status.issuer_name) {
            match check_usable(crl, certificate, status, at) {
                Ok(true) => {
                    is_known = true;
                    check_entries(crl, certificate)?;
                }
                Ok(false) => {}
                // A list that cannot be trusted revokes nothing either.
                Err(broken) => unusable = Some(broken),
            }
        }
    }
    match unusable {
        Some(broken) if !is_known => Err(broken),
        _ => Ok(()),
    }
}

fn check_entries(crl: &Crl, certificate: &Certificate) -> Result<(), Broken> {
    let serial = certificate.parsed().tbs_certificate().serial_number();
    for entry in crl.parsed.tbs_cert_list.revoked_certificates.iter().flatten() {
        if entry.serial_number == *serial {
            return Err(Broken::new(Reason::Revoked, "RFC 5280 §6.3", "it is revoked"));
        }
    }
    Ok(())
}

/// Whether the list speaks about such a certificate; an error if it cannot be trusted.
fn check_usable(
    crl: &Crl,
    certificate: &Certificate,
    status: &Status<'_>,
    at: u64,
) -> Result<bool, Broken> {
    let list = &crl.parsed.tbs_cert_list;
    let broken = |source, what: &str| {
        Broken::new(Reason::Crl, source, format!("the revocation list of its issuer {what}"))
    };
    if list.version != Version::V2 || list.signature != crl.parsed.signature_algorithm {
        return Err(broken("RFC 5280 §5.1", "is not well made"));
    }
    if !status.may_sign {
        return Err(broken("RFC 5280 §6.3.3 (f)", "is signed by a key that may not sign lists"));
    }
    if list.this_update.to_unix_duration().as_secs() > at {
        return Err(broken("RFC 5280 §5.1.2.4", "is not valid yet"));
    }
    match list.next_update {
        Some(next) if next.to_unix_duration().as_secs() >= at => {}
        Some(_) => return Err(broken("RFC 5280 §5.1.2.5", "has expired")),
        None => return Err(broken("RFC 5280 §5.1.2.5", "does not say when the next one comes")),
    }
    let speaks = check_extensions(crl, certificate, &broken)?;
    let signature = crl.parsed.signature.as_bytes().unwrap_or_default();
    let signed = crl.signed_bytes().unwrap_or_default();
    let key = status.issuer.public_key_der();
    check_signature(key, &crl.parsed.signature_algorithm, signed, signature)
        .map_err(|_| broken("RFC 5280 §6.3.3 (g)", "has a wrong signature"))?;
    Ok(speaks)
}

fn check_extensions(
    crl: &Crl,
    certificate: &Certificate,
    broken: &dyn Fn(&'static str, &str) -> Broken,
) -> Result<bool, Broken> {
    let list = &crl.parsed.tbs_cert_list;
    let (mut has_number, mut has_aki, mut speaks) = (false, false, true);
    for extension in list.crl_extensions.iter().flatten() {
        let value = extension.extn_value.as_bytes();
        match extension.extn_id {
            NUMBER => {
                if extension.critical || CrlNumber::from_der(value).is_err() {
                    return Err(broken("RFC 5280 §5.2.3", "has a number that is not one"));
                }
                has_number = true;
            }
            AKI => has_aki = true,
            FRESHEST => {}
            DELTA => return Err(broken("RFC 5280 §5.2.4", "is a delta, which is not supported")),
            POINT => {
                let point = IssuingDistributionPoint::from_der(value)
                    .map_err(|_| broken("RFC 5280 §5.2.5", "cannot be read"))?;
                if point.indirect_crl || point.only_some_reasons.is_some() {
                    let what = "is indirect or for some reasons only, which is not supported";
                    return Err(broken("RFC 5280 §5.2.5", what));
                }
                let is_authority = certificate.is_authority();
                let is_for_others = match is_authority {
                    true => point.only_contains_user_certs,
                    false => point.only_contains_ca_certs,
                };
                speaks = !is_for_others && !point.only_contains_attribute_certs;
            }
            _ if extension.critical => {
                return Err(broken("RFC 5280 §5.2", "has a critical extension that is not known"));
            }
            _ => {}
        }
    }
    if !has_number || !has_aki {
        return Err(broken("RFC 5280 §5.2", "lacks its number or its authority's key identifier"));
    }
    let entries = list.revoked_certificates.iter().flatten();
    let mut extensions = entries.flat_map(|entry| entry.crl_entry_extensions.iter().flatten());
    if extensions.any(|one| one.critical && ![REASON, INVALIDITY].contains(&one.extn_id)) {
        return Err(broken("RFC 5280 §5.3", "has an entry that is not understood"));
    }
    Ok(speaks)
}
