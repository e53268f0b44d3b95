//! Contexts: clusters with names, kept in a file of the user.

use std::{
    collections::BTreeMap,
    io::Write,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use conclave_api::problem::{Code, Problem};
use conclave_client::{Address, Failure};
use serde::{Deserialize, Serialize};

/// Largest file of contexts, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Longest name of a context.
const NAME_BYTES_MAX: usize = 64;

/// All contexts of the user.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The one in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

/// Where a cluster is, and how to show who one is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// Addresses of nodes with commas between.
    pub(crate) nodes: String,
    /// SHA-256 of the cluster's authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) authority: Option<String>,
    /// File with an access token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<PathBuf>,
    /// File with a certificate, its chain and its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) identity: Option<PathBuf>,
}

impl Contexts {
    /// Reads the file; none is an empty one.
    pub(crate) fn read() -> Result<Contexts, Failure> {
        let path = file()?;
        let text = match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Contexts::default());
            }
            Ok(found) if found.len() > FILE_BYTES_MAX => {
                return Err(unusable(&path, "it is larger than 1 MiB"));
            }
            _ => std::fs::read_to_string(&path).map_err(|error| unusable(&path, error))?,
        };
        toml::from_str(&text).map_err(|error| unusable(&path, error.to_string().trim()))
    }

    /// Writes the file whole or not at all. Only its owner can read it.
    pub(crate) fn write(&self) -> Result<(), Failure> {
        let path = file()?;
        let text = toml::to_string(self).map_err(|error| unusable(&path, error))?;
        write_private(&path, &text)
    }

    /// Returns the context that a command asks: the one that is named, or the one in use.
    pub(crate) fn chosen(named: Option<&str>) -> Result<Option<(String, Context)>, Failure> {
        // Without a home, or in that of another user, no context can be in use.
        let is_there = file().is_ok_and(|path| std::fs::File::open(path).is_ok());
        if named.is_none() && !is_there {
            return Ok(None);
        }
        let contexts = Contexts::read()?;
        let Some(name) = named.or(contexts.current.as_deref()) else { return Ok(None) };
        Ok(Some((name.to_owned(), contexts.get(name)?.clone())))
    }

    /// Returns the context of this name.
    pub(crate) fn get(&self, name: &str) -> Result<&Context, Failure> {
        self.contexts.get(name).ok_or_else(|| {
            let title = format!("no context {name:?}");
            Box::new(Problem::new(Code::NotFound, title).hint("conclave context list"))
        })
    }
}

/// Refuses what cannot be the name of a context: it becomes the name of a file.
pub(crate) fn check_name(name: &str) -> Result<(), Failure> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_plain) {
        return Ok(());
    }
    let title = format!("{name:?} is not the name of a context");
    let detail = format!("letters, digits, - and _, at most {NAME_BYTES_MAX}");
    Err(Box::new(Problem::new(Code::Malformed, title).detail(detail)))
}

impl Context {
    /// Returns whether the session that is kept for it counts: it is of this cluster, and nothing
    /// else says who the caller is.
    pub(crate) fn keeps_session_of(&self, old: &Context) -> bool {
        self.authority == old.authority && self.token.is_none() && self.identity.is_none()
    }

    /// Reads its addresses.
    pub(crate) fn addresses(&self) -> Result<Vec<Address>, Failure> {
        Address::list(&self.nodes)
    }
}

/// Returns the file that keeps the session of a context.
pub(crate) fn session_file(name: &str) -> Result<PathBuf, Failure> {
    Ok(file()?.with_file_name(format!("{name}.session")))
}

/// Writes a file that only its owner can read, whole or not at all.
pub(crate) fn write_private(path: &Path, content: impl AsRef<[u8]>) -> Result<(), Failure> {
    let unwritable = |error: std::io::Error| {
        let title = format!("cannot write {}", path.display());
        Box::new(Problem::new(Code::FileUnusable, title).detail(error.to_string()))
    };
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unwritable)?;
    let mut file = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o600))
        .tempfile_in(dir)
        .map_err(unwritable)?;
    file.write_all(content.as_ref())
        .and_then(|()| file.as_file().sync_all())
        .map_err(unwritable)?;
    file.persist(path).map_err(|error| unwritable(error.error))?;
    Ok(())
}

/// Returns the path of the file: below `XDG_CONFIG_HOME`, or `.config` in the home directory.
fn file() -> Result<PathBuf, Failure> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let config = set("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.or_else(|| Some(PathBuf::from(set("HOME")?).join(".config")));
    let config = config.ok_or_else(|| {
        let title = "there is no home directory for contexts";
        Box::new(Problem::new(Code::FileUnusable, title).hint("set HOME or XDG_CONFIG_HOME"))
    })?;
    Ok(config.join("conclave/contexts.toml"))
}

fn unusable(path: &Path, what: impl std::fmt::Display) -> Failure {
    let title = format!("the contexts in {} cannot be used", path.display());
    Box::new(
        Problem::new(Code::FileUnusable, title)
            .detail(what.to_string())
            .hint("mend or remove the file, or name a node with --address"),
    )
}
