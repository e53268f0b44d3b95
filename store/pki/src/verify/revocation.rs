//! Revocation of certificates (RFC 5280 §6.3).

use der::{Decode, Encode, asn1::ObjectIdentifier};
use x509_cert::{
    Version,
    crl::TbsCertList,
    ext::pkix::{
        IssuingDistributionPoint,
        crl::{CrlNumber, dp::DistributionPoint},
        name::{DistributionPointName, GeneralName},
    },
    name::Name,
};

use crate::{
    budget::{Budget, each},
    certificate::Certificate,
    crl::{Crl, DELTA, NUMBER},
    limits::NAME_BYTES_MAX,
    name::Comparable,
    rule::{Broken, Reason},
    signature::{check_bytes, key_cost},
};

const AKI: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");
const POINT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");
const FRESHEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.46");
const REASON: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.21");
const INVALIDITY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.24");

const DELTA_SOURCE: &str = "RFC 5280 §5.2.4";

/// Possible signer of lists, and whether its key usage allows that.
#[derive(Clone, Copy)]
pub(super) struct Signer<'a> {
    pub(super) certificate: &'a Certificate,
    pub(super) may_sign: bool,
}

/// Facts for checking the status of one certificate.
pub(super) struct Status<'a> {
    /// Name of the issuer, as in the certificate.
    pub(super) issuer_name: &'a Comparable,
    /// The issuer, and other keys of it (RFC 5280 §6.3.3 (f)).
    pub(super) signers: &'a [Signer<'a>],
    /// Whether some list must cover it, even if there is no list of its issuer.
    pub(super) is_required: bool,
    /// Distribution points in the certificate.
    pub(super) points: &'a [DistributionPoint],
}

/// Returns whether `crl` names this issuer as its own.
pub(super) fn is_of(crl: &Crl, issuer_name: &Comparable) -> bool {
    crl.issuer == *issuer_name
}

/// Checks that none of `crls` revokes the certificate. If no list of its issuer is given, it passes
/// unless a list is required. If one is given, at least one must be usable and cover the
/// certificate.
pub(super) fn check(
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
        // Half of the work is to read the entries; the other half is for each signature.
        budget.spend(crl.half_work())?;
        match check_usable(crl, certificate, status, at, budget) {
            Ok(true) => {
                is_known = true;
                check_entries(crl, certificate)?;
            }
            Ok(false) => undetermined = undetermined.or_else(|| Some(silent())),
            // What a delta would change is unknown, whatever scope it claims.
            Err(broken) if broken.source == DELTA_SOURCE || broken.reason == Reason::TooMuch => {
                return Err(broken);
            }
            // A list that cannot be trusted does not revoke anything either.
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

/// Returns whether the list covers the certificate. Fails if the list cannot be trusted.
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
        if check_bytes(key, &crl.parsed.signature_algorithm, signed, signature).is_ok() {
            return Ok(speaks);
        }
    }
    Err(broken("RFC 5280 §6.3.3 (g)", "has a wrong signature"))
}

/// Returns the estimated nanoseconds to parse the scope of a list and to compare it with `points`.
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

/// Returns whether the certificate is within the scope of the list (RFC 5280 §6.3.3 (b)).
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
            // A list outside the certificate's points is taken as one at the issuer's name
            // (§6.3.3).
            let is_issuer = |name: &GeneralName| match name {
                GeneralName::DirectoryName(name) => Comparable::of(name) == Comparable::of(issuer),
                _ => false,
            };
            names.iter().any(|name| is_issuer(name) || is_pointed_at(name, issuer, status.points))
        }
    };
    Ok(is_at_its_point && !is_for_others && !point.only_contains_attribute_certs)
}

/// Returns whether a point of the certificate has this name. A point for some reasons only is
/// ignored, because it leaves the others open. A point with an unsupported name matches nothing.
fn is_pointed_at(place: &GeneralName, issuer: &Name, points: &[DistributionPoint]) -> bool {
    let points = points.iter().filter(|point| point.reasons.is_none());
    points.filter_map(|point| point.distribution_point.as_ref()).any(|point| {
        let names = full_names(point, issuer);
        names.iter().all(is_place) && names.contains(place)
    })
}

/// Returns the names of a point. A relative name continues the issuer's name.
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

/// Returns whether RFC 5280 §4.2.1.13 defines how to look up the name.
fn is_place(name: &GeneralName) -> bool {
    matches!(name, GeneralName::UniformResourceIdentifier(_) | GeneralName::DirectoryName(_))
}
