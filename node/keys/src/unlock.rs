//! The unlock key: kept outside the data directory, it encrypts the secrets of the node.

use std::{
    fmt,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use conclave_system::files;
use zeroize::Zeroize;

use super::{limits::UNLOCK_FILE_BYTES_MAX, seal::GenerationKey};

/// Rights by which users other than the owner can read or change a file, and by which its group can
/// change it. A group may read the key: secret stores mount files so.
const OTHERS: u32 = 0o027;
/// Environment variable with the directory in which systemd puts the credentials of a unit.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// The place of the unlock key, from `[keyring] unlock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unlock {
    /// A file.
    File(PathBuf),
    /// A credential that systemd passes to the unit (systemd.exec(5), `LoadCredential=`).
    Credential(String),
    /// No place: a person types a passphrase after each start.
    Passphrase,
}

impl fmt::Display for Unlock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unlock::File(path) => write!(out, "{}", path.display()),
            Unlock::Credential(name) => write!(out, "the credential {name}"),
            Unlock::Passphrase => out.write_str("a passphrase"),
        }
    }
}

impl Unlock {
    /// Parses `file:PATH`, `credential:NAME` or `passphrase`. The error says what is wrong.
    pub fn parse(text: &str) -> Result<Unlock, String> {
        if text == "passphrase" {
            return Ok(Unlock::Passphrase);
        }
        match text.split_once(':') {
            Some(("file", path)) if Path::new(path).is_absolute() => Ok(Unlock::File(path.into())),
            Some(("file", path)) => Err(format!("{path} is not absolute")),
            Some(("credential", name)) if is_credential_name(name) => {
                Ok(Unlock::Credential(name.to_owned()))
            }
            Some(("credential", name)) => Err(format!("{name:?} is not the name of a credential")),
            _ => Err(format!("{text:?} is none of file:PATH, credential:NAME, passphrase")),
        }
    }

    /// Returns the path of the file, also of a credential; none for a passphrase.
    pub fn path(&self) -> Option<PathBuf> {
        match self {
            Unlock::File(path) => Some(path.clone()),
            Unlock::Credential(name) => {
                std::env::var_os(CREDENTIALS).map(|directory| Path::new(&directory).join(name))
            }
            Unlock::Passphrase => None,
        }
    }

    /// Returns what is wrong with the rights on the unlock key: other users can read it or change
    /// it, or own it.
    pub fn exposure(&self) -> Option<String> {
        self.exposure_to(rustix::process::geteuid().as_raw())
    }

    /// The same for a node of the user `own`, which need not be the user of this process.
    pub fn exposure_to(&self, own: u32) -> Option<String> {
        let path = self.path()?;
        let meta = std::fs::metadata(&path).ok()?;
        let (mode, owner, shown) = (meta.mode() & 0o777, meta.uid(), path.display());
        if owner != 0 && owner != own {
            return Some(format!(
                "the unlock key {shown} belongs to another user (uid {owner}): chown {own} {shown}"
            ));
        }
        (mode & OTHERS != 0).then(|| {
            format!("other users can use the unlock key {shown} (mode {mode:o}): chmod 600 {shown}")
        })
    }

    /// Reads the unlock key. Returns `None` if it does not exist.
    pub(crate) fn read(&self) -> io::Result<Option<GenerationKey>> {
        let path = self.path().ok_or_else(|| self.nowhere())?;
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut text = String::new();
        let read = file.take(UNLOCK_FILE_BYTES_MAX).read_to_string(&mut text);
        let key = parse(text.trim());
        text.zeroize();
        read?;
        key.map(Some)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not 64 hexadecimal digits"))
    }

    /// Checks whether the unlock key can be read, or its file be made. A credential exists only
    /// while the unit runs, and a passphrase is asked for later.
    pub(crate) fn check(&self) -> io::Result<()> {
        let Unlock::File(path) = self else { return Ok(()) };
        if self.read()?.is_some() {
            return Ok(());
        }
        let parent = path.parent().unwrap_or(Path::new("/"));
        match std::fs::metadata(parent)?.is_dir() {
            true => Ok(()),
            false => Err(io::Error::from(io::ErrorKind::NotADirectory)),
        }
    }

    /// Reads the unlock key for secrets that are made now, or makes the file if it does not exist.
    /// A key that other users can read or change is refused.
    pub(crate) fn read_or_make(&self) -> io::Result<GenerationKey> {
        if let Some(text) = self.exposure() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        match (self.read()?, self) {
            (Some(key), _) => Ok(key),
            (None, Unlock::File(path)) => make(path),
            (None, _) => Err(self.nowhere()),
        }
    }

    fn nowhere(&self) -> io::Error {
        let text = match self {
            Unlock::Credential(_) => {
                "systemd passes none of this name: LoadCredential= in the unit must name it"
                    .to_owned()
            }
            _ => "[keyring] unlock names no unlock key".to_owned(),
        };
        io::Error::new(io::ErrorKind::NotFound, text)
    }
}

/// Returns whether a text is a credential's name, and so no path.
fn is_credential_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=255).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(is_allowed)
}

/// Writes a new random key to the file, readable by this user only.
fn make(path: &Path) -> io::Result<GenerationKey> {
    let key = GenerationKey::make();
    let mut text: String = key.expose().iter().map(|byte| format!("{byte:02x}")).collect();
    text.push('\n');
    let written = files::write_private(path, text.as_bytes());
    text.zeroize();
    written.map(|()| key)
}

fn parse(text: &str) -> Option<GenerationKey> {
    conclave_store::id::Fingerprint::parse(text).map(|bytes| GenerationKey::from_bytes(bytes.0))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_setting_names_a_file_a_credential_or_a_passphrase() {
        assert_eq!(Unlock::parse("file:/etc/k"), Ok(Unlock::File("/etc/k".into())));
        assert_eq!(Unlock::parse("credential:k"), Ok(Unlock::Credential("k".to_owned())));
        assert_eq!(Unlock::parse("passphrase"), Ok(Unlock::Passphrase));
        for wrong in ["k", "file:k", "credential:", "credential:../k", "credential:.", "env:K"] {
            assert!(Unlock::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_that_others_can_use_seals_nothing_new() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("unlock");
        let unlock = Unlock::File(path.clone());
        let made = unlock.read_or_make().unwrap();
        assert_eq!(unlock.exposure(), None);
        assert_eq!(unlock.read_or_make().unwrap().expose(), made.expose());
        for mode in [0o604, 0o620, 0o666] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            assert!(unlock.exposure().unwrap().contains("chmod 600"), "{mode:o}");
            assert!(unlock.read_or_make().is_err(), "{mode:o}");
            assert!(unlock.read().unwrap().is_some(), "what it opens, it still opens");
        }
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        assert_eq!(unlock.exposure(), None, "a group may read it");
        // Only root can give a file away.
        if std::os::unix::fs::chown(&path, Some(65_534), None).is_ok() {
            assert!(unlock.exposure().unwrap().contains("uid 65534"));
        }
    }
}
