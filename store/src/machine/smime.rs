//! Rules for the S/MIME issuers of domains.

use super::{Changing, chain};
use crate::{
    command::SetSmimeIssuer,
    id::{DomainId, DomainName, Version},
    outcome::{Done, Rejection},
    record::{Record, RowKey, SmimeIssuer},
};

/// Sets the issuer. Its certificate must certify its key.
pub(super) fn set(change: &mut Changing<'_>, set: &SetSmimeIssuer) -> Result<Done, Rejection> {
    let id = change.domain(&set.domain)?.id;
    chain::check_bounds(&set.chain)?;
    let (key, certified) = (set.key.public_key, set.certificate.as_ref().map(|one| one.public_key));
    if let Some(certificate) = certified.filter(|certified| *certified != key) {
        return Err(Rejection::CertificateOfOtherKey { key, certificate });
    }
    let present = change.state.smime_issuer(id);
    let is_same = present.is_some_and(|present| {
        present.key.is_same(&set.key)
            && present.certificate == set.certificate
            && present.chain == set.chain
    });
    if is_same {
        return Ok(Done::Changed);
    }
    let version = Version(present.map_or(0, |present| present.version.0) + 1);
    let issuer = SmimeIssuer {
        key: set.key.clone(),
        certificate: set.certificate.clone(),
        chain: set.chain.clone(),
        version,
        changed: change.stamp(),
    };
    change.put(RowKey::SmimeIssuer(id), Record::SmimeIssuer(issuer.into()))?;
    Ok(Done::Changed)
}

/// Removes the issuer. What it issued stays valid; its revocations are kept.
pub(super) fn remove(change: &mut Changing<'_>, name: &DomainName) -> Result<Done, Rejection> {
    let id = change.domain(name)?.id;
    if change.state.smime_issuer(id).is_none() {
        return Err(Rejection::SmimeIssuerUnknown(name.clone()));
    }
    clear(change, id)?;
    Ok(Done::Changed)
}

/// Removes the issuer of a deleted domain.
pub(super) fn clear(change: &mut Changing<'_>, id: DomainId) -> Result<(), Rejection> {
    change.remove(&RowKey::SmimeIssuer(id))
}
