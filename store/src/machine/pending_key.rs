//! Rules for keys that wait for their certificates.
//!
//! A pending key has a row of its own, so that it takes no part in what is served, in the versions
//! of its domain, or in a rollback. The row is bound to the id of the domain: a rename keeps it.

use super::Changing;
use crate::{
    id::{DomainId, DomainName, Fingerprint},
    outcome::{Done, Rejection},
    record::{DomainKey, KeyFamily, Record, RowKey},
};

/// Adds a pending key. One that waits already is never replaced as a side effect: its signing
/// request may be with an authority.
pub(super) fn set(
    change: &mut Changing<'_>,
    name: &DomainName,
    key: &DomainKey,
) -> Result<Done, Rejection> {
    let domain = change.domain(name)?;
    let row = RowKey::PendingKey((domain.id, key.family));
    if change.state.row(&row).is_some() {
        return Err(Rejection::KeyExists { name: domain.name, family: key.family });
    }
    change.put(row, Record::PendingKey(key.clone().into()))?;
    Ok(Done::Domain { name: domain.name, version: domain.version })
}

/// Removes a pending key.
pub(super) fn remove(
    change: &mut Changing<'_>,
    name: &DomainName,
    family: KeyFamily,
) -> Result<Done, Rejection> {
    let domain = change.domain(name)?;
    let row = RowKey::PendingKey((domain.id, family));
    if change.state.row(&row).is_none() {
        return Err(Rejection::KeyMissing(domain.name));
    }
    change.remove(&row)?;
    Ok(Done::Domain { name: domain.name, version: domain.version })
}

/// Removes the pending key that has become the domain's key by this change.
pub(super) fn take(
    change: &mut Changing<'_>,
    id: DomainId,
    certified: Fingerprint,
) -> Result<(), Rejection> {
    let found = change.state.pending_keys(id).find(|key| key.public_key == certified);
    match found.map(|key| RowKey::PendingKey((id, key.family))) {
        Some(row) => change.remove(&row),
        None => Ok(()),
    }
}

/// Removes all pending keys of a deleted domain.
pub(super) fn clear(change: &mut Changing<'_>, id: DomainId) -> Result<(), Rejection> {
    let rows = change.state.pending_keys(id).map(|key| RowKey::PendingKey((id, key.family)));
    let rows: Vec<RowKey> = rows.collect();
    rows.iter().try_for_each(|row| change.remove(row))
}
