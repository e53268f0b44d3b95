//! A domain: the named owner of PKI settings.

use std::net::IpAddr;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer, de,
    ser::{self, SerializeTuple},
};

use super::{Certificate, ClientAuth, DomainKey, KeyFamily, Principal};
use crate::{
    id::{DomainId, DomainName, Fingerprint, ServerName, Version},
    time::UnixMillis,
    wire::WireError,
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

/// A private key and what was issued for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Private key, sealed.
    pub key: DomainKey,
    /// Certificate of that key.
    pub certificate: Option<Certificate>,
    /// CA chain, by its hash.
    pub chain: Option<Fingerprint>,
}

impl Credential {
    /// A key for which nothing is issued yet.
    pub fn new(key: DomainKey) -> Credential {
        Credential { key, certificate: None, chain: None }
    }
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
    /// Keys with what belongs to them: at most one of each family, in their order.
    pub credentials: Vec<Credential>,
    /// Whether clients are asked for a certificate.
    pub client_auth: Option<ClientAuth>,
    /// Number of changes, the first included.
    pub version: Version,
    /// The last change.
    pub changed: Stamp,
}

impl Domain {
    /// The credential with a key of that family.
    pub fn credential(&self, family: KeyFamily) -> Option<&Credential> {
        self.credentials.iter().find(|one| one.key.family == family)
    }

    /// The same, to be changed.
    pub(crate) fn credential_mut(&mut self, family: KeyFamily) -> Option<&mut Credential> {
        self.credentials.iter_mut().find(|one| one.key.family == family)
    }

    /// Certificates of all credentials that have one.
    pub fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.credentials.iter().filter_map(|one| one.certificate.as_ref())
    }

    /// Every name by which clients may ask for this domain, its own first.
    pub fn server_names(&self) -> impl Iterator<Item = ServerName> + '_ {
        std::iter::once(ServerName::from(self.name.clone())).chain(self.aliases.iter().cloned())
    }
}

/// An earlier version of a domain. There are many and few are looked at, so each is kept in the
/// bytes of its encoding, a fraction of what its fields take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlierVersion(Box<[u8]>);

impl EarlierVersion {
    /// Packs a domain.
    pub(crate) fn of(domain: &Domain) -> Result<EarlierVersion, WireError> {
        let bytes = bincode::serde::encode_to_vec(domain, bincode::config::standard());
        Ok(EarlierVersion(bytes.map_err(|_| WireError::Payload)?.into()))
    }

    /// The domain as it was; none only if these bytes did not come from a domain.
    pub(crate) fn domain(&self) -> Option<Domain> {
        let config = bincode::config::standard();
        bincode::serde::decode_from_slice(&self.0, config).map(|(domain, _)| domain).ok()
    }
}

// In a stored row it is the domain itself. Its bytes are written as they are: to read the domain
// and encode it again would give the same ones, at each change of any domain and in each snapshot.
impl Serialize for EarlierVersion {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            return self
                .domain()
                .ok_or_else(|| ser::Error::custom("a damaged version"))?
                .serialize(to);
        }
        // A tuple of bytes has no length before it.
        let mut raw = to.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|byte| raw.serialize_element(byte))?;
        raw.end()
    }
}

impl<'de> Deserialize<'de> for EarlierVersion {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<EarlierVersion, D::Error> {
        EarlierVersion::of(&Domain::deserialize(from)?).map_err(de::Error::custom)
    }
}
