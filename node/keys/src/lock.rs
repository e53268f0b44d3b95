//! The lock of a node's own secrets: opens them at start and at run time, and seals them under
//! another unlock key.
//!
//! The secrets are under a stored unlock key (file or credential), under a passphrase, or under
//! shares. `node-keys.json` says which; `[keyring] unlock` says where a stored key lies, and how a
//! new node begins.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError, TryLockError},
    time::{Duration, Instant},
};

use zeroize::Zeroizing;

use super::{
    limits::{SHARES_KEPT, WRONG_PAUSE, WRONG_PAUSE_MAX},
    passphrase::{self, Stretch},
    seal::{GenerationKey, Secret},
    share::{ShareError, ShareSet, set_name},
    stored::{self, IdentityError, MadeBy, Stored, Unlocked},
    unlock::Unlock,
};

/// Errors of opening a node's secrets, and of sealing them anew.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The stored unlock key cannot be read, or is the key of another node.
    #[error("{0}")]
    NoKey(String),
    /// The secrets are under a passphrase, and none is given.
    #[error("this node opens with its passphrase")]
    PassphraseNeeded,
    /// The new node has no passphrase yet.
    #[error("this node has no passphrase yet")]
    PassphraseUnset,
    /// The secrets are under shares, and too few are given.
    #[error("this node opens with shares: {given} of {needed} are given")]
    SharesNeeded {
        /// Number of given shares.
        given: usize,
        /// Number of shares that open.
        needed: u8,
    },
    /// A passphrase or a share is given, and the secrets are under something else.
    #[error("this node does not open with {given}: it opens with {expected}")]
    OtherMeans {
        /// What was given.
        given: &'static str,
        /// What opens.
        expected: &'static str,
    },
    /// The passphrase is wrong.
    #[error("the passphrase is wrong")]
    PassphraseWrong,
    /// The new passphrase is too short or too long.
    #[error("{0}")]
    PassphraseWeak(String),
    /// Another attempt runs, or the last wrong one was just now.
    #[error("another attempt was just made: wait {} s", .0.as_secs().max(1))]
    Busy(Duration),
    /// The share cannot be used.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// The given shares do not give the unlock key, though each is whole.
    #[error("these shares do not give the key of this node; all are forgotten")]
    SharesWrong,
    /// The numbers of shares make no sense.
    #[error("{needed} of {count} shares: at least 2 must be needed, and at most 16 made")]
    SharesNumbers {
        /// Number of shares that open.
        needed: u8,
        /// Number of shares.
        count: u8,
    },
    /// The stored key that `[keyring] unlock` names cannot be used for a new seal.
    #[error("{0}")]
    NotUsable(String),
    /// The secrets are under this stored key already.
    #[error("this node opens with {0} already")]
    AlreadyStored(String),
    /// A file cannot be read or written.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// What a caller gives to unseal a node.
pub enum Given {
    /// Nothing: the stored unlock key is read again.
    Nothing,
    /// The passphrase; for a new node the one that is set by this.
    Passphrase(Secret),
    /// The text of a share.
    Share(Zeroizing<String>),
}

/// What the secrets are sealed under from now on.
pub enum NewKey {
    /// The stored key that `[keyring] unlock` names.
    Stored,
    /// A passphrase.
    Passphrase(Secret),
    /// A new random key, which is split into shares.
    Shares {
        /// Number of shares that open.
        needed: u8,
        /// Number of shares.
        count: u8,
    },
}

/// How a node opens its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockStatus {
    /// `file`, `credential`, `passphrase` or `shares`; `none`: with a stored key, and `[keyring]
    /// unlock` names none.
    pub how: &'static str,
    /// Place of the stored key.
    pub place: Option<String>,
    /// Whether the passphrase of a new node is still to be set.
    pub is_unset: bool,
    /// The set of shares.
    pub shares: Option<SharesStatus>,
}

/// The shares of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharesStatus {
    /// Id of the set.
    pub set: String,
    /// Number of shares that open.
    pub needed: u8,
    /// Number of shares.
    pub count: u8,
    /// Numbers of the given shares.
    pub given: Vec<u8>,
}

/// The lock of a node's secrets.
pub struct Lock {
    path: PathBuf,
    unlock: Unlock,
    inner: Mutex<Inner>,
    /// Held by an attempt that computes with a passphrase, and by a change of the unlock key. One
    /// at a time: Argon2 takes memory and a core.
    attempt: Mutex<()>,
}

struct Inner {
    stored: Stored,
    /// Secrets of a new node, which wait for the passphrase.
    unset: Option<Unlocked>,
    shares: BTreeMap<u8, Secret>,
    shares_end: Option<Instant>,
    wrong: u32,
    /// End of the pause after a wrong passphrase.
    pause_end: Option<Instant>,
}

impl Lock {
    /// Makes the lock of a node that has keys.
    pub(crate) fn of(path: PathBuf, unlock: Unlock, stored: Stored) -> Lock {
        Lock { path, unlock, inner: Mutex::new(Inner::of(stored)), attempt: Mutex::default() }
    }

    /// Makes the lock of a new node, and seals its secrets unless they wait for a passphrase.
    /// Returns them, or why the node is sealed.
    pub(crate) fn make(
        path: PathBuf,
        unlock: Unlock,
        stored: Stored,
        secrets: Unlocked,
    ) -> Result<(Lock, Result<Unlocked, String>), IdentityError> {
        if unlock == Unlock::Passphrase {
            let lock = Lock::of(path, unlock, stored);
            lock.lock().unset = Some(secrets);
            return Ok((lock, Err(LockError::PassphraseUnset.to_string())));
        }
        let key = unlock.read_or_make().map_err(|error| {
            let text = format!("{unlock}: {error}");
            IdentityError::Unlock(io::Error::new(error.kind(), text))
        })?;
        let mut stored = stored.seal_under(&key, None, &secrets)?;
        stored.write(&path)?;
        Ok((Lock::of(path, unlock, stored), Ok(secrets)))
    }

    /// Returns how the node opens its secrets.
    pub fn status(&self) -> LockStatus {
        let mut inner = self.lock();
        inner.forget_old_shares();
        let (how, place) = match (&inner.stored.made_by, &self.unlock) {
            (Some(MadeBy::Passphrase(_)), _) => ("passphrase", None),
            (Some(MadeBy::Shares(_)), _) => ("shares", None),
            (None, Unlock::Passphrase) if inner.unset.is_some() => ("passphrase", None),
            (None, Unlock::Passphrase) => ("none", None),
            (None, Unlock::File(path)) => ("file", Some(path.display().to_string())),
            (None, Unlock::Credential(name)) => ("credential", Some(name.clone())),
        };
        let shares = inner.shares().map(|set| SharesStatus {
            set: set_name(set.id),
            needed: set.needed,
            count: set.count,
            given: inner.shares.keys().copied().collect(),
        });
        LockStatus { how, place, is_unset: inner.unset.is_some(), shares }
    }

    /// Returns what is wrong with the rights on the unlock key, if the secrets are under a stored
    /// one.
    pub fn exposure(&self) -> Option<String> {
        self.lock().stored.made_by.is_none().then(|| self.unlock.exposure()).flatten()
    }

    /// Returns whether a person must give something after each start.
    pub fn is_manual(&self) -> bool {
        let inner = self.lock();
        inner.stored.made_by.is_some() || self.unlock == Unlock::Passphrase
    }

    /// Forgets the given shares if the last one is old. Must be called now and then.
    pub fn forget_old_shares(&self) {
        self.lock().forget_old_shares();
    }

    /// Opens the secrets with the stored unlock key. The error says why the node is sealed.
    pub(crate) fn open_stored(&self) -> Result<Unlocked, LockError> {
        let mut inner = self.lock();
        inner.forget_old_shares();
        match &inner.stored.made_by {
            Some(MadeBy::Passphrase(_)) => return Err(LockError::PassphraseNeeded),
            Some(MadeBy::Shares(set)) => {
                let (given, needed) = (inner.shares.len(), set.needed);
                return Err(LockError::SharesNeeded { given, needed });
            }
            None if inner.unset.is_some() => return Err(LockError::PassphraseUnset),
            None => {}
        }
        let (unlock, no_key) = (&self.unlock, |text: String| Err(LockError::NoKey(text)));
        match unlock.read() {
            Err(_) if *unlock == Unlock::Passphrase => {
                no_key("[keyring] unlock names no key, and this node has no passphrase".to_owned())
            }
            Ok(Some(key)) => inner
                .stored
                .unlock(&key)
                .ok_or_else(|| LockError::NoKey(format!("{unlock} is the key of another node"))),
            Ok(None) => no_key(format!("{unlock} does not exist")),
            Err(error) => no_key(format!("cannot read {unlock}: {error}")),
        }
    }

    /// Opens the secrets with what a caller gives. [`LockError::SharesNeeded`] is the progress of
    /// shares. Blocks for the time of Argon2.
    pub fn open(&self, given: Given) -> Result<Unlocked, LockError> {
        match given {
            Given::Nothing => self.open_stored(),
            Given::Passphrase(passphrase) => self.open_passphrase(&passphrase),
            Given::Share(text) => self.open_share(&text),
        }
    }

    fn open_passphrase(&self, passphrase: &Secret) -> Result<Unlocked, LockError> {
        let _one = self.attempt()?;
        let (stretch, (binding, sealed)) = {
            let mut inner = self.lock();
            if inner.unset.is_some() {
                return self.set_passphrase(&mut inner, passphrase);
            }
            let Some(MadeBy::Passphrase(stretch)) = &inner.stored.made_by else {
                return Err(inner.other_means("a passphrase"));
            };
            inner.check_pause()?;
            (stretch.clone(), inner.stored.sealed())
        };
        let unlocked =
            stretch.key(passphrase).and_then(|key| stored::open(&key, &binding, &sealed));
        let mut inner = self.lock();
        inner.count_attempt(unlocked.is_some());
        unlocked.ok_or(LockError::PassphraseWrong)
    }

    /// Seals the secrets of a new node under its first passphrase.
    fn set_passphrase(&self, inner: &mut Inner, given: &Secret) -> Result<Unlocked, LockError> {
        let (key, made_by) = stretched(given)?;
        let secrets = inner.unset.as_ref().ok_or(LockError::PassphraseNeeded)?;
        let mut stored = inner.stored.seal_under(&key, Some(made_by), secrets)?;
        stored.write(&self.path)?;
        inner.stored = stored;
        inner.unset.take().ok_or(LockError::PassphraseNeeded)
    }

    fn open_share(&self, text: &str) -> Result<Unlocked, LockError> {
        let mut inner = self.lock();
        inner.forget_old_shares();
        let Some(set) = inner.shares().cloned() else { return Err(inner.other_means("a share")) };
        let (number, value) = set.read(inner.stored.share_mark(), text)?;
        inner.shares.insert(number, value);
        inner.shares_end = Some(Instant::now() + SHARES_KEPT);
        let Some(key) = set.combine(&inner.shares) else {
            let given = inner.shares.len();
            return Err(LockError::SharesNeeded { given, needed: set.needed });
        };
        inner.forget_shares();
        inner.stored.unlock(&key).ok_or(LockError::SharesWrong)
    }

    /// Seals the secrets under another unlock key. Returns the texts of the shares, if it is split.
    pub fn rekey(
        &self,
        unlocked: &Unlocked,
        new: NewKey,
    ) -> Result<Vec<Zeroizing<String>>, LockError> {
        let _one = self.attempt()?;
        let (key, made_by) = match new {
            NewKey::Stored => {
                if self.lock().stored.made_by.is_none() {
                    return Err(LockError::AlreadyStored(self.unlock.to_string()));
                }
                let key = self.unlock.read_or_make();
                (key.map_err(|error| LockError::NotUsable(error.to_string()))?, None)
            }
            NewKey::Passphrase(passphrase) => {
                let (key, made_by) = stretched(&passphrase)?;
                (key, Some(made_by))
            }
            NewKey::Shares { needed, count } => {
                let set = ShareSet::make(needed, count);
                let set = set.ok_or(LockError::SharesNumbers { needed, count })?;
                (GenerationKey::make(), Some(MadeBy::Shares(set)))
            }
        };
        let mut inner = self.lock();
        let mut stored = inner.stored.seal_under(&key, made_by, unlocked)?;
        stored.write(&self.path)?;
        inner.stored = stored;
        inner.forget_shares();
        (inner.wrong, inner.pause_end) = (0, None);
        let mark = inner.stored.share_mark();
        Ok(inner.shares().map(|set| set.split(mark, &key)).unwrap_or_default())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves the one attempt.
    fn attempt(&self) -> Result<MutexGuard<'_, ()>, LockError> {
        match self.attempt.try_lock() {
            Ok(guard) => Ok(guard),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => Err(LockError::Busy(WRONG_PAUSE)),
        }
    }
}

/// Makes an unlock key of a new passphrase.
fn stretched(passphrase: &Secret) -> Result<(GenerationKey, MadeBy), LockError> {
    if let Some(text) = passphrase::weakness(passphrase) {
        return Err(LockError::PassphraseWeak(text));
    }
    let stretch = Stretch::make();
    let unmade = || IdentityError::Make("Argon2 has no such parameters".to_owned());
    let key = stretch.key(passphrase).ok_or_else(unmade)?;
    Ok((key, MadeBy::Passphrase(stretch)))
}

impl Inner {
    fn of(stored: Stored) -> Inner {
        let (shares, shares_end, pause_end) = (BTreeMap::new(), None, None);
        Inner { stored, unset: None, shares, shares_end, wrong: 0, pause_end }
    }

    fn shares(&self) -> Option<&ShareSet> {
        match &self.stored.made_by {
            Some(MadeBy::Shares(set)) => Some(set),
            _ => None,
        }
    }

    fn other_means(&self, given: &'static str) -> LockError {
        let expected = match &self.stored.made_by {
            Some(MadeBy::Passphrase(_)) => "a passphrase",
            Some(MadeBy::Shares(_)) => "shares",
            None if self.unset.is_some() => "a passphrase",
            None => "its stored unlock key",
        };
        LockError::OtherMeans { given, expected }
    }

    fn forget_old_shares(&mut self) {
        if self.shares_end.is_some_and(|end| end <= Instant::now()) {
            self.forget_shares();
        }
    }

    fn forget_shares(&mut self) {
        self.shares.clear();
        self.shares_end = None;
    }

    fn check_pause(&self) -> Result<(), LockError> {
        let left = self.pause_end.map(|end| end.saturating_duration_since(Instant::now()));
        match left.filter(|left| !left.is_zero()) {
            Some(left) => Err(LockError::Busy(left)),
            None => Ok(()),
        }
    }

    fn count_attempt(&mut self, is_right: bool) {
        if is_right {
            (self.wrong, self.pause_end) = (0, None);
            return;
        }
        let pause = WRONG_PAUSE.saturating_mul(1 << self.wrong.min(16)).min(WRONG_PAUSE_MAX);
        self.wrong = self.wrong.saturating_add(1);
        self.pause_end = Some(Instant::now() + pause);
    }
}

#[cfg(test)]
mod tests;
