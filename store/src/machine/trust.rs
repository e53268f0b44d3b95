//! Rules for trusted certificates. They are added and removed one by one, so that concurrent edits
//! do not overwrite each other.

mod long_crl;

pub(super) use long_crl::{add as add_long_crl, add_part as add_crl_part};

use super::{Changing, check_count};
use crate::{
    command::AddTrusted,
    id::{DomainName, Fingerprint},
    limits::{CRLS_MAX, TRUSTED_MAX},
    outcome::{Done, Rejection},
    record::{Domain, Record, RowKey, TrustSet, Trusted},
};

/// Adds certificates and revocation lists to the set of a domain, or of the scope. Existing
/// certificates are kept. A revocation list replaces one of its issuer that is not newer.
pub(super) fn add(
    change: &mut Changing<'_>,
    owner: Option<&DomainName>,
    found: &AddTrusted,
) -> Result<Done, Rejection> {
    let (set, domain) = set_of(change, owner)?;
    let before = change.changes.len();
    for der in &found.certificates {
        let key = RowKey::Trusted((set.clone(), Fingerprint::of(der)));
        if change.state.row(&key).is_none() {
            change.put(key, Record::Trusted(Trusted { der: der.clone() }.into()))?;
        }
    }
    for (issuer, crl) in &found.crls {
        let known = change.state.crl_issued(&set, *issuer);
        let key = RowKey::Crl((set.clone(), *issuer));
        let present = change.state.row(&key).map(|row| &row.record);
        let is_same = change.skips_same()
            && matches!(present, Some(Record::Crl(present)) if **present == *crl);
        if !is_same && known.is_none_or(|known| known <= crl.this_update) {
            if present.is_none() {
                long_crl::remove(change, &set, *issuer)?;
            }
            change.put(key, Record::Crl(crl.clone().into()))?;
        }
    }
    check_counts(change, &set)?;
    let is_changed = change.changes.len() > before;
    done(change, domain, is_changed)
}

fn check_counts(change: &Changing<'_>, set: &TrustSet) -> Result<(), Rejection> {
    check_count("revocation lists in a set", change.state.crl_keys(set).count(), CRLS_MAX)?;
    check_count("trusted certificates in a set", change.state.trusted(set).count(), TRUSTED_MAX)
}

/// Removes certificates, or revocation lists by the hash of their issuer's name. Each must exist.
pub(super) fn remove(
    change: &mut Changing<'_>,
    owner: Option<&DomainName>,
    fingerprints: &[Fingerprint],
) -> Result<Done, Rejection> {
    let (set, domain) = set_of(change, owner)?;
    for fingerprint in fingerprints {
        let certificate = RowKey::Trusted((set.clone(), *fingerprint));
        if change.state.row(&certificate).is_some() {
            change.remove(&certificate)?;
        } else if !long_crl::remove(change, &set, *fingerprint)? {
            return Err(Rejection::TrustedUnknown(*fingerprint));
        }
    }
    done(change, domain, !fingerprints.is_empty())
}

/// Removes the whole set of a deleted domain.
pub(super) fn clear(change: &mut Changing<'_>, domain: &Domain) -> Result<(), Rejection> {
    let set = TrustSet::Domain(domain.id);
    let trusted = change.state.trusted(&set).map(|(one, _)| RowKey::Trusted((set.clone(), one)));
    let parts = change.state.crl_parts(&set);
    let parts = parts.map(|(list, number, _)| RowKey::CrlPart((set.clone(), list, number)));
    let crls = change.state.crl_keys(&set);
    let rows: Vec<RowKey> = trusted.chain(crls).chain(parts).collect();
    rows.iter().try_for_each(|key| change.remove(key))
}

fn set_of(
    change: &Changing<'_>,
    owner: Option<&DomainName>,
) -> Result<(TrustSet, Option<Domain>), Rejection> {
    let domain = owner.map(|name| change.domain(name)).transpose()?;
    let set = domain.as_ref().map_or(TrustSet::System, |domain| TrustSet::Domain(domain.id));
    Ok((set, domain))
}

/// Makes a version of the domain that owns the set, although its own row has the same content: its
/// version says when what it trusts has changed.
fn done(
    change: &mut Changing<'_>,
    domain: Option<Domain>,
    is_changed: bool,
) -> Result<Done, Rejection> {
    match domain {
        Some(domain) if is_changed || !change.skips_same() => change.put_version(domain),
        Some(domain) => Ok(Done::Domain { name: domain.name, version: domain.version }),
        None => Ok(Done::Changed),
    }
}
