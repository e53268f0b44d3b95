//! Opened session keys: the keys under which this node seals tickets and cookies.

use std::{collections::BTreeMap, sync::Arc};

use conclave_store::{
    id::{LogIndex, SessionKeyId},
    record::{RowKey, SessionKey, SessionKeyUse},
    scope::Scope,
    state::State,
    time::UnixMillis,
};

use super::{Keyring, Purpose, SealError, Secret};

/// All session keys of this node, opened. Immutable: a change makes a new set.
#[derive(Default)]
pub struct SessionKeys {
    keys: BTreeMap<(SessionKeyUse, SessionKeyId), Arc<OpenedKey>>,
}

/// A session key in plaintext.
pub struct OpenedKey {
    id: SessionKeyId,
    secret: Secret,
    active: Option<UnixMillis>,
    /// Index of the last command for this key: for an active key the one that activated it.
    changed_at: LogIndex,
    not_after: UnixMillis,
    expires: UnixMillis,
}

impl OpenedKey {
    /// Returns the public id of the key, which a ticket or cookie carries.
    pub fn id(&self) -> SessionKeyId {
        self.id
    }

    /// Makes a key, active since `active`, for tests.
    #[cfg(any(test, feature = "testing"))]
    pub fn for_test(id: u8, active: UnixMillis, not_after: UnixMillis) -> OpenedKey {
        let (id, secret) = (SessionKeyId([id; 8]), Secret::new(vec![id; 32]));
        let (changed_at, expires) = (LogIndex(active.0), not_after.plus(1));
        OpenedKey { id, secret, active: Some(active), changed_at, not_after, expires }
    }

    /// Returns the key, 32 random bytes.
    pub fn expose(&self) -> &[u8] {
        self.secret.expose()
    }
}

impl SessionKeys {
    /// Returns the key to seal with: the key that was activated last, unless `not_after` has
    /// passed. Without such a key nothing is sealed, so a node that is cut off for long stops using
    /// an old key. The order of commands decides which key is last, not their times: a clock that
    /// was ahead must not keep its key in use.
    pub fn sealing(&self, of: SessionKeyUse, now: UnixMillis) -> Option<&Arc<OpenedKey>> {
        let active = self.of(of).filter(|key| key.active.is_some());
        let last = active.max_by_key(|key| (key.changed_at, key.active))?;
        (now <= last.not_after).then_some(last)
    }

    /// Returns the key with this id, if it has not expired.
    pub fn opening(
        &self,
        of: SessionKeyUse,
        id: SessionKeyId,
        now: UnixMillis,
    ) -> Option<&Arc<OpenedKey>> {
        self.keys.get(&(of, id)).filter(|key| now <= key.expires)
    }

    /// Returns all keys, except expired ones.
    pub fn all_opening(
        &self,
        of: SessionKeyUse,
        now: UnixMillis,
    ) -> impl Iterator<Item = &Arc<OpenedKey>> {
        self.of(of).filter(move |key| now <= key.expires)
    }

    /// Makes a set of ticket keys, for tests.
    #[cfg(any(test, feature = "testing"))]
    pub fn for_test(keys: impl IntoIterator<Item = OpenedKey>) -> SessionKeys {
        let keys = keys.into_iter().map(|key| ((SessionKeyUse::Ticket, key.id), Arc::new(key)));
        SessionKeys { keys: keys.collect() }
    }

    /// Returns the keys of one use.
    fn of(&self, of: SessionKeyUse) -> impl Iterator<Item = &Arc<OpenedKey>> {
        self.keys.iter().filter(move |((found, _), _)| *found == of).map(|(_, key)| key)
    }

    /// Returns the keys of `state`. Keys that are already open are not opened again.
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
                    // A joining node receives session keys before its generations of the keyring.
                    // It retries when the generations arrive.
                    Err(error @ SealError::GenerationMissing(_)) => {
                        tracing::debug!(event = "session_key.unopened", ?of, %id, %error);
                    }
                    // Tickets under this key lead to full handshakes here, not to failures.
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
    use crate::{GenerationKey, NodeKeys, Unlock};

    fn keyring() -> Keyring {
        let dir = tempfile::tempdir().unwrap();
        let keys = NodeKeys::open(dir.path(), &Unlock::File(dir.path().join("unlock")));
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
        // The first key was activated by a node whose clock was ahead.
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
