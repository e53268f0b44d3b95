//! Certificates, keys and handshake settings of domains: made when first needed, kept in bounded
//! caches.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use conclave_keys::SealError;
use conclave_store::{
    id::{DomainName, Fingerprint},
    record::{Credential, Domain, DomainKey, PkiMode},
    state::State,
};
use rustls::{
    ServerConfig,
    pki_types::CertificateDer,
    sign::{CertifiedKey, SigningKey},
};

use super::{
    Live,
    cache::Key,
    index::{Index, Served, Wanted},
    limits::DOORS_MAX,
};
use crate::{
    live::Chosen,
    tls::{self, CertifiedKeys, ClientPolicy, Door, Policy, Sessions},
};

/// Why a handshake is refused before it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No domain matches, and there is no Main Domain.
    Unknown,
    /// PKI services are disabled.
    Disabled,
    /// The domain is enabled but has no key with a certificate.
    Incomplete,
    /// The listener requires client certificates, and the domain asks for none.
    AsksForNone,
    /// This node cannot unseal the key.
    KeyUnavailable(String),
    /// The cluster's settings leave no version, cipher suite or group that this program supports.
    Settings(String),
}

impl Refusal {
    /// Returns one word for logs and counters.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Refusal::Unknown => "unknown_name",
            Refusal::Disabled => "disabled",
            Refusal::Incomplete => "incomplete",
            Refusal::AsksForNone => "asks_for_no_client_certificate",
            Refusal::KeyUnavailable(_) => "key_unavailable",
            Refusal::Settings(_) => "settings",
        }
    }
}

/// Result of selecting a domain for a hello.
pub(crate) struct Choice<R> {
    pub(crate) policy: Arc<Policy>,
    /// The selected domain and how it was found; none if no domain matches.
    pub(crate) found: Option<(DomainName, Chosen)>,
    pub(crate) ready: Result<R, Refusal>,
}

/// All inputs of a TLS handshake.
pub(crate) struct Ready {
    pub(crate) config: Arc<ServerConfig>,
    /// The client-certificate verifier of this connection, if the domain asks for certificates.
    pub(crate) client: Option<tls::Asking>,
}

/// Opened private keys of a domain.
pub(super) struct Opened {
    keys: Vec<(Fingerprint, Arc<dyn SigningKey>)>,
    /// Digest of the certificates already proven with these keys.
    pub(super) proved: ArcSwapOption<Fingerprint>,
}

/// The handshake settings of a domain, valid while the domain and the policy are unchanged.
pub(super) struct Prepared {
    domain: Arc<Domain>,
    policy: Arc<Policy>,
    pub(super) shown: Arc<CertifiedKeys>,
    pub(super) client: Option<Arc<ClientPolicy>>,
    pub(super) sessions: Option<Sessions>,
    configs: ByDoor<ServerConfig>,
    pub(super) contexts: ByDoor<conclave_dtls::Context>,
}

/// Values made from a domain for each listener. A changed listener replaces its value.
pub(super) struct ByDoor<T>(ArcSwap<Vec<(Arc<Door>, Arc<T>)>>);

impl Live {
    /// Chooses a domain and its TLS settings for clients of `door`.
    pub(crate) fn choose(&self, wanted: Wanted<'_>, door: &Arc<Door>) -> Choice<Ready> {
        self.choose_with(wanted, |_, _, prepared| prepared.ready(door))
    }

    pub(super) fn choose_with<R>(
        &self,
        wanted: Wanted<'_>,
        ready: impl FnOnce(&Index, &Served, &Prepared) -> Result<R, Refusal>,
    ) -> Choice<R> {
        let index = self.shared.index.load();
        let policy = Arc::clone(&index.policy);
        let Some((served, chosen)) = index.find(wanted, &self.shared.main_domain) else {
            return Choice { policy, found: None, ready: Err(Refusal::Unknown) };
        };
        let found = Some((served.domain.name.clone(), chosen));
        let prepared = self.prepared(&index, &served);
        let ready = prepared.and_then(|prepared| ready(&index, &served, &prepared));
        Choice { policy, found, ready }
    }

    /// Returns the domain selected by these hints, and how it was found.
    pub fn explain(&self, wanted: Wanted<'_>) -> Option<(Served, Chosen)> {
        self.shared.index.load().find(wanted, &self.shared.main_domain)
    }

    /// Returns the test certificate of this node, DER.
    pub fn test_certificate(&self) -> &[u8] {
        self.shared.test.der()
    }

    pub(super) fn prepared(
        &self,
        index: &Index,
        served: &Served,
    ) -> Result<Arc<Prepared>, Refusal> {
        let Served { scope, domain } = served;
        let key = Key { scope: *scope, id: domain.id };
        let is_current = |known: &Arc<Prepared>| {
            Arc::ptr_eq(&known.domain, domain) && Arc::ptr_eq(&known.policy, &index.policy)
        };
        if let Some(known) = self.shared.prepared.find(key).filter(is_current) {
            return Ok(known);
        }
        let shown = match domain.mode {
            PkiMode::Disabled => return Err(Refusal::Disabled),
            PkiMode::Test => self.shared.test.certified_keys(),
            PkiMode::Enabled => self.open(index.state(*scope), served)?,
        };
        let state = index.state(*scope);
        let lists = self.revocation_lists(index, *scope);
        let settings = &index.policy.settings;
        let client = ClientPolicy::of(state, domain, settings, lists.found()).map(Arc::new);
        let sessions = (domain.mode == PkiMode::Enabled).then(|| {
            let client = client.as_deref();
            Sessions::of(&self.shared.session_keys, *scope, domain, client, &index.policy)
        });
        let prepared = Arc::new(Prepared {
            domain: Arc::clone(domain),
            policy: Arc::clone(&index.policy),
            shown,
            client,
            sessions,
            configs: ByDoor::default(),
            contexts: ByDoor::default(),
        });
        self.shared.prepared.put(key, Arc::clone(&prepared));
        if domain.mode == PkiMode::Enabled {
            self.forget_if_sealed();
        }
        Ok(prepared)
    }

    /// Pairs the keys of an enabled domain with their certificates.
    fn open(&self, state: &State, served: &Served) -> Result<Arc<CertifiedKeys>, Refusal> {
        let opened = self.opened(served)?;
        let key = |key: &DomainKey| {
            let found = opened.keys.iter().find(|(public, _)| *public == key.public_key);
            found.map(|(_, key)| Arc::clone(key))
        };
        let keys = shows(state, &served.domain).filter_map(|(credential, certificates)| {
            Some(Arc::new(CertifiedKey::new(certificates, key(&credential.key)?)))
        });
        let keys: Vec<_> = keys.collect();
        if keys.is_empty() { Err(Refusal::Incomplete) } else { Ok(CertifiedKeys::new(keys)) }
    }

    /// Returns the private keys of a domain, and unseals them if they are not in the cache.
    pub(super) fn opened(&self, served: &Served) -> Result<Arc<Opened>, Refusal> {
        let Served { scope, domain } = served;
        let key = Key { scope: *scope, id: domain.id };
        let wanted = || {
            let complete = domain.credentials.iter().filter(|one| one.certificate.is_some());
            complete.map(|one| &one.key)
        };
        let is_current = |known: &Arc<Opened>| {
            wanted().map(|key| key.public_key).eq(known.keys.iter().map(|(public, _)| *public))
        };
        if let Some(known) = self.shared.opened.find(key).filter(is_current) {
            return Ok(known);
        }
        let open = |key: &DomainKey| {
            let opened = self.shared.keyring.signing_key(*scope, domain, key);
            let opened =
                opened.map_err(|error: SealError| Refusal::KeyUnavailable(error.to_string()))?;
            Ok((key.public_key, opened))
        };
        let keys = wanted().map(open).collect::<Result<Vec<_>, Refusal>>()?;
        let opened = Arc::new(Opened { keys, proved: ArcSwapOption::empty() });
        self.shared.opened.put(key, Arc::clone(&opened));
        self.forget_if_sealed();
        Ok(opened)
    }

    /// Empties the caches if the node was sealed since the caller opened a key: then `forget_keys`
    /// may have run before the caller put it there.
    fn forget_if_sealed(&self) {
        if self.shared.keyring.is_sealed() {
            self.shared.opened.clear();
            self.shared.prepared.clear();
        }
    }
}

/// Returns the credentials of an enabled domain, each with its chain. Skips keys without a
/// certificate.
pub(super) fn shows<'a>(
    state: &'a State,
    domain: &'a Domain,
) -> impl Iterator<Item = (&'a Credential, Vec<CertificateDer<'static>>)> {
    domain.credentials.iter().filter_map(|credential| {
        let leaf = CertificateDer::from(credential.certificate.as_ref()?.der.clone());
        let chain = state.sent_chain(credential).iter();
        let chain = chain.map(|der| CertificateDer::from(der.to_vec()));
        Some((credential, std::iter::once(leaf).chain(chain).collect()))
    })
}

impl<T> Default for ByDoor<T> {
    fn default() -> ByDoor<T> {
        ByDoor(ArcSwap::default())
    }
}

impl<T> ByDoor<T> {
    pub(super) fn find_or_make(
        &self,
        door: &Arc<Door>,
        make: impl FnOnce() -> Result<Arc<T>, Refusal>,
    ) -> Result<Arc<T>, Refusal> {
        let known = self.0.load();
        if let Some((_, found)) = known.iter().find(|(known, _)| *known == *door) {
            return Ok(Arc::clone(found));
        }
        let made = make()?;
        self.0.rcu(|known| {
            let others = known.iter().filter(|(other, _)| other.name != door.name);
            let others = others.take(DOORS_MAX - 1).cloned();
            let own = (Arc::clone(door), Arc::clone(&made));
            std::iter::once(own).chain(others).collect::<Vec<_>>()
        });
        Ok(made)
    }
}

impl Prepared {
    /// Returns the rules for client certificates on a listener. A domain that asks for none is not
    /// served where one is required.
    pub(super) fn client_at(&self, door: &Door) -> Result<Option<Arc<ClientPolicy>>, Refusal> {
        match &self.client {
            Some(client) => Ok(Some(client.at(door))),
            None if door.policy.requires_client_certificate => Err(Refusal::AsksForNone),
            None => Ok(None),
        }
    }

    fn ready(&self, door: &Arc<Door>) -> Result<Ready, Refusal> {
        let settings = |error: rustls::Error| Refusal::Settings(error.to_string());
        if let Some(client) = self.client_at(door)? {
            // The verifier keeps what this client proves, so the settings belong to one connection.
            let asking = tls::Asking::new(client);
            let config = self.config(door, Some(&asking)).map_err(settings)?;
            return Ok(Ready { config, client: Some(asking) });
        }
        let make = || self.config(door, None).map_err(settings);
        Ok(Ready { config: self.configs.find_or_make(door, make)?, client: None })
    }

    fn config(
        &self,
        door: &Door,
        asking: Option<&tls::Asking>,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        let shown = Arc::clone(&self.shown);
        tls::config(&self.policy, shown, door, self.sessions.as_ref(), asking)
    }
}
