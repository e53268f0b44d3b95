//! Which name means which domain, and what that domain shows.

use std::{
    net::IpAddr,
    sync::{Arc, atomic::AtomicBool},
};

use arc_swap::ArcSwapOption;
use conclave_store::{
    id::{DomainName, ServerName},
    record::{Credential, Domain, DomainKey, PkiMode},
    state::State,
};
use imbl::HashMap;
use rustls::{pki_types::CertificateDer, sign::CertifiedKey};

use super::{Scope, TestCertificate};
use crate::{
    edge::tls::CertifiedKeys,
    keys::{Keyring, SealError},
};

/// Why a domain, or no domain, is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No domain has this name, and there is no Main Domain to stand in.
    Unknown,
    /// PKI services are disabled.
    Disabled,
    /// Enabled, but without key or certificate.
    Incomplete,
    /// The key does not open on this node.
    KeyUnavailable(String),
}

impl Refusal {
    /// One word for logs and counters.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Refusal::Unknown => "unknown_name",
            Refusal::Disabled => "disabled",
            Refusal::Incomplete => "incomplete",
            Refusal::KeyUnavailable(_) => "key_unavailable",
        }
    }
}

/// A domain with all that a handshake needs.
pub(crate) struct Served {
    pub(crate) scope: Scope,
    pub(crate) domain: Arc<Domain>,
    /// The CA chain of each credential.
    chains: Vec<Vec<CertificateDer<'static>>>,
    /// Opened at the first handshake; two at once may both open it, which harms nothing.
    opened: ArcSwapOption<CertifiedKeys>,
    /// A handshake has shown this key and these certificates; holds while they are the same.
    pub(super) proved: Arc<AtomicBool>,
}

/// All domains of both scopes; clones share what they have in common.
#[derive(Clone, Default)]
pub(crate) struct Index {
    shared: Names,
    local: Names,
}

#[derive(Clone, Default)]
struct Names {
    domains: HashMap<DomainName, Arc<Served>>,
    names: HashMap<ServerName, Arc<Served>>,
    addresses: HashMap<IpAddr, Arc<Served>>,
}

impl Index {
    /// The index with one scope built anew.
    pub(super) fn rebuilt(&self, scope: Scope, state: &State) -> Index {
        let mut index = self.clone();
        let names = index.names_mut(scope);
        let old = std::mem::take(names);
        for domain in state.domains() {
            names.put(served(scope, state, domain, old.domains.get(&domain.name)));
        }
        index
    }

    /// The index after some domains changed.
    pub(super) fn changed<'a>(
        &self,
        scope: Scope,
        state: &State,
        domains: impl Iterator<Item = &'a DomainName>,
    ) -> Index {
        let mut index = self.clone();
        let names = index.names_mut(scope);
        for name in domains {
            let old = names.take(name);
            if let Some(domain) = state.domain(name) {
                names.put(served(scope, state, domain, old.as_ref()));
            }
        }
        index
    }

    fn names_mut(&mut self, scope: Scope) -> &mut Names {
        match scope {
            Scope::Shared => &mut self.shared,
            Scope::Local => &mut self.local,
        }
    }

    /// The domain of a name, of both scopes the shared one first.
    pub(super) fn domain(&self, scope: Scope, name: &DomainName) -> Option<&Arc<Served>> {
        match scope {
            Scope::Shared => self.shared.domains.get(name),
            Scope::Local => self.local.domains.get(name),
        }
    }

    /// The domain that a client means: by name, exact before wildcard; without a name by the
    /// address it connected to; else the Main Domain.
    pub(crate) fn find(
        &self,
        server_name: Option<&str>,
        local: Option<IpAddr>,
        main_domain: &DomainName,
    ) -> Option<&Arc<Served>> {
        let scopes = [&self.shared, &self.local];
        let by_name = |text: &str| {
            let name = DomainName::parse(text).ok()?;
            let wildcard = ServerName::wildcard_of(&name);
            let exact = ServerName::from(name);
            let exact = scopes.iter().find_map(|names| names.names.get(&exact));
            exact.or_else(|| {
                let wildcard = wildcard?;
                scopes.iter().find_map(|names| names.names.get(&wildcard))
            })
        };
        let by_address = || {
            let address = local?.to_canonical();
            scopes.iter().find_map(|names| names.addresses.get(&address))
        };
        let found = match server_name {
            Some(text) => by_name(text),
            None => by_address(),
        };
        // The Main Domain is never shared.
        found.or_else(|| self.local.domains.get(main_domain))
    }
}

impl Names {
    fn put(&mut self, served: Served) {
        let served = Arc::new(served);
        for name in served.domain.server_names() {
            self.names.insert(name, Arc::clone(&served));
        }
        for address in &served.domain.addresses {
            self.addresses.insert(address.to_canonical(), Arc::clone(&served));
        }
        self.domains.insert(served.domain.name.clone(), served);
    }

    fn take(&mut self, name: &DomainName) -> Option<Arc<Served>> {
        let old = self.domains.remove(name)?;
        for name in old.domain.server_names() {
            // A name that has moved to another domain in the same batch stays there.
            if self.names.get(&name).is_some_and(|owner| Arc::ptr_eq(owner, &old)) {
                self.names.remove(&name);
            }
        }
        for address in &old.domain.addresses {
            let address = address.to_canonical();
            if self.addresses.get(&address).is_some_and(|owner| Arc::ptr_eq(owner, &old)) {
                self.addresses.remove(&address);
            }
        }
        Some(old)
    }
}

fn served(scope: Scope, state: &State, domain: &Domain, old: Option<&Arc<Served>>) -> Served {
    // A key that is open already stays open if nothing that it was opened for has changed.
    let same = old.filter(|old| old.domain.credentials == domain.credentials);
    let chain = |credential: &Credential| {
        let chain = state.sent_chain(credential).iter();
        chain.map(|der| CertificateDer::from(der.to_vec())).collect()
    };
    Served {
        scope,
        domain: Arc::new(domain.clone()),
        chains: domain.credentials.iter().map(chain).collect(),
        opened: ArcSwapOption::new(same.and_then(|old| old.opened.load_full())),
        proved: same.map(|old| Arc::clone(&old.proved)).unwrap_or_default(),
    }
}

impl Served {
    /// What a handshake shows for this domain.
    pub(crate) fn certified_keys(
        &self,
        keyring: &Keyring,
        test: &TestCertificate,
    ) -> Result<Arc<CertifiedKeys>, Refusal> {
        match self.domain.mode {
            PkiMode::Disabled => Err(Refusal::Disabled),
            PkiMode::Test => Ok(test.certified_keys()),
            PkiMode::Enabled => match self.opened.load_full() {
                Some(opened) => Ok(opened),
                None => self.open(keyring),
            },
        }
    }

    /// What this domain shows when it is enabled: for each key with a certificate that and its
    /// chain.
    pub(crate) fn shows(&self) -> impl Iterator<Item = (&DomainKey, Vec<CertificateDer<'static>>)> {
        self.domain.credentials.iter().zip(&self.chains).filter_map(|(credential, chain)| {
            let leaf = CertificateDer::from(credential.certificate.as_ref()?.der.clone());
            let all = std::iter::once(leaf).chain(chain.iter().cloned());
            Some((&credential.key, all.collect()))
        })
    }

    fn open(&self, keyring: &Keyring) -> Result<Arc<CertifiedKeys>, Refusal> {
        let open = |(key, certificates): (&DomainKey, Vec<CertificateDer<'static>>)| {
            let key = keyring
                .signing_key(self.scope, &self.domain, key)
                .map_err(|error: SealError| Refusal::KeyUnavailable(error.to_string()))?;
            Ok(Arc::new(CertifiedKey::new(certificates, key)))
        };
        let keys = self.shows().map(open).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(Refusal::Incomplete);
        }
        let opened = CertifiedKeys::new(keys);
        self.opened.store(Some(Arc::clone(&opened)));
        Ok(opened)
    }
}
