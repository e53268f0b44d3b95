//! Rules for certificates of domains.

use super::{Changing, chain, credential, key, pending_key};
use crate::{
    command::SetCertificate,
    id::DomainName,
    outcome::{Done, Rejection},
    record::{Domain, DomainKey, KeyFamily},
};

/// Sets the certificate. It must certify a key of the domain, or the key in the same command.
pub(super) fn set(change: &mut Changing<'_>, set: &SetCertificate) -> Result<Done, Rejection> {
    let domain = with(change, set)?;
    pending_key::take(change, domain.id, set.certificate.public_key)?;
    change.put_domain(domain)
}

/// Returns the domain as it is with the certificate, and adds its chain.
pub(super) fn with(change: &mut Changing<'_>, set: &SetCertificate) -> Result<Domain, Rejection> {
    let mut domain = change.domain(&set.name)?;
    if let Some(new) = set.key.as_ref().filter(|new| !is_present(change, &domain, new)) {
        let kept = domain.credential(new.family).and_then(|one| one.chain);
        key::put(&mut domain, new);
        credential(&mut domain, new.family)?.chain = kept;
    }
    let first = domain.credentials.first();
    let first = first.ok_or_else(|| Rejection::KeyMissing(set.name.clone()))?.key.public_key;
    let certified = set.certificate.public_key;
    let mut credentials = domain.credentials.iter_mut();
    let credential = credentials
        .find(|one| one.key.public_key == certified)
        .ok_or(Rejection::CertificateOfOtherKey { key: first, certificate: certified })?;
    credential.certificate = Some(set.certificate.clone());
    if let Some(certificates) = &set.chain {
        chain::replace(change, credential, certificates)?;
    }
    Ok(domain)
}

/// Returns whether the domain has this key, sealed under the same generation. Its sealed bytes are
/// others at each import, so they are not compared.
fn is_present(change: &Changing<'_>, domain: &Domain, new: &DomainKey) -> bool {
    let present = domain.credential(new.family).map(|one| &one.key);
    change.skips_same() && present.is_some_and(|present| present.is_same(new))
}

/// Removes the certificate and keeps the key.
pub(super) fn remove(
    change: &mut Changing<'_>,
    name: &DomainName,
    family: KeyFamily,
) -> Result<Done, Rejection> {
    let mut domain = change.domain(name)?;
    let credential = credential(&mut domain, family)?;
    if credential.certificate.take().is_none() {
        return Err(Rejection::CertificateMissing(name.clone()));
    }
    change.put_domain(domain)
}
