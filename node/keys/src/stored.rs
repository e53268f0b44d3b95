//! The file of a node's own keys, `node-keys.json`.
//!
//! Format 1 has no checksum; a file in format 1 is rewritten when read. Format 2 holds secrets
//! under an unlock key. Format 3 also says how the unlock key is made: of a passphrase, or of
//! shares. A node whose unlock key lies in a file keeps format 2, which earlier versions read.

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
    passphrase::Stretch,
    seal::{Binding, GenerationKey, Purpose, Secret},
    share::ShareSet,
    wrap::SealingKey,
};

/// Name of the file.
pub(crate) const FILE: &str = "node-keys.json";
/// Format of secrets under a stored unlock key.
pub(crate) const FORMAT: u32 = 2;
/// Format of secrets under a passphrase or shares.
const FORMAT_MADE: u32 = 3;

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
    /// The unlock key of a new node cannot be read or made, or others can use it.
    #[error("{0}")]
    Unlock(#[source] io::Error),
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

/// The secrets of an unsealed node.
pub struct Unlocked {
    /// Opens generations of the keyring.
    pub sealing: SealingKey,
    /// Seals the secrets of this node's local scope.
    pub local: GenerationKey,
}

impl Unlocked {
    fn make() -> Unlocked {
        Unlocked { sealing: SealingKey::make(), local: GenerationKey::make() }
    }

    fn bytes(&self) -> Secret {
        let mut sealing = self.sealing.expose();
        let secret = Secret::new([&sealing[..], self.local.expose()].concat());
        sealing.zeroize();
        secret
    }
}

/// How the unlock key is made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MadeBy {
    /// Of a passphrase.
    Passphrase(Stretch),
    /// Of shares.
    Shares(ShareSet),
}

/// The content of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stored {
    format: u32,
    identity_pkcs8: Vec<u8>,
    pub(crate) sealing_public: [u8; 32],
    /// Sealing key and local key, 32 bytes each, under the unlock key.
    secrets: Sealed,
    pub(crate) local_scope: [u8; 16],
    /// How the unlock key is made; none: it is stored. Since format 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) made_by: Option<MadeBy>,
    /// SHA-256 of all other fields. Set only in the file, since format 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checksum: Option<Vec<u8>>,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.identity_pkcs8.zeroize();
    }
}

impl Stored {
    /// Reads the file. Returns `None` if it does not exist. Writes a file of format 1 anew.
    pub(crate) fn read(path: &Path) -> Result<Option<Stored>, IdentityError> {
        let Some(mut stored) = Stored::look(path)? else { return Ok(None) };
        if stored.format < FORMAT {
            stored.format = FORMAT;
            // The old file is still valid, so a full disk must not keep the node from starting.
            let _ = stored.write(path);
        }
        Ok(Some(stored))
    }

    /// Reads the file and changes nothing. Returns `None` if it does not exist.
    pub(crate) fn look(path: &Path) -> Result<Option<Stored>, IdentityError> {
        let mut bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(file_error(path, source)),
        };
        let stored = Stored::parse(&bytes);
        bytes.zeroize();
        stored.ok_or_else(|| damaged(path)).map(Some)
    }

    /// Parses the file. Returns `None` if it is damaged or has an unknown format.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Stored> {
        let mut stored: Stored = serde_json::from_slice(bytes).ok()?;
        let found = stored.checksum.take();
        let expected = match (stored.format, &stored.made_by) {
            (1, None) => None,
            (FORMAT, None) => Some(files::checksum(&stored).ok()?),
            (FORMAT_MADE, Some(made_by)) if made_by.is_bounded() => {
                Some(files::checksum(&stored).ok()?)
            }
            _ => return None,
        };
        (found == expected).then_some(stored)
    }

    /// Makes new keys. The secrets are under no key yet.
    pub(crate) fn make() -> Result<(Stored, Unlocked), IdentityError> {
        let identity = PrivateKey::generate(KeyAlgorithm::EcP256, &mut entropy::fill)
            .map_err(|error| IdentityError::Make(error.to_string()))?;
        let unlocked = Unlocked::make();
        let stored = Stored {
            format: FORMAT,
            identity_pkcs8: identity.pkcs8_der().to_vec(),
            sealing_public: unlocked.sealing.public(),
            secrets: Sealed { generation: Generation(0), nonce: [0; 12], ciphertext: Vec::new() },
            local_scope: entropy::array(),
            made_by: None,
            checksum: None,
        };
        Ok((stored, unlocked))
    }

    /// Seals the secrets under another unlock key, which is stored or made as `made_by` says.
    pub(crate) fn seal_under(
        &self,
        key: &GenerationKey,
        made_by: Option<MadeBy>,
        unlocked: &Unlocked,
    ) -> Result<Stored, IdentityError> {
        let secrets = key
            .seal(Generation(0), &self.binding(), unlocked.bytes().expose())
            .map_err(|error| IdentityError::Make(error.to_string()))?;
        Ok(Stored {
            format: if made_by.is_some() { FORMAT_MADE } else { FORMAT },
            identity_pkcs8: self.identity_pkcs8.clone(),
            sealing_public: self.sealing_public,
            secrets,
            local_scope: self.local_scope,
            made_by,
            checksum: None,
        })
    }

    /// Writes the file.
    pub(crate) fn write(&mut self, path: &Path) -> Result<(), IdentityError> {
        let unmade = |error: serde_json::Error| IdentityError::Make(error.to_string());
        self.checksum = Some(files::checksum(self).map_err(unmade)?);
        let bytes = serde_json::to_vec(self);
        self.checksum = None;
        let mut bytes = bytes.map_err(unmade)?;
        let written = files::write_private(path, &bytes);
        bytes.zeroize();
        written.map_err(|source| file_error(path, source))
    }

    /// Returns the identity key.
    pub(crate) fn identity(&self, path: &Path) -> Result<PrivateKey, IdentityError> {
        PrivateKey::from_pkcs8_der(&self.identity_pkcs8).map_err(|_| damaged(path))
    }

    /// Opens the secrets. Returns `None` if this is not their unlock key.
    pub(crate) fn unlock(&self, key: &GenerationKey) -> Option<Unlocked> {
        open(key, &self.binding(), &self.secrets)
    }

    /// Returns the sealed secrets with their binding, to be opened without a lock on this.
    pub(crate) fn sealed(&self) -> (Binding, Sealed) {
        (self.binding(), self.secrets.clone())
    }

    /// Returns the mark of this node in the texts of its shares.
    pub(crate) fn share_mark(&self) -> [u8; 4] {
        self.local_scope.first_chunk().copied().unwrap_or_default()
    }

    /// Returns the binding of a node's own secrets: its local scope, and a purpose that no
    /// replicated secret has.
    fn binding(&self) -> Binding {
        Binding { scope: ClusterId(self.local_scope), purpose: Purpose::NodeSealing }
    }
}

impl MadeBy {
    fn is_bounded(&self) -> bool {
        match self {
            MadeBy::Passphrase(stretch) => stretch.is_bounded(),
            MadeBy::Shares(set) => set.is_bounded(),
        }
    }
}

/// Opens the secrets of a node. Returns `None` if this is not their unlock key.
pub(crate) fn open(key: &GenerationKey, binding: &Binding, secrets: &Sealed) -> Option<Unlocked> {
    let secret = key.open(binding, secrets).ok()?;
    let (sealing, local) = secret.expose().split_at_checked(32)?;
    let local = GenerationKey::from_bytes(local.try_into().ok()?);
    Some(Unlocked { sealing: SealingKey::from_bytes(sealing)?, local })
}

pub(crate) fn damaged(path: &Path) -> IdentityError {
    IdentityError::Damaged { path: path.display().to_string() }
}

pub(crate) fn file_error(path: &Path, source: io::Error) -> IdentityError {
    IdentityError::File { path: path.display().to_string(), source }
}
