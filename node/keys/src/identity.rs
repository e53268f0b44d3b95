//! The node's own keys: its transport identity and its sealing key.
//!
//! The identity key is stored unencrypted, because a node without its unlock key must still vote
//! and replicate. The sealing key is encrypted under the unlock key, so that a stolen data
//! directory opens no secret.

use std::{io, path::Path};

use conclave_pki::key::{KeyAlgorithm, PrivateKey};
use conclave_store::{
    id::{ClusterId, Generation},
    record::Sealed,
};
use conclave_system::{entropy, files};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::{
    seal::{Binding, GenerationKey, Purpose, Secret},
    unlock,
    wrap::SealingKey,
};

const FILE: &str = "node-keys.json";
/// Current file format. Format 1 has no checksum; a file in format 1 is rewritten when read.
const FORMAT: u32 = 2;

/// Errors of reading, writing or making a node's own keys.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error("cannot use {path}")]
    File {
        /// Path of the file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The key file is damaged or has an unknown format.
    #[error("{path} is damaged, or of a format that this program does not know")]
    Damaged {
        /// Path of the file.
        path: String,
    },
    /// A key cannot be made.
    #[error("cannot make the key of this node: {0}")]
    Make(String),
}

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
}

/// The secrets of an unsealed node.
pub struct Unlocked {
    /// Opens generations of the keyring.
    pub sealing: SealingKey,
    /// Seals the secrets of this node's local scope.
    pub local: GenerationKey,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    identity_pkcs8: Vec<u8>,
    sealing_public: [u8; 32],
    /// Sealing key and local key, 32 bytes each, under the unlock key.
    secrets: Sealed,
    local_scope: [u8; 16],
    /// SHA-256 of all other fields. Set only in the file, since format 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checksum: Option<Vec<u8>>,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.identity_pkcs8.zeroize();
    }
}

impl NodeKeys {
    /// Reads the keys of this node. For a new node, makes the keys and the unlock key.
    pub fn open(data_dir: &Path, unlock_file: &Path) -> Result<NodeKeys, IdentityError> {
        let path = data_dir.join(FILE);
        match std::fs::read(&path) {
            Ok(mut bytes) => {
                let stored = Stored::parse(&bytes);
                bytes.zeroize();
                let mut stored = stored.ok_or_else(|| damaged(&path))?;
                if stored.format != FORMAT {
                    stored.format = FORMAT;
                    // The old file is still valid, so a full disk must not keep the node from
                    // starting.
                    let _ = stored.write(&path);
                }
                stored.open(&path, unlock_file)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(&path, unlock_file),
            Err(source) => Err(IdentityError::File { path: path.display().to_string(), source }),
        }
    }
}

impl NodeKeys {
    /// Checks without making anything whether [`NodeKeys::open`] will find or make the keys.
    pub fn check(data_dir: &Path, unlock_file: &Path) -> Result<(), IdentityError> {
        let path = data_dir.join(FILE);
        match std::fs::read(&path) {
            Ok(mut bytes) => {
                let is_right = Stored::parse(&bytes).is_some();
                bytes.zeroize();
                if is_right { Ok(()) } else { Err(damaged(&path)) }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => unlock::check(unlock_file)
                .map_err(|source| {
                    let path = unlock_file.display().to_string();
                    IdentityError::File { path, source }
                }),
            Err(source) => Err(IdentityError::File { path: path.display().to_string(), source }),
        }
    }
}

impl Stored {
    /// Parses the file. Returns `None` if it is damaged or has an unknown format.
    fn parse(bytes: &[u8]) -> Option<Stored> {
        let mut stored: Stored = serde_json::from_slice(bytes).ok()?;
        let found = stored.checksum.take();
        let expected = match stored.format {
            1 => None,
            FORMAT => Some(files::checksum(&stored).ok()?),
            _ => return None,
        };
        (found == expected).then_some(stored)
    }

    fn write(&mut self, path: &Path) -> Result<(), IdentityError> {
        let unmade = |error: serde_json::Error| IdentityError::Make(error.to_string());
        self.checksum = Some(files::checksum(self).map_err(unmade)?);
        let bytes = serde_json::to_vec(self);
        self.checksum = None;
        let mut bytes = bytes.map_err(unmade)?;
        let written = files::write_private(path, &bytes);
        bytes.zeroize();
        written.map_err(|source| IdentityError::File { path: path.display().to_string(), source })
    }

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
    let (format, secrets, checksum) = (FORMAT, sealed, None);
    let mut stored =
        Stored { format, identity_pkcs8, sealing_public, secrets, local_scope, checksum };
    stored.write(path)?;
    let local_scope = ClusterId(local_scope);
    let unlocked = Ok(Unlocked { sealing, local });
    Ok(NodeKeys { identity, sealing_public, unlocked, local_scope })
}

/// Returns the binding of a node's own secrets: its local scope, and a purpose that no replicated
/// secret has.
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

    #[test]
    fn no_flipped_bit_gives_other_keys_and_keys_of_the_first_release_get_their_checksum() {
        let dir = tempfile::tempdir().unwrap();
        let (file, unlock_file) = (dir.path().join(FILE), dir.path().join("unlock"));
        let made = NodeKeys::open(dir.path(), &unlock_file).unwrap();
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
        assert!(NodeKeys::open(dir.path(), &unlock_file).is_err(), "format 2 has a checksum");
        old["format"] = 1.into();
        std::fs::write(&file, old.to_string()).unwrap();
        let read = NodeKeys::open(dir.path(), &unlock_file).unwrap();
        assert_eq!(read.local_scope, made.local_scope);
        assert_eq!(std::fs::read(&file).unwrap(), whole);
    }
}
