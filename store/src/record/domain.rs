//! A domain: the named owner of PKI settings.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Certificate, DomainKey, Principal};
use crate::{
    id::{DomainId, DomainName, Fingerprint, ServerName, Version},
    time::UnixMillis,
};

/// PKI services of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PkiMode {
    /// No TLS; other settings are kept without effect.
    Disabled,
    /// The node's own test key and test certificate are served.
    Test,
    /// The domain's own key and certificate are served.
    Enabled,
}

/// Who changed something, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Time of the command, by the clock of the node that admitted it.
    pub time: UnixMillis,
    /// Who asked.
    pub principal: Principal,
    /// Why, in the words of whoever asked.
    pub reason: Option<String>,
}

/// All PKI settings of one domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// Outlives renames.
    pub id: DomainId,
    /// Name, also the first server name.
    pub name: DomainName,
    /// Further server names.
    pub aliases: Vec<ServerName>,
    /// Local addresses that mean this domain when a client sends no name.
    pub addresses: Vec<IpAddr>,
    /// PKI services.
    pub mode: PkiMode,
    /// Private key, sealed.
    pub key: Option<DomainKey>,
    /// Certificate of that key.
    pub certificate: Option<Certificate>,
    /// CA chain, by its hash.
    pub chain: Option<Fingerprint>,
    /// Number of changes, the first included.
    pub version: Version,
    /// The last change.
    pub changed: Stamp,
}

impl Domain {
    /// Every name by which clients may ask for this domain, its own first.
    pub fn server_names(&self) -> impl Iterator<Item = ServerName> + '_ {
        std::iter::once(ServerName::from(self.name.clone())).chain(self.aliases.iter().cloned())
    }
}
