//! Which name means which domain.

use std::{net::IpAddr, sync::Arc};

use conclave_store::{
    id::{DomainName, ServerName},
    record::Domain,
    scope::Scope,
    state::State,
};
use imbl::HashMap;

use crate::tls::Policy;

/// A domain where it lives.
#[derive(Clone)]
pub struct Served {
    pub scope: Scope,
    pub domain: Arc<Domain>,
}

/// How a domain was found (C2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen {
    /// By the server name of the hello.
    Name,
    /// By the local address.
    Address,
    /// Nothing led to another domain.
    MainDomain,
    /// By the `to` of an XMPP stream.
    StreamTo,
}

impl Chosen {
    /// One word for logs and answers.
    pub fn word(self) -> &'static str {
        match self {
            Chosen::Name => "name",
            Chosen::Address => "address",
            Chosen::MainDomain => "main",
            Chosen::StreamTo => "stream",
        }
    }
}

/// By what a client says which domain it means.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// `to` of an XMPP stream.
    pub stream_to: Option<&'a str>,
    /// Server name of the hello.
    pub server_name: Option<&'a str>,
    /// Where it connected to.
    pub local: Option<IpAddr>,
}

/// Both scopes as of one moment. Names are looked up in State itself, so that a domain costs
/// nothing here unless it has addresses.
#[derive(Clone)]
pub(super) struct Index {
    shared: Names,
    local: Names,
    /// Another one whenever settings change, or trusted certificates of a whole scope.
    pub(super) policy: Arc<Policy>,
}

#[derive(Clone, Default)]
struct Names {
    state: State,
    addresses: HashMap<IpAddr, DomainName>,
}

impl Index {
    pub(super) fn new(policy: Policy) -> Index {
        Index { shared: Names::default(), local: Names::default(), policy: Arc::new(policy) }
    }

    /// The index with one scope built anew.
    pub(super) fn rebuilt(&self, scope: Scope, state: &State) -> Index {
        let mut names = Names { state: state.clone(), addresses: HashMap::new() };
        state.domains().for_each(|domain| names.put(domain));
        let mut index = self.clone();
        *index.names_mut(scope) = names;
        index.settle(scope);
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
        let old = std::mem::replace(&mut names.state, state.clone());
        for name in domains {
            if let Some(domain) = old.domain(name) {
                names.take(domain);
            }
            if let Some(domain) = state.domain(name) {
                names.put(domain);
            }
        }
        index
    }

    /// Takes over the settings of the shared scope; a new policy even if they are the same, so
    /// that nothing is used that was made under trusted certificates of before.
    pub(super) fn settle(&mut self, scope: Scope) {
        let settings = match scope {
            Scope::Shared => self.shared.state.tls_settings(),
            Scope::Local => self.policy.settings.clone(),
        };
        self.policy = Arc::new(self.policy.with(settings));
    }

    fn names_mut(&mut self, scope: Scope) -> &mut Names {
        match scope {
            Scope::Shared => &mut self.shared,
            Scope::Local => &mut self.local,
        }
    }

    /// The State of a scope.
    pub(super) fn state(&self, scope: Scope) -> &State {
        match scope {
            Scope::Shared => &self.shared.state,
            Scope::Local => &self.local.state,
        }
    }

    /// A domain by its own name.
    pub(super) fn domain(&self, scope: Scope, name: &DomainName) -> Option<Served> {
        let domain = Arc::clone(self.state(scope).domain_shared(name)?);
        Some(Served { scope, domain })
    }

    /// The domain that a client means (C2): by the `to` of its stream; else by server name, exact
    /// before wildcard; else by the address it connected to; else the Main Domain.
    pub(super) fn find(
        &self,
        wanted: Wanted<'_>,
        main_domain: &DomainName,
    ) -> Option<(Served, Chosen)> {
        let server_name = wanted.server_name.filter(|_| self.policy.settings.process_target_domain);
        let by_stream = || Some((self.by_name(wanted.stream_to?)?, Chosen::StreamTo));
        let by_name = || Some((self.by_name(server_name?)?, Chosen::Name));
        let by_address = || Some((self.by_address(wanted.local?)?, Chosen::Address));
        // The Main Domain is never shared.
        let main = || Some((self.domain(Scope::Local, main_domain)?, Chosen::MainDomain));
        by_stream().or_else(by_name).or_else(by_address).or_else(main)
    }

    /// An address is no name here: no wildcard covers one (RFC 6125 §6.4.3).
    fn by_name(&self, text: &str) -> Option<Served> {
        let name = DomainName::parse(text).ok()?;
        let wildcard = ServerName::wildcard_of(&name);
        let owned = |name: &ServerName| {
            [Scope::Shared, Scope::Local].into_iter().find_map(|scope| {
                let owner = self.state(scope).name_owner(name)?;
                self.domain(scope, owner)
            })
        };
        owned(&ServerName::from(name)).or_else(|| owned(&wildcard?))
    }

    fn by_address(&self, address: IpAddr) -> Option<Served> {
        let address = address.to_canonical();
        [(Scope::Shared, &self.shared), (Scope::Local, &self.local)]
            .into_iter()
            .find_map(|(scope, names)| self.domain(scope, names.addresses.get(&address)?))
    }
}

impl Names {
    fn put(&mut self, domain: &Domain) {
        for address in &domain.addresses {
            self.addresses.insert(address.to_canonical(), domain.name.clone());
        }
    }

    fn take(&mut self, domain: &Domain) {
        for address in &domain.addresses {
            let address = address.to_canonical();
            // An address that has moved to another domain in the same batch stays there.
            if self.addresses.get(&address) == Some(&domain.name) {
                self.addresses.remove(&address);
            }
        }
    }
}
