//! Rules for session keys: each is published, then activated, then removed.

use super::Changing;
use crate::{
    id::{Generation, SessionKeyId},
    limits::SESSION_KEYS_MAX,
    outcome::{Done, Rejection},
    record::{Record, RowKey, SessionKey, SessionKeyUse},
    time::UnixMillis,
};

/// Adds a key for opening, but not yet for sealing. Removes expired keys of every use, and the
/// oldest keys of this use above the bound. A key that is removed early costs full handshakes;
/// refusing the new key instead would end the rotation of keys.
pub(super) fn publish(
    change: &mut Changing<'_>,
    of: SessionKeyUse,
    id: SessionKeyId,
    key: &SessionKey,
) -> Result<Done, Rejection> {
    let now = change.command.time;
    for of in SessionKeyUse::ALL {
        let all = change.state.session_keys(of);
        let expired: Vec<_> = all.filter(|(_, key)| key.expires < now).map(|(id, _)| id).collect();
        remove(change, of, expired)?;
    }
    let all = change.state.session_keys(of).filter(|(other, _)| *other != id);
    let mut kept: Vec<_> = all.map(|(id, key)| (key.made, id)).collect();
    kept.sort_unstable();
    let too_many = (kept.len() + 1).saturating_sub(SESSION_KEYS_MAX);
    let oldest: Vec<_> = kept.into_iter().take(too_many).map(|(_, id)| id).collect();
    remove(change, of, oldest)?;
    let key = SessionKey { active: None, ..key.clone() };
    change.put(RowKey::SessionKey((of, id)), Record::SessionKey(key.into()))?;
    Ok(Done::Changed)
}

/// Removes the keys that are sealed under a generation of the keyring before `current`.
pub(super) fn remove_before(
    change: &mut Changing<'_>,
    current: Generation,
) -> Result<(), Rejection> {
    for of in SessionKeyUse::ALL {
        let all = change.state.session_keys(of);
        let old = all.filter(|(_, key)| key.sealed.generation < current);
        remove(change, of, old.map(|(id, _)| id).collect())?;
    }
    Ok(())
}

fn remove(
    change: &mut Changing<'_>,
    of: SessionKeyUse,
    ids: Vec<SessionKeyId>,
) -> Result<(), Rejection> {
    ids.into_iter().try_for_each(|id| change.remove(&RowKey::SessionKey((of, id))))
}

/// Makes nodes seal with the key. Nodes use the key that was activated last in the order of
/// commands, regardless of clocks.
pub(super) fn activate(
    change: &mut Changing<'_>,
    of: SessionKeyUse,
    id: SessionKeyId,
) -> Result<Done, Rejection> {
    let place = RowKey::SessionKey((of, id));
    let found = change.state.session_keys(of).find(|(other, _)| *other == id);
    let key = found.map(|(_, key)| key.clone()).ok_or(Rejection::SessionKeyUnknown(id))?;
    let time = change.command.time;
    let active =
        if change.state.level() == 0 { time.max(after_last(change, of, id)) } else { time };
    let key = SessionKey { active: Some(active), ..key };
    change.put(place, Record::SessionKey(key.into()))?;
    Ok(Done::Changed)
}

/// Returns a time above that of every other key. At level 0 members use the key with the highest
/// time. After a clock was ahead once, the times stay ahead until the correct time has passed them.
fn after_last(change: &Changing<'_>, of: SessionKeyUse, id: SessionKeyId) -> UnixMillis {
    let others = change.state.session_keys(of).filter(|(other, _)| *other != id);
    let last = others.filter_map(|(_, key)| key.active).max();
    last.map_or(UnixMillis(0), |last| last.plus(1))
}
