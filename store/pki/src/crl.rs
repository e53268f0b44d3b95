//! Certificate revocation lists (RFC 5280 §5).

use der::{Decode, Encode, SliceReader, asn1::ObjectIdentifier};
use x509_cert::{
    Version,
    crl::{CertificateList, TbsCertList},
    ext::pkix::{
        IssuingDistributionPoint,
        crl::{CrlNumber, dp::DistributionPoint},
        name::{DistributionPointName, GeneralName},
    },
    name::Name,
};

use crate::{
    certificate::{Certificate, CertificateError, pem_error, read_block},
    limits::{CERTIFICATES_MAX, CRL_BYTES_MAX, NAME_BYTES_MAX, VERIFY_WORK_PER_LIST_BYTE},
    name::{self, Comparable},
    pem,
    verify::{Broken, Budget, Reason, check_signature, each, key_cost},
};

const AKI: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");
const NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");
const DELTA: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.27");
const POINT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");
const FRESHEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.46");
const REASON: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.21");
const INVALIDITY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.24");

const DELTA_SOURCE: &str = "RFC 5280 §5.2.4";

/// A revocation list, parsed once.
#[derive(Clone)]
pub struct Crl {
    der: Vec<u8>,
    parsed: CertificateList,
    issuer: Comparable,
    /// One serial number stands there more than once.
    is_ambiguous: bool,
}

/// Reads all revocation lists of a PEM input, or one in DER.
pub fn read_crls(input: &[u8]) -> Result<Vec<Crl>, CertificateError> {
    if input.starts_with(&[0x30]) {
        return Crl::from_der(input).map(|crl| vec![crl]);
    }
    let blocks = pem::blocks(input).map_err(|_| damaged("it is no PEM file"))?;
    blocks
        .iter()
        .map(|block| match block.label {
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
        let not_rfc5280 = || damaged("it is not a revocation list as RFC 5280 defines it");
        // Parsed, a name takes forty times its bytes.
        if issuer_of(der).ok_or_else(not_rfc5280)?.len() > NAME_BYTES_MAX {
            return Err(damaged("the name of its issuer is larger than 16 KiB"));
        }
        let parsed = CertificateList::from_der(der).map_err(|_| not_rfc5280())?;
        let entries = parsed.tbs_cert_list.revoked_certificates.iter().flatten();
        let mut serials: Vec<&[u8]> = entries.map(|one| one.serial_number.as_bytes()).collect();
        serials.sort_unstable();
        let is_ambiguous = serials.array_windows().any(|[one, next]| one == next);
        let issuer = Comparable::of(&parsed.tbs_cert_list.issuer);
        Ok(Crl { der: der.to_vec(), parsed, issuer, is_ambiguous })
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

    /// Its length.
    pub(crate) fn bytes(&self) -> u64 {
        u64::try_from(self.der.len()).unwrap_or(u64::MAX)
    }

    fn half_work(&self) -> u64 {
        self.bytes().saturating_mul(VERIFY_WORK_PER_LIST_BYTE / 2)
    }

    /// The part that is signed.
    fn signed_bytes(&self) -> Option<&[u8]> {
        first_element(&self.der)
    }
}

/// The first element of a SEQUENCE, header included: what a signature covers.
pub(crate) fn first_element(der: &[u8]) -> Option<&[u8]> {
    let (start, _) = sizes(der)?;
    let inner = der.get(start..)?;
    let (header, content) = sizes(inner)?;
    inner.get(..header.checked_add(content)?)
}

/// Issuer's name as it stands in a list: after a version, if there is one, and an algorithm.
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

/// Lengths of header and content of the first element.
fn sizes(der: &[u8]) -> Option<(usize, usize)> {
    let header = der::Header::decode(&mut SliceReader::new(der).ok()?).ok()?;
    let length = usize::try_from(header.encoded_len().ok()?).ok()?;
    Some((length, usize::try_from(header.length()).ok()?))
}

/// Who may sign lists, if its key usage allows it.
#[derive(Clone, Copy)]
pub(crate) struct Signer<'a> {
    pub(crate) certificate: &'a Certificate,
    pub(crate) may_sign: bool,
}

/// Who issued the certificate whose status is asked for.
pub(crate) struct Status<'a> {
    /// Issuer's name in the certificate.
    pub(crate) issuer_name: &'a Comparable,
    /// The issuer, and its other keys if it has more than one (RFC 5280 §6.3.3 (f)).
    pub(crate) signers: &'a [Signer<'a>],
    /// Some list must speak about it, as about the certificate that somebody asks for.
    pub(crate) is_required: bool,
    /// Where the certificate says that lists about it are.
    pub(crate) points: &'a [DistributionPoint],
}

/// Whether `crl` calls itself one of this issuer.
pub(crate) fn is_of(crl: &Crl, issuer_name: &Comparable) -> bool {
    crl.issuer == *issuer_name
}

/// Whether one of `crls` revokes the certificate. An issuer of whom no list is given is not
/// asked, unless it must be; of whom one is given, one must be usable and speak about the
/// certificate.
pub(crate) fn check(
    certificate: &Certificate,
    status: &Status<'_>,
    crls: &[Crl],
    at: u64,
    budget: &mut Budget,
) -> Result<(), Broken> {
    let silent = || {
        let detail = "no revocation list speaks about it";
        Broken::new(Reason::Crl, "RFC 5280 §6.3.3 (b)", detail)
    };
    let mut undetermined = (status.is_required && !crls.is_empty()).then(silent);
    let mut is_known = false;
    budget.spend(each(crls.len(), 50))?;
    for crl in crls.iter().filter(|crl| is_of(crl, status.issuer_name)) {
        // Half of the work is to look at its entries, the other half is for each signature.
        budget.spend(crl.half_work())?;
        match check_usable(crl, certificate, status, at, budget) {
            Ok(true) => {
                is_known = true;
                check_entries(crl, certificate)?;
            }
            Ok(false) => undetermined = undetermined.or_else(|| Some(silent())),
            // What it would change stays unknown, whatever the list says that it is about.
            Err(broken) if broken.source == DELTA_SOURCE || broken.reason == Reason::TooMuch => {
                return Err(broken);
            }
            // A list that cannot be trusted revokes nothing either.
            Err(broken) => undetermined = Some(broken),
        }
    }
    match undetermined {
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
    budget: &mut Budget,
) -> Result<bool, Broken> {
    let list = &crl.parsed.tbs_cert_list;
    let broken = |source, what: &str| {
        Broken::new(Reason::Crl, source, format!("the revocation list of its issuer {what}"))
    };
    if list.version != Version::V2 || list.signature != crl.parsed.signature_algorithm {
        return Err(broken("RFC 5280 §5.1", "is not well made"));
    }
    if crl.is_ambiguous {
        return Err(broken("RFC 5280 §5.1.2.6", "has a serial number twice"));
    }
    if status.signers.iter().all(|signer| !signer.may_sign) {
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
    budget.spend(scope_cost(list, status.points))?;
    let speaks = check_extensions(crl, certificate, status, &broken)?;
    let signature = crl.parsed.signature.as_bytes().unwrap_or_default();
    let signed = crl.signed_bytes().unwrap_or_default();
    for signer in status.signers.iter().filter(|signer| signer.may_sign) {
        budget.spend(key_cost(signer.certificate).saturating_add(crl.half_work()))?;
        let key = signer.certificate.public_key_der();
        if check_signature(key, &crl.parsed.signature_algorithm, signed, signature).is_ok() {
            return Ok(speaks);
        }
    }
    Err(broken("RFC 5280 §6.3.3 (g)", "has a wrong signature"))
}

/// Nanoseconds that it takes to read the scope of a list, and to compare it with `points`.
fn scope_cost(list: &TbsCertList, points: &[DistributionPoint]) -> u64 {
    let scope = list.crl_extensions.iter().flatten().find(|one| one.extn_id == POINT);
    let bytes = scope.map_or(0, |one| one.extn_value.as_bytes().len());
    let names = points.iter().map(|point| match &point.distribution_point {
        Some(DistributionPointName::FullName(names)) => names.len(),
        _ => 0,
    });
    each(bytes, 20).saturating_add(each(bytes.saturating_mul(names.sum()), 5))
}

fn check_extensions(
    crl: &Crl,
    certificate: &Certificate,
    status: &Status<'_>,
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
            DELTA => return Err(broken(DELTA_SOURCE, "is a delta, which is not supported")),
            POINT if value.len() > NAME_BYTES_MAX => {
                return Err(broken("RFC 5280 §5.2.5", "has a scope of more than 16 KiB"));
            }
            POINT => {
                let point = IssuingDistributionPoint::from_der(value)
                    .map_err(|_| broken("RFC 5280 §5.2.5", "cannot be read"))?;
                speaks = check_scope(&point, certificate, status)
                    .map_err(|what| broken("RFC 5280 §5.2.5", what))?;
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

/// Whether the certificate is within the scope of the list (RFC 5280 §6.3.3 (b)).
fn check_scope(
    point: &IssuingDistributionPoint,
    certificate: &Certificate,
    status: &Status<'_>,
) -> Result<bool, &'static str> {
    if point.indirect_crl || point.only_some_reasons.is_some() {
        return Err("is indirect or for some reasons only, which is not supported");
    }
    let is_for_others = match certificate.is_authority() {
        true => point.only_contains_user_certs,
        false => point.only_contains_ca_certs,
    };
    let issuer = certificate.parsed().tbs_certificate().issuer();
    let is_at_its_point = match &point.distribution_point {
        None => true,
        Some(place) => {
            let names = full_names(place, issuer);
            if names.is_empty() || !names.iter().all(is_place) {
                return Err("names its place in a way that is not known");
            }
            // A list that the certificate does not point at stands where its issuer does.
            let is_issuer = |name: &GeneralName| match name {
                GeneralName::DirectoryName(name) => Comparable::of(name) == Comparable::of(issuer),
                _ => false,
            };
            names.iter().any(|name| is_issuer(name) || is_pointed_at(name, issuer, status.points))
        }
    };
    Ok(is_at_its_point && !is_for_others && !point.only_contains_attribute_certs)
}

/// A point for some reasons only leaves the others open; what is no place points nowhere.
fn is_pointed_at(place: &GeneralName, issuer: &Name, points: &[DistributionPoint]) -> bool {
    let points = points.iter().filter(|point| point.reasons.is_none());
    points.filter_map(|point| point.distribution_point.as_ref()).any(|point| {
        let names = full_names(point, issuer);
        names.iter().all(is_place) && names.contains(place)
    })
}

/// The names of a point; one that is relative continues the issuer's name.
fn full_names(point: &DistributionPointName, issuer: &Name) -> Vec<GeneralName> {
    match point {
        DistributionPointName::FullName(names) => names.clone(),
        DistributionPointName::NameRelativeToCRLIssuer(last) => {
            let mut parts = issuer.as_ref().clone();
            parts.push(last.clone());
            let name = parts.to_der().and_then(|der| Name::from_der(&der));
            name.map(GeneralName::DirectoryName).into_iter().collect()
        }
    }
}

/// A name that RFC 5280 §4.2.1.13 says how to look up.
fn is_place(name: &GeneralName) -> bool {
    matches!(name, GeneralName::UniformResourceIdentifier(_) | GeneralName::DirectoryName(_))
}
