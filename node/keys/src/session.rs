//! Session keys as this node has them open: what tickets and cookies are sealed with.

use std::{collections::BTreeMap, sync::Arc};

use conclave_store::{
    id::{LogIndex, SessionKeyId},
    record::{RowKey, SessionKey, SessionKeyUse},
    scope::Scope,
    state::State,
    time::UnixMillis,
};

use super::{Keyring, Purpose, SealError, Secret};

/// All session keys that open on this node; never changes, a newer one takes its place.
#[derive(Default)]
pub struct SessionKeys {
    keys: BTreeMap<(SessionKeyUse, SessionKeyId), Arc<OpenedKey>>,
}

/// A session key in the clear.
pub struct OpenedKey {
    id: SessionKeyId,
    secret: Secret,
    active: Option<UnixMillis>,
    /// Command that changed it last; of an active key the one that activated it.
    changed_at: LogIndex,
    not_after: UnixMillis,
    expires: UnixMillis,
}

impl OpenedKey {
    /// Its public name, for the ticket or cookie.
    pub fn id(&self) -> SessionKeyId {
        self.id
    }

    /// A key that is active since then, for tests of what is sealed with it.
    #[cfg(any(test, feature = "testing"))]
    pub fn for_test(id: u8, active: UnixMillis, not_after: UnixMillis) -> OpenedKey {
        let (id, secret) = (SessionKeyId([id; 8]), Secret::new(vec![id; 32]));
        let (changed_at, expires) = (LogIndex(active.0), not_after.plus(1));
        OpenedKey { id, secret, active: Some(active), changed_at, not_after, expires }
    }

    /// The key, 32 random bytes.
    pub fn expose(&self) -> &[u8] {
        self.secret.expose()
    }
}

impl SessionKeys {
    /// The key to seal with now: the one activated last, if its time is not over. Without one
    /// nothing is sealed: a node cut off for long must not go on with an old key. What is last is
    /// told by the order of commands: a clock that was ahead must not keep its key in use.
    pub fn sealing(&self, of: SessionKeyUse, now: UnixMillis) -> Option<&Arc<OpenedKey>> {
        let active = self.of(of).filter(|key| key.active.is_some());
        let last = active.max_by_key(|key| (key.changed_at, key.active))?;
        (now <= last.not_after).then_some(last)
    }

    /// The key of that name, if it may still open something.
    pub fn opening(
        &self,
        of: SessionKeyUse,
        id: SessionKeyId,
        now: UnixMillis,
    ) -> Option<&Arc<OpenedKey>> {
        self.keys.get(&(of, id)).filter(|key| now <= key.expires)
    }

    /// All keys that may still open something.
    pub fn all_opening(
        &self,
        of: SessionKeyUse,
        now: UnixMillis,
    ) -> impl Iterator<Item = &Arc<OpenedKey>> {
        self.of(of).filter(move |key| now <= key.expires)
    }

    /// These keys for tickets.
    #[cfg(any(test, feature = "testing"))]
    pub fn for_test(keys: impl IntoIterator<Item = OpenedKey>) -> SessionKeys {
        let keys = keys.into_iter().map(|key| ((SessionKeyUse::Ticket, key.id), Arc::new(key)));
        SessionKeys { keys: keys.collect() }
    }

    /// Keys of one use.
    fn of(&self, of: SessionKeyUse) -> impl Iterator<Item = &Arc<OpenedKey>> {
        self.keys.iter().filter(move |((found, _), _)| *found == of).map(|(_, key)| key)
    }

    /// The keys of `state`; those that are open already are not opened again.
    pub fn followed(&self, state: &State, keyring: &Keyring) -> SessionKeys {
        let mut keys = BTreeMap::new();
        for of in SessionKeyUse::ALL {
            for (id, key) in state.session_keys(of) {
                let known = self.keys.get(&(of, id));
                let row = state.row(&RowKey::SessionKey((of, id)));
                let changed_at = row.map(|row| row.changed_at).unwrap_or_default();
                match opened(known, keyring, of, id, key, changed_at) {
                    Ok(opened) => {
                        keys.insert((of, id), opened);
                    }
                    // A node that joins hears of keys before its part of the keyring; they are
                    // tried again with that.
                    Err(error @ SealError::GenerationMissing(_)) => {
                        tracing::debug!(event = "session_key.unopened", ?of, %id, %error);
                    }
                    // Sessions of this key are full handshakes here, no failures.
                    Err(error) => {
                        tracing::warn!(event = "session_key.unopened", ?of, %id, %error);
                    }
                }
            }
        }
        SessionKeys { keys }
    }
}

fn opened(
    known: Option<&Arc<OpenedKey>>,
    keyring: &Keyring,
    of: SessionKeyUse,
    id: SessionKeyId,
    key: &SessionKey,
    changed_at: LogIndex,
) -> Result<Arc<OpenedKey>, SealError> {
    let secret = match known {
        Some(known) if known.changed_at == changed_at && known.expires == key.expires => {
            return Ok(Arc::clone(known));
        }
        Some(known) => known.secret.clone(),
        None => keyring.open(Scope::Shared, Purpose::SessionKey(of, id), &key.sealed)?,
    };
    let (active, not_after, expires) = (key.active, key.not_after, key.expires);
    Ok(Arc::new(OpenedKey { id, secret, active, changed_at, not_after, expires }))
}

#[cfg(test)]
mod tests {
    use conclave_store::id::{ClusterId, Generation};

    use super::*;
    use crate::{GenerationKey, NodeKeys};

    fn keyring() -> Keyring {
        let dir = tempfile::tempdir().unwrap();
        let keys = NodeKeys::open(dir.path(), &dir.path().join("unlock"));
        let keyring = Keyring::new(keys.unwrap().unlocked, ClusterId([1; 16]));
        keyring.found(ClusterId([2; 16]), Generation(1), GenerationKey::make());
        keyring
    }

    fn key(keyring: &Keyring, of: SessionKeyUse, id: u8, active: Option<u64>) -> SessionKey {
        let purpose = Purpose::SessionKey(of, SessionKeyId([id; 8]));
        SessionKey {
            sealed: keyring.seal(Scope::Shared, purpose, &[id; 32]).unwrap(),
            made: UnixMillis(0),
            active: active.map(UnixMillis),
            not_after: UnixMillis(100),
            expires: UnixMillis(200),
        }
    }

    fn opens(keyring: &Keyring, of: SessionKeyUse, id: u8, key: &SessionKey) -> Option<OpenedKey> {
        let changed_at = LogIndex(u64::from(id));
        Arc::into_inner(opened(None, keyring, of, SessionKeyId([id; 8]), key, changed_at).ok()?)
    }

    #[test]
    fn the_key_activated_last_seals_until_its_time_is_over_and_opens_longer() {
        let (keyring, of) = (keyring(), SessionKeyUse::Ticket);
        let mut keys = SessionKeys::default();
        // The first one was activated by a clock that was ahead.
        for (id, active) in [(1, Some(u64::MAX)), (2, Some(20)), (3, None)] {
            let opened = opens(&keyring, of, id, &key(&keyring, of, id, active)).unwrap();
            keys.keys.insert((of, SessionKeyId([id; 8])), Arc::new(opened));
        }
        let sealing = |at| Some(keys.sealing(of, UnixMillis(at))?.id());
        assert_eq!(sealing(100), Some(SessionKeyId([2; 8])));
        assert_eq!(sealing(101), None, "no node seals past it");
        let opening = |id, at| keys.opening(of, SessionKeyId([id; 8]), UnixMillis(at));
        assert_eq!(opening(3, 200).unwrap().expose(), [3; 32], "before it is active too");
        assert!(opening(1, 201).is_none() && opening(4, 1).is_none());
        assert!(keys.sealing(SessionKeyUse::Cookie, UnixMillis(1)).is_none());
    }

    #[test]
    fn a_session_key_opens_only_under_its_use_and_name() {
        let keyring = keyring();
        let ticket = key(&keyring, SessionKeyUse::Ticket, 1, None);
        assert!(opens(&keyring, SessionKeyUse::Ticket, 1, &ticket).is_some());
        assert!(opens(&keyring, SessionKeyUse::Cookie, 1, &ticket).is_none());
        assert!(opens(&keyring, SessionKeyUse::Ticket, 2, &ticket).is_none());
    }
}
