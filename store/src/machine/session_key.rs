//! Session keys: published, then active, then gone.

use super::Changing;
use crate::{
    id::SessionKeyId,
    limits::SESSION_KEYS_MAX,
    outcome::{Done, Rejection},
    record::{Record, RowKey, SessionKey, SessionKeyUse},
    time::UnixMillis,
};

/// Adds a key that nodes open with but do not seal with. Expired keys of every use leave State,
/// and of this use the oldest where there would be too many: a session that ends early is a full
/// handshake, but a key that cannot be published would be a ticket key that never changes.
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

fn remove(
    change: &mut Changing<'_>,
    of: SessionKeyUse,
    ids: Vec<SessionKeyId>,
) -> Result<(), Rejection> {
    ids.into_iter().try_for_each(|id| change.remove(&RowKey::SessionKey((of, id))))
}

/// From now on nodes seal with the key: the one that was activated last is used, whatever the
/// clocks say.
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

/// Level 0, whose members take the key of the highest time: a time above that of every other key.
/// A clock that was ahead once made that time wrong for as long.
fn after_last(change: &Changing<'_>, of: SessionKeyUse, id: SessionKeyId) -> UnixMillis {
    let others = change.state.session_keys(of).filter(|(other, _)| *other != id);
    let last = others.filter_map(|(_, key)| key.active).max();
    last.map_or(UnixMillis(0), |last| last.plus(1))
}
