//! Rules for the S/MIME issuers of domains.

use super::{Changing, chain, check_count};
use crate::{
    command::SetSmimeIssuer,
    id::{DomainId, DomainName, Version},
    limits::CRL_URL_BYTES_MAX,
    outcome::{Done, Rejection},
    record::{AccountSettings, Record, RecoveryKey, RowKey, SmimeIssuer},
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
    change.remove(&RowKey::SmimeIssuer(id))?;
    Ok(Done::Changed)
}

/// Removes the issuer and the settings of a deleted domain.
pub(super) fn clear(change: &mut Changing<'_>, id: DomainId) -> Result<(), Rejection> {
    change.remove(&RowKey::AccountSettings(id))?;
    change.remove(&RowKey::SmimeIssuer(id))
}

/// Sets the URL of the revocation list.
pub(super) fn set_crl_url(
    change: &mut Changing<'_>,
    name: &DomainName,
    url: Option<&String>,
) -> Result<Done, Rejection> {
    let bytes = url.map_or(0, String::len);
    check_count("bytes in the URL of a revocation list", bytes, CRL_URL_BYTES_MAX)?;
    set_settings(change, name, |settings| settings.crl_url = url.cloned())
}

/// Sets the recovery key. Copies that were made for an earlier one stay as they are.
pub(super) fn set_recovery_key(
    change: &mut Changing<'_>,
    name: &DomainName,
    key: Option<&RecoveryKey>,
) -> Result<Done, Rejection> {
    set_settings(change, name, |settings| settings.recovery_key = key.cloned())
}

/// Changes the settings of a domain's accounts, unless they are so already.
fn set_settings(
    change: &mut Changing<'_>,
    name: &DomainName,
    set: impl Fn(&mut AccountSettings),
) -> Result<Done, Rejection> {
    let id = change.domain(name)?.id;
    let present = change.state.account_settings(id).cloned().unwrap_or_default();
    let mut settings = present.clone();
    set(&mut settings);
    if settings != present {
        settings.version.0 += 1;
        change.put(RowKey::AccountSettings(id), Record::AccountSettings(settings.into()))?;
    }
    Ok(Done::Changed)
}
