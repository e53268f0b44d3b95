//! Certificates of domains.

use conclave_api::{
    certificate::{Import, SelfSign},
    problem::{Code, Problem},
};
use conclave_pki::{
    certificate::{Certificate, read_certificates},
    chain::split_bundle,
    issue::{self, Attributes, Validity},
    key::PrivateKey,
};
use conclave_store::{
    command::{Action, SetCertificate},
    id::Fingerprint,
    limits::CHAIN_CERTIFICATES_MAX,
    outcome::Rejection,
    record::{self, Domain},
    time::UnixMillis,
};
use serde_bytes::ByteBuf;

use super::{
    Admitted, View, domain_name,
    key::{opened_key, read_key, sealed_key},
    problem, rejection_problem,
};
use crate::{clock, entropy};

const DAYS: u32 = 365;
const DAYS_MAX: u32 = 36_500;

/// A certificate with the facts that rules need.
pub(super) fn record_of(certificate: &Certificate) -> record::Certificate {
    record::Certificate {
        der: certificate.der().to_vec(),
        public_key: Fingerprint::of(certificate.public_key_der()),
        not_before: UnixMillis(certificate.not_before().saturating_mul(1000)),
        not_after: UnixMillis(certificate.not_after().saturating_mul(1000)),
    }
}

/// What an import brought, read once however often the command is derived afresh.
pub(crate) struct Imported {
    bundle: Vec<Certificate>,
    key: Option<PrivateKey>,
}

/// Reads what the caller brings.
pub(crate) fn read_import(asked: &Import) -> Result<Imported, Problem> {
    let key = asked.key.as_deref().map(read_key).transpose()?;
    let bundle = read_certificates(asked.certificate.as_bytes())
        .map_err(|error| problem::certificate("certificate", &asked.certificate, &error))?;
    Ok(Imported { bundle, key })
}

/// Sets the certificate, its key and its chain, as far as they were brought.
pub(crate) fn import_certificate(
    view: &View<'_>,
    name: &str,
    imported: &Imported,
) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let (domain, expectation) = view.domain(&name)?;
    let public_key_der = match (&imported.key, &domain.key) {
        (Some(key), _) => key.public_key_der(),
        (None, Some(key)) => key.public_key_der.as_slice(),
        (None, None) => return Err(rejection_problem(&Rejection::KeyMissing(name))),
    };
    let split = split_bundle(imported.bundle.clone(), public_key_der);
    let (leaf, rest) =
        split.ok_or_else(|| Problem::new(Code::C001, "the input holds no certificate"))?;
    if leaf.public_key_der() != public_key_der {
        return Err(rejection_problem(&Rejection::CertificateOfOtherKey {
            key: Fingerprint::of(public_key_der),
            certificate: Fingerprint::of(leaf.public_key_der()),
        }));
    }
    if rest.len() > CHAIN_CERTIFICATES_MAX {
        let title = format!("a chain of {} certificates is too long", rest.len());
        return Err(Problem::new(Code::H004, title)
            .detail(format!("{CHAIN_CERTIFICATES_MAX} are possible")));
    }
    let key = imported.key.as_ref().map(|key| sealed_key(view, domain.id, key)).transpose()?;
    // A bundle that brings no chain leaves the present one, unless the key is new as well.
    let brought = !rest.is_empty() || key.is_some();
    let chain =
        brought.then(|| rest.iter().map(|certificate| ByteBuf::from(certificate.der())).collect());
    let warnings = warnings(domain, &leaf, view.now);
    let action = SetCertificate { name: name.clone(), key, certificate: record_of(&leaf), chain };
    let action = Action::SetCertificate(Box::new(action));
    Ok(Admitted::new(action, name).expecting(expectation).warning(warnings))
}

/// What is wrong with a certificate for a domain, without refusing it.
pub(crate) fn warnings(domain: &Domain, certificate: &Certificate, now: UnixMillis) -> Vec<String> {
    let mut warnings = Vec::new();
    let at = |seconds: u64| clock::rfc3339(UnixMillis(seconds.saturating_mul(1000)));
    if certificate.not_after() < now.0 / 1000 {
        warnings.push(format!("the certificate expired at {}", at(certificate.not_after())));
    }
    if certificate.not_before() > now.0 / 1000 {
        warnings.push(format!("the certificate is valid from {} on", at(certificate.not_before())));
    }
    for name in domain.server_names() {
        if !certificate.covers(name.as_str()) {
            warnings.push(format!("the certificate does not cover {name}"));
        }
    }
    warnings
}

/// Makes a certificate that the domain's key signs itself (A14).
pub(crate) fn self_sign(
    view: &View<'_>,
    name: &str,
    asked: &SelfSign,
) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let (domain, expectation) = view.domain(&name)?;
    let days = asked.days.unwrap_or(DAYS);
    if !(1..=DAYS_MAX).contains(&days) {
        let title = format!("{days} days are not possible");
        return Err(Problem::new(Code::C008, title).detail(format!("1 to {DAYS_MAX} are")));
    }
    let key = opened_key(view, domain)?;
    let common_name = asked.common_name.clone().unwrap_or_else(|| name.to_string());
    let mut names = vec![common_name.clone()];
    let own = domain.server_names().map(String::from);
    for other in own.chain(asked.names.iter().cloned()) {
        if !names.contains(&other) {
            names.push(other);
        }
    }
    let attributes = Attributes {
        common_name,
        country: asked.country.clone(),
        province: asked.province.clone(),
        city: asked.city.clone(),
        organization: asked.organization.clone(),
        unit: asked.unit.clone(),
        contact: asked.contact.clone(),
    };
    let not_before = view.now.0 / 1000;
    let validity = Validity { not_before, not_after: not_before + u64::from(days) * 24 * 60 * 60 };
    let made = issue::self_sign(&key, &attributes, &names, entropy::array(), validity)
        .map_err(|error| problem::issue(&error))?;
    let action = SetCertificate {
        name: name.clone(),
        key: None,
        certificate: record_of(&made),
        chain: Some(Vec::new()),
    };
    let action = Action::SetCertificate(Box::new(action));
    Ok(Admitted::new(action, name).expecting(expectation))
}

pub(crate) fn remove_certificate(view: &View<'_>, name: &str) -> Result<Admitted, Problem> {
    let name = domain_name(name)?;
    let (_, expectation) = view.domain(&name)?;
    Ok(Admitted::new(Action::RemoveCertificate(name.clone()), name).expecting(expectation))
}
