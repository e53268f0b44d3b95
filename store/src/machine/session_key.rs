//! Session keys: published, then active, then gone.

use super::{Changing, check_count};
use crate::{
    id::SessionKeyId,
    limits::SESSION_KEYS_MAX,
    outcome::{Done, Rejection},
    record::{Record, RowKey, SessionKey, SessionKeyUse},
};

/// Adds a key that nodes open with but do not seal with; expired ones leave State.
pub(super) fn publish(
    change: &mut Changing<'_>,
    of: SessionKeyUse,
    id: SessionKeyId,
    key: &SessionKey,
) -> Result<Done, Rejection> {
    let now = change.command.time;
    let all = change.state.session_keys(of);
    let expired: Vec<_> = all.filter(|(_, key)| key.expires < now).map(|(id, _)| id).collect();
    for id in expired {
        change.remove(&RowKey::SessionKey((of, id)))?;
    }
    let key = SessionKey { active: None, ..key.clone() };
    change.put(RowKey::SessionKey((of, id)), Record::SessionKey(key))?;
    check_count("session keys", change.state.session_keys(of).count(), SESSION_KEYS_MAX)?;
    Ok(Done::Changed)
}

/// From now on nodes seal with the key; the one that was activated last is used.
pub(super) fn activate(
    change: &mut Changing<'_>,
    of: SessionKeyUse,
    id: SessionKeyId,
) -> Result<Done, Rejection> {
    let place = RowKey::SessionKey((of, id));
    let found = change.state.session_keys(of).find(|(other, _)| *other == id);
    let key = found.map(|(_, key)| key.clone()).ok_or(Rejection::SessionKeyUnknown(id))?;
    let key = SessionKey { active: Some(change.command.time), ..key };
    change.put(place, Record::SessionKey(key))?;
    Ok(Done::Changed)
}
