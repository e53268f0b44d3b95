//! The node's own keys: its transport identity and its sealing key.
//!
//! The identity key is stored unencrypted, because a node without its unlock key must still vote
//! and replicate. The sealing key is encrypted under the unlock key, so that a stolen data
//! directory opens no secret.

use std::path::Path;

use conclave_pki::key::PrivateKey;
use conclave_store::id::ClusterId;

use super::{
    lock::{Lock, LockError},
    stored::{FILE, IdentityError, Stored, Unlocked, file_error},
    unlock::Unlock,
};

/// The keys of this node.
pub struct NodeKeys {
    /// Transport identity.
    pub identity: PrivateKey,
    /// Public half of the sealing key.
    pub sealing_public: [u8; 32],
    /// The secrets under the unlock key, or the reason why the node is sealed.
    pub unlocked: Result<Unlocked, String>,
    /// Random id of this node's local scope. Local secrets are bound to it.
    pub local_scope: ClusterId,
    /// Opens the secrets later, and seals them under another unlock key.
    pub lock: Lock,
}

impl NodeKeys {
    /// Reads the keys of this node. For a new node, makes the keys and the unlock key. The keys of
    /// a new node that is to open with a passphrase are written when the passphrase is set.
    pub fn open(data_dir: &Path, unlock: &Unlock) -> Result<NodeKeys, IdentityError> {
        let path = data_dir.join(FILE);
        let found = Stored::read(&path)?;
        let (stored, made) = match found {
            Some(stored) => (stored, None),
            None => {
                let (stored, unlocked) = Stored::make()?;
                (stored, Some(unlocked))
            }
        };
        let identity = stored.identity(&path)?;
        let sealing_public = stored.sealing_public;
        let local_scope = ClusterId(stored.local_scope);
        let (lock, unlocked) = match made {
            None => {
                let lock = Lock::of(path, unlock.clone(), stored);
                let unlocked = lock.open_stored().map_err(|error| error.to_string());
                (lock, unlocked)
            }
            Some(secrets) => Lock::make(path, unlock.clone(), stored, secrets)?,
        };
        Ok(NodeKeys { identity, sealing_public, unlocked, local_scope, lock })
    }

    /// Checks without making anything whether [`NodeKeys::open`] will find or make the keys.
    pub fn check(data_dir: &Path, unlock: &Unlock) -> Result<(), IdentityError> {
        match Stored::look(&data_dir.join(FILE))? {
            Some(_) => Ok(()),
            None => unlock
                .check()
                .map_err(|source| file_error(&unlock.path().unwrap_or_default(), source)),
        }
    }

    /// Returns why a node that has keys would be sealed after a start; `None`: it would not, or it
    /// has no keys yet. Changes nothing.
    pub fn obstacle(data_dir: &Path, unlock: &Unlock) -> Result<Option<LockError>, IdentityError> {
        let path = data_dir.join(FILE);
        let stored = Stored::look(&path)?;
        Ok(stored.and_then(|stored| Lock::of(path, unlock.clone(), stored).open_stored().err()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_its_unlock_key_a_node_is_sealed_but_known() {
        let dir = tempfile::tempdir().unwrap();
        let unlock_file = dir.path().join("unlock");
        let unlock = Unlock::File(unlock_file.clone());
        let data = dir.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let made = NodeKeys::open(&data, &unlock).unwrap();
        let again = NodeKeys::open(&data, &unlock).unwrap();
        assert_eq!(again.unlocked.ok().unwrap().sealing.public(), made.sealing_public);
        std::fs::rename(&unlock_file, dir.path().join("elsewhere")).unwrap();
        let sealed = NodeKeys::open(&data, &unlock).unwrap();
        assert!(sealed.unlocked.is_err());
        let obstacle = NodeKeys::obstacle(&data, &unlock).unwrap();
        assert!(matches!(obstacle, Some(LockError::NoKey(_))) && !unlock_file.exists());
        assert!(NodeKeys::obstacle(dir.path(), &unlock).unwrap().is_none(), "a new node");
        assert_eq!(sealed.identity.public_key_der(), made.identity.public_key_der());
        unlock.read_or_make().unwrap();
        assert!(NodeKeys::open(&data, &unlock).unwrap().unlocked.is_err(), "another key");
    }

    #[test]
    fn no_flipped_bit_gives_other_keys_and_keys_of_the_first_release_get_their_checksum() {
        let dir = tempfile::tempdir().unwrap();
        let (file, unlock) = (dir.path().join(FILE), Unlock::File(dir.path().join("unlock")));
        let made = NodeKeys::open(dir.path(), &unlock).unwrap();
        let whole = std::fs::read(&file).unwrap();
        let bytes_of = |stored: &Stored| serde_json::to_vec(stored).unwrap();
        let told = bytes_of(&Stored::parse(&whole).unwrap());
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Some(read) = Stored::parse(&flipped) {
                assert_eq!(bytes_of(&read), told, "bit {bit}");
            }
        }
        let mut old: serde_json::Value = serde_json::from_slice(&whole).unwrap();
        old.as_object_mut().unwrap().remove("checksum").unwrap();
        std::fs::write(&file, old.to_string()).unwrap();
        assert!(NodeKeys::open(dir.path(), &unlock).is_err(), "format 2 has a checksum");
        old["format"] = 1.into();
        std::fs::write(&file, old.to_string()).unwrap();
        let read = NodeKeys::open(dir.path(), &unlock).unwrap();
        assert_eq!(read.local_scope, made.local_scope);
        assert_eq!(std::fs::read(&file).unwrap(), whole);
    }
}
