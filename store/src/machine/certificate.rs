//! Certificates of domains.

use super::{Changing, chain};
use crate::{
    command::SetCertificate,
    id::DomainName,
    outcome::{Done, Rejection},
};

/// Sets the certificate; it must certify the domain's key, or the key that comes with it.
pub(super) fn set(change: &mut Changing<'_>, set: &SetCertificate) -> Result<Done, Rejection> {
    let mut domain = change.domain(&set.name)?;
    if let Some(key) = &set.key {
        domain.key = Some(key.clone());
    }
    let key = domain.key.as_ref().ok_or_else(|| Rejection::KeyMissing(set.name.clone()))?;
    if key.public_key != set.certificate.public_key {
        return Err(Rejection::CertificateOfOtherKey {
            key: key.public_key,
            certificate: set.certificate.public_key,
        });
    }
    domain.certificate = Some(set.certificate.clone());
    if let Some(certificates) = &set.chain {
        chain::replace(change, &mut domain, certificates)?;
    }
    change.put_domain(domain)
}

/// Removes the certificate; the key stays.
pub(super) fn remove(change: &mut Changing<'_>, name: &DomainName) -> Result<Done, Rejection> {
    let mut domain = change.domain(name)?;
    if domain.certificate.take().is_none() {
        return Err(Rejection::CertificateMissing(name.clone()));
    }
    change.put_domain(domain)
}
