//! Trusted certificates: added and removed one by one, so that two who edit lose nothing.

use serde_bytes::ByteBuf;

use super::{Changing, check_count};
use crate::{
    id::{DomainName, Fingerprint},
    limits::TRUSTED_MAX,
    outcome::{Done, Rejection},
    record::{Domain, Record, RowKey, TrustSet, Trusted},
};

/// Adds certificates to the set of a domain, or of the scope; those that stand there stay.
pub(super) fn add(
    change: &mut Changing<'_>,
    owner: Option<&DomainName>,
    certificates: &[ByteBuf],
) -> Result<Done, Rejection> {
    let (set, domain) = set_of(change, owner)?;
    for der in certificates {
        let key = RowKey::Trusted((set.clone(), Fingerprint::of(der)));
        if change.state.row(&key).is_none() {
            change.put(key, Record::Trusted(Trusted { der: der.clone() }))?;
        }
    }
    check_count("trusted certificates in a set", change.state.trusted(&set).count(), TRUSTED_MAX)?;
    done(change, domain)
}

/// Removes certificates; each must stand there.
pub(super) fn remove(
    change: &mut Changing<'_>,
    owner: Option<&DomainName>,
    fingerprints: &[Fingerprint],
) -> Result<Done, Rejection> {
    let (set, domain) = set_of(change, owner)?;
    for fingerprint in fingerprints {
        let key = RowKey::Trusted((set.clone(), *fingerprint));
        change.state.row(&key).ok_or(Rejection::TrustedUnknown(*fingerprint))?;
        change.remove(&key)?;
    }
    done(change, domain)
}

/// Removes the whole set of a domain that goes.
pub(super) fn clear(change: &mut Changing<'_>, domain: &Domain) -> Result<(), Rejection> {
    let set = TrustSet::Domain(domain.id);
    let found: Vec<Fingerprint> = change.state.trusted(&set).map(|(one, _)| one).collect();
    for fingerprint in found {
        change.remove(&RowKey::Trusted((set.clone(), fingerprint)))?;
    }
    Ok(())
}

fn set_of(
    change: &Changing<'_>,
    owner: Option<&DomainName>,
) -> Result<(TrustSet, Option<Domain>), Rejection> {
    let domain = owner.map(|name| change.domain(name)).transpose()?;
    let set = domain.as_ref().map_or(TrustSet::System, |domain| TrustSet::Domain(domain.id));
    Ok((set, domain))
}

fn done(change: &mut Changing<'_>, domain: Option<Domain>) -> Result<Done, Rejection> {
    match domain {
        Some(domain) => change.put_domain(domain),
        None => Ok(Done::Changed),
    }
}
