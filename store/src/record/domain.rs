//! A domain: the named owner of PKI settings.

use std::net::IpAddr;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer, de,
    ser::{self, SerializeTuple},
};

use super::{Certificate, ClientAuth, DomainKey, KeyFamily, Principal};
use crate::{
    id::{DomainId, DomainName, Fingerprint, Generation, ServerName, Version},
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

/// Author, time and reason of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Time of the command, by the clock of the node that admitted it.
    pub time: UnixMillis,
    /// The author.
    pub principal: Principal,
    /// The reason given by the author.
    pub reason: Option<String>,
}

/// A private key with its certificate and CA chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Private key, sealed.
    pub key: DomainKey,
    /// Certificate of the key.
    pub certificate: Option<Certificate>,
    /// CA chain, by its hash.
    pub chain: Option<Fingerprint>,
}

impl Credential {
    /// Returns a credential without a certificate.
    pub fn new(key: DomainKey) -> Credential {
        Credential { key, certificate: None, chain: None }
    }
}

/// All PKI settings of one domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// Id, kept across renames.
    pub id: DomainId,
    /// Name, also the first server name.
    pub name: DomainName,
    /// Further server names.
    pub aliases: Vec<ServerName>,
    /// Local addresses of this domain, for clients that send no name.
    pub addresses: Vec<IpAddr>,
    /// PKI services.
    pub mode: PkiMode,
    /// Keys with their certificates and chains: at most one per family, in the order of families.
    pub credentials: Vec<Credential>,
    /// Client certificate policy; `None` if clients are not asked.
    pub client_auth: Option<ClientAuth>,
    /// Number of changes, the first included.
    pub version: Version,
    /// The last change.
    pub changed: Stamp,
}

impl Domain {
    /// Returns whether both versions have the same content: everything but number and stamp.
    pub fn has_content_of(&self, other: &Domain) -> bool {
        // Each field is named, so that a new one cannot be forgotten here.
        let Domain {
            id,
            name,
            aliases,
            addresses,
            mode,
            credentials,
            client_auth,
            version: _,
            changed: _,
        } = self;
        *id == other.id
            && *name == other.name
            && *aliases == other.aliases
            && *addresses == other.addresses
            && *mode == other.mode
            && *credentials == other.credentials
            && *client_auth == other.client_auth
    }

    /// Returns the credential of a key family.
    pub fn credential(&self, family: KeyFamily) -> Option<&Credential> {
        self.credentials.iter().find(|one| one.key.family == family)
    }

    /// Returns the credential of a key family for changing it.
    pub(crate) fn credential_mut(&mut self, family: KeyFamily) -> Option<&mut Credential> {
        self.credentials.iter_mut().find(|one| one.key.family == family)
    }

    /// Returns the certificates of all credentials that have one.
    pub fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.credentials.iter().filter_map(|one| one.certificate.as_ref())
    }

    /// Returns the oldest generation under which one of its keys is sealed.
    pub(crate) fn oldest_generation(&self) -> Option<Generation> {
        self.credentials.iter().map(|one| one.key.sealed.generation).min()
    }

    /// Returns every server name of this domain, its own name first.
    pub fn server_names(&self) -> impl Iterator<Item = ServerName> + '_ {
        std::iter::once(ServerName::from(self.name.clone())).chain(self.aliases.iter().cloned())
    }
}

/// An earlier version of a domain, kept in encoded form. There are many of them and few are read,
/// and the encoding takes a fraction of the memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlierVersion {
    bytes: Box<[u8]>,
    /// See [`Self::oldest_generation`].
    oldest: Option<Generation>,
}

/// Failure to encode a domain.
#[derive(Debug, thiserror::Error)]
#[error("a domain cannot be packed")]
pub(crate) struct PackError;

impl EarlierVersion {
    /// Encodes a domain.
    pub(crate) fn of(domain: &Domain) -> Result<EarlierVersion, PackError> {
        let bytes = bincode::serde::encode_to_vec(domain, bincode::config::standard());
        let bytes = bytes.map_err(|_| PackError)?.into();
        Ok(EarlierVersion { bytes, oldest: domain.oldest_generation() })
    }

    /// Returns the oldest generation under which one of its keys is sealed, without decoding it.
    pub(crate) fn oldest_generation(&self) -> Option<Generation> {
        self.oldest
    }

    /// Decodes the domain; `None` only if the bytes do not come from a domain.
    pub fn domain(&self) -> Option<Domain> {
        let config = bincode::config::standard();
        bincode::serde::decode_from_slice(&self.bytes, config).map(|(domain, _)| domain).ok()
    }
}

// In a stored row an earlier version has the same encoding as a domain. The kept bytes are written
// as they are: decoding and encoding them would give the same bytes, but at a cost for each change
// of any domain and for each snapshot.
impl Serialize for EarlierVersion {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            return self
                .domain()
                .ok_or_else(|| ser::Error::custom("a damaged version"))?
                .serialize(to);
        }
        // Unlike a byte string, a tuple has no length prefix.
        let mut raw = to.serialize_tuple(self.bytes.len())?;
        self.bytes.iter().try_for_each(|byte| raw.serialize_element(byte))?;
        raw.end()
    }
}

impl<'de> Deserialize<'de> for EarlierVersion {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<EarlierVersion, D::Error> {
        EarlierVersion::of(&Domain::deserialize(from)?).map_err(de::Error::custom)
    }
}
