//! The keys of a node itself: its transport identity and its sealing key.
//!
//! The identity is not under the unlock key: a sealed node still votes and replicates. The
//! sealing key is, so that a stolen data directory opens nothing.

use std::{io, path::Path};

use conclave_pki::key::{KeyAlgorithm, PrivateKey};
use conclave_store::{
    id::{ClusterId, Generation},
    record::Sealed,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::{
    seal::{Binding, GenerationKey, Purpose, Secret},
    unlock,
    wrap::SealingKey,
};
use crate::{entropy, files};

const FILE: &str = "node-keys.json";
const FORMAT: u32 = 1;

/// Why a node's own keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum IdentityError {
    /// A file cannot be read or written.
    #[error("cannot use {path}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file of keys is damaged or of an unknown format.
    #[error("{path} is damaged, or of a format that this program does not know")]
    Damaged {
        /// Which file.
        path: String,
    },
    /// A key cannot be made.
    #[error("cannot make the key of this node: {0}")]
    Make(String),
}

/// Keys of this node.
pub(crate) struct NodeKeys {
    /// Transport identity.
    pub(crate) identity: PrivateKey,
    /// Public half of the sealing key.
    pub(crate) sealing_public: [u8; 32],
    /// What the unlock key opens; else why the node is sealed.
    pub(crate) unlocked: Result<Unlocked, String>,
    /// Random id of this node's local scope.
    pub(crate) local_scope: ClusterId,
}

/// The secrets of an unsealed node.
pub(crate) struct Unlocked {
    /// Opens generations of the keyring.
    pub(crate) sealing: SealingKey,
    /// Seals the secrets of this node's local scope.
    pub(crate) local: GenerationKey,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    identity_pkcs8: Vec<u8>,
    sealing_public: [u8; 32],
    /// Sealing key and local key, 32 bytes each.
    secrets: Sealed,
    local_scope: [u8; 16],
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.identity_pkcs8.zeroize();
    }
}

impl NodeKeys {
    /// Reads the keys of this node, or makes them, and the unlock key, for a new one.
    pub(crate) fn open(data_dir: &Path, unlock_file: &Path) -> Result<NodeKeys, IdentityError> {
        let path = data_dir.join(FILE);
        match std::fs::read(&path) {
            Ok(mut bytes) => {
                let stored = serde_json::from_slice::<Stored>(&bytes);
                bytes.zeroize();
                let stored = stored.ok().filter(|stored| stored.format == FORMAT);
                stored.ok_or_else(|| damaged(&path))?.open(&path, unlock_file)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(&path, unlock_file),
            Err(source) => Err(IdentityError::File { path: path.display().to_string(), source }),
        }
    }
}

impl Stored {
    fn open(&self, path: &Path, unlock_file: &Path) -> Result<NodeKeys, IdentityError> {
        let identity =
            PrivateKey::from_pkcs8_der(&self.identity_pkcs8).map_err(|_| damaged(path))?;
        let unlocked = match unlock::read(unlock_file) {
            Ok(Some(key)) => open_secrets(&key, self)
                .ok_or_else(|| format!("{} is the key of another node", unlock_file.display())),
            Ok(None) => Err(format!("{} does not exist", unlock_file.display())),
            Err(error) => Err(format!("cannot read {}: {error}", unlock_file.display())),
        };
        let local_scope = ClusterId(self.local_scope);
        Ok(NodeKeys { identity, sealing_public: self.sealing_public, unlocked, local_scope })
    }
}

fn open_secrets(unlock: &GenerationKey, stored: &Stored) -> Option<Unlocked> {
    let secret = unlock.open(&binding(stored.local_scope), &stored.secrets).ok()?;
    let (sealing, local) = secret.expose().split_at_checked(32)?;
    let local = GenerationKey::from_bytes(local.try_into().ok()?);
    Some(Unlocked { sealing: SealingKey::from_bytes(sealing)?, local })
}

fn make(path: &Path, unlock_file: &Path) -> Result<NodeKeys, IdentityError> {
    let identity = PrivateKey::generate(KeyAlgorithm::EcP256, &mut entropy::fill)
        .map_err(|error| IdentityError::Make(error.to_string()))?;
    let (sealing, local) = (SealingKey::make(), GenerationKey::make());
    let local_scope: [u8; 16] = entropy::array();
    let unlock = unlock::read_or_make(unlock_file).map_err(|source| IdentityError::File {
        path: unlock_file.display().to_string(),
        source,
    })?;
    let secret = Secret::new([sealing.expose(), *local.expose()].concat());
    let sealed = unlock
        .seal(Generation(0), &binding(local_scope), secret.expose())
        .map_err(|error| IdentityError::Make(error.to_string()))?;
    let sealing_public = sealing.public();
    let identity_pkcs8 = identity.pkcs8_der().to_vec();
    let stored =
        Stored { format: FORMAT, identity_pkcs8, sealing_public, secrets: sealed, local_scope };
    let mut bytes =
        serde_json::to_vec(&stored).map_err(|error| IdentityError::Make(error.to_string()))?;
    let written = files::write_private(path, &bytes);
    bytes.zeroize();
    written.map_err(|source| IdentityError::File { path: path.display().to_string(), source })?;
    let local_scope = ClusterId(local_scope);
    let unlocked = Ok(Unlocked { sealing, local });
    Ok(NodeKeys { identity, sealing_public, unlocked, local_scope })
}

/// A node's own keys are bound to its local scope, under a purpose that nothing replicated has.
fn binding(local_scope: [u8; 16]) -> Binding {
    Binding { scope: ClusterId(local_scope), purpose: Purpose::NodeSealing }
}

fn damaged(path: &Path) -> IdentityError {
    IdentityError::Damaged { path: path.display().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_its_unlock_key_a_node_is_sealed_but_known() {
        let dir = tempfile::tempdir().unwrap();
        let unlock_file = dir.path().join("unlock");
        let data = dir.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let made = NodeKeys::open(&data, &unlock_file).unwrap();
        let again = NodeKeys::open(&data, &unlock_file).unwrap();
        assert_eq!(again.unlocked.ok().unwrap().sealing.public(), made.sealing_public);
        std::fs::rename(&unlock_file, dir.path().join("elsewhere")).unwrap();
        let sealed = NodeKeys::open(&data, &unlock_file).unwrap();
        assert!(sealed.unlocked.is_err());
        assert_eq!(sealed.identity.public_key_der(), made.identity.public_key_der());
        unlock::make(&unlock_file).unwrap();
        assert!(NodeKeys::open(&data, &unlock_file).unwrap().unlocked.is_err(), "another key");
    }
}
