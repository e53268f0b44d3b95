//! Rules for revocations of certificates that domains have issued.

use super::{Changing, too_many};
use crate::{
    id::{DomainId, SerialNumber},
    limits::REVOCATIONS_MAX,
    outcome::Rejection,
    record::{Record, Revocation, RowKey},
};

/// Adds a revocation. At the bound, the revocations of expired certificates leave (RFC 5280 §3.3).
pub(super) fn add(
    change: &mut Changing<'_>,
    id: DomainId,
    serial: SerialNumber,
    revocation: Revocation,
) -> Result<(), Rejection> {
    let mut list = change.state.revocation_list(id);
    if list.count >= REVOCATIONS_MAX {
        list.count -= drop_expired(change, id)?;
    }
    if list.count >= REVOCATIONS_MAX {
        let max = usize::try_from(REVOCATIONS_MAX).unwrap_or(usize::MAX);
        return Err(too_many("revoked certificates of a domain", max));
    }
    list.count += 1;
    list.changes = list.changes.saturating_add(1);
    list.changed = revocation.time;
    change.put(RowKey::Revocation((id, serial)), Record::Revocation(revocation))?;
    change.put(RowKey::RevocationList(id), Record::RevocationList(list))
}

/// Removes the revocations of expired certificates, and returns their number.
fn drop_expired(change: &mut Changing<'_>, id: DomainId) -> Result<u32, Rejection> {
    let now = change.command.time;
    let expired = change.state.revocations(id).filter(|(_, one)| one.not_after < now);
    let expired: Vec<SerialNumber> = expired.map(|(serial, _)| serial).collect();
    for serial in &expired {
        change.remove(&RowKey::Revocation((id, *serial)))?;
    }
    Ok(u32::try_from(expired.len()).unwrap_or(u32::MAX))
}

/// Removes the revocations of a deleted domain, at most [`REVOCATIONS_MAX`]: there is no longer a
/// key that could sign a list of them.
pub(super) fn clear(change: &mut Changing<'_>, id: DomainId) -> Result<(), Rejection> {
    let serials: Vec<SerialNumber> = change.state.revocations(id).map(|(one, _)| one).collect();
    for serial in serials {
        change.remove(&RowKey::Revocation((id, serial)))?;
    }
    change.remove(&RowKey::RevocationList(id))
}
