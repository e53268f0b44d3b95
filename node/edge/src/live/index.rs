//! The index from server names and addresses to domains.

use std::{net::IpAddr, sync::Arc};

use conclave_store::{
    id::{DomainName, NodeId, ServerName},
    record::Domain,
    scope::Scope,
    state::State,
};
use imbl::HashMap;

use crate::tls::Policy;

/// A domain and the scope that it belongs to.
#[derive(Clone)]
pub struct Served {
    pub scope: Scope,
    pub domain: Arc<Domain>,
}

/// How a domain was selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen {
    /// By the server name of the hello.
    Name,
    /// By the local address.
    Address,
    /// The Main Domain, because nothing selected another domain.
    MainDomain,
    /// By the `to` of an XMPP stream.
    StreamTo,
}

impl Chosen {
    /// Returns one word for logs and answers.
    pub fn word(self) -> &'static str {
        match self {
            Chosen::Name => "name",
            Chosen::Address => "address",
            Chosen::MainDomain => "main",
            Chosen::StreamTo => "stream",
        }
    }
}

/// The hints by which a client selects a domain.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// `to` of an XMPP stream.
    pub stream_to: Option<&'a str>,
    /// Server name of the hello.
    pub server_name: Option<&'a str>,
    /// Local address of the client's connection.
    pub local: Option<IpAddr>,
}

/// A consistent view of both scopes. Names are looked up in State itself, so a domain costs nothing
/// here unless it has addresses.
#[derive(Clone)]
pub(super) struct Index {
    shared: Names,
    local: Names,
    /// This member; none as long as the node belongs to no cluster.
    member: Option<NodeId>,
    /// Domains that this member serves in another form than State has them.
    canaries: HashMap<DomainName, Arc<Domain>>,
    /// Replaced whenever the settings change, or the trusted certificates of a whole scope.
    /// Prepared settings compare this pointer to see whether they are current.
    pub(super) policy: Arc<Policy>,
}

#[derive(Clone, Default)]
struct Names {
    state: State,
    addresses: HashMap<IpAddr, DomainName>,
}

impl Index {
    pub(super) fn new(policy: Policy) -> Index {
        Index {
            shared: Names::default(),
            local: Names::default(),
            member: None,
            canaries: HashMap::new(),
            policy: Arc::new(policy),
        }
    }

    /// Returns the index with one scope rebuilt.
    pub(super) fn rebuilt(&self, scope: Scope, state: &State) -> Index {
        let mut names = Names { state: state.clone(), addresses: HashMap::new() };
        state.domains().for_each(|domain| names.put(domain));
        let mut index = self.clone();
        *index.names_mut(scope) = names;
        index.settle(scope);
        index.find_canaries();
        index
    }

    /// Returns the index after changes to some domains.
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
        index.find_canaries();
        index
    }

    /// Returns the index of this member of the cluster, with its canaries.
    pub(super) fn serving_canaries_of(&self, member: NodeId) -> Index {
        let mut index = Index { member: Some(member), ..self.clone() };
        index.find_canaries();
        index
    }

    /// Looks up the canaries of this member. There are few, or none.
    fn find_canaries(&mut self) {
        let all = self.shared.state.canaries();
        let own = all.filter(|(_, canary)| Some(canary.node) == self.member);
        self.canaries =
            own.map(|(name, canary)| (name.clone(), Arc::clone(&canary.domain))).collect();
    }

    /// Takes over the settings of the shared scope. Always makes a new policy, even from the same
    /// settings, so that nothing is reused that was made under the previous trusted certificates.
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

    /// Returns the State of a scope.
    pub(super) fn state(&self, scope: Scope) -> &State {
        match scope {
            Scope::Shared => &self.shared.state,
            Scope::Local => &self.local.state,
        }
    }

    /// Finds a domain by its own name, in the form in which this member serves it.
    pub(super) fn domain(&self, scope: Scope, name: &DomainName) -> Option<Served> {
        let canary = match scope {
            Scope::Shared => self.canaries.get(name),
            Scope::Local => None,
        };
        let domain = Arc::clone(canary.or_else(|| self.state(scope).domain_shared(name))?);
        Some(Served { scope, domain })
    }

    /// Finds the domain for a client: by the `to` of its XMPP stream, else by server name (exact
    /// before wildcard), else by the local address, else the Main Domain.
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

    /// Finds a domain by a server name. An IP address is not a server name: no wildcard covers one
    /// (RFC 6125 §6.4.3).
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
            // The same batch may have moved the address to another domain; that entry must stay.
            if self.addresses.get(&address) == Some(&domain.name) {
                self.addresses.remove(&address);
            }
        }
    }
}
