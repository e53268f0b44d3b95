//! Trust anchors and the client certificate for outgoing TLS connections.

use std::sync::Arc;

use conclave_pki::{builtin, certificate::Certificate, crl::Crl};
use conclave_store::{
    record::{PkiMode, TrustSet},
    scope::Scope,
};

use super::{Live, index::Index};
use crate::tls::{CertifiedKeys, Policy, RevocationList};

/// Trust in remote servers, from the sets of this node, of its cluster and the built-in one, and
/// the certificate that this node shows.
pub(crate) struct RemoteTrust {
    /// Policy for versions, cipher suites and groups.
    pub(crate) policy: Arc<Policy>,
    pub(crate) anchors: Arc<Anchors>,
    /// The Main Domain's certificate, unless it is a test certificate.
    pub(crate) own: Option<Arc<CertifiedKeys>>,
}

/// Trusted certificates and revocation lists, parsed once per policy.
pub(crate) struct Anchors {
    policy: Arc<Policy>,
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) crls: Vec<Crl>,
}

/// Revocation lists of the set of a scope itself, parsed once per policy for all its domains.
pub(crate) struct RevocationLists {
    policy: Arc<Policy>,
    found: Vec<RevocationList>,
}

impl Live {
    /// Returns the revocation lists that all domains of a scope have in common.
    pub(super) fn revocation_lists(&self, index: &Index, scope: Scope) -> Arc<RevocationLists> {
        let [shared, local] = &self.shared.revocation_lists;
        let slot = if scope == Scope::Shared { shared } else { local };
        let known = slot.load_full().filter(|known| Arc::ptr_eq(&known.policy, &index.policy));
        known.unwrap_or_else(|| {
            let policy = Arc::clone(&index.policy);
            let found = RevocationList::of(index.state(scope), &TrustSet::System).collect();
            let lists = Arc::new(RevocationLists { policy, found });
            slot.store(Some(Arc::clone(&lists)));
            lists
        })
    }

    /// Returns the name of the Main Domain, the fallback when nothing selects another domain.
    pub(crate) fn main_domain(&self) -> &conclave_store::id::DomainName {
        &self.shared.main_domain
    }

    /// Returns the current trust in remote servers.
    pub(crate) fn remote_trust(&self) -> Arc<RemoteTrust> {
        let index = self.shared.index.load();
        let policy = Arc::clone(&index.policy);
        // The policy is replaced whenever trusted certificates of a scope change.
        let known = self.shared.anchors.load_full();
        let known = known.filter(|known| Arc::ptr_eq(&known.policy, &policy));
        let anchors = known.unwrap_or_else(|| {
            let anchors = Arc::new(Anchors::of(&index));
            self.shared.anchors.store(Some(Arc::clone(&anchors)));
            anchors
        });
        let main = index.domain(Scope::Local, &self.shared.main_domain);
        // A test certificate proves nothing to a server.
        let main = main.filter(|main| main.domain.mode == PkiMode::Enabled);
        let own = main.and_then(|main| self.prepared(&index, &main).ok());
        let own = own.map(|prepared| Arc::clone(&prepared.shown));
        Arc::new(RemoteTrust { policy, anchors, own })
    }
}

impl RevocationLists {
    pub(super) fn found(&self) -> &[RevocationList] {
        &self.found
    }
}

impl Anchors {
    fn of(index: &Index) -> Anchors {
        let states = || [Scope::Local, Scope::Shared].into_iter().map(|one| index.state(one));
        let stored = states().flat_map(|state| state.trusted(&TrustSet::System));
        let stored = stored.filter_map(|(_, one)| Certificate::from_der(&one.der).ok());
        let lists = states().flat_map(|state| RevocationList::of(state, &TrustSet::System));
        // Without one of the lists nothing is trusted.
        let crls: Option<Vec<Crl>> = lists.map(|list| list.crl).collect();
        let trusted = crls.iter().flat_map(|_| builtin::certificates().iter().cloned());
        Anchors {
            policy: Arc::clone(&index.policy),
            certificates: stored.filter(|_| crls.is_some()).chain(trusted).collect(),
            crls: crls.unwrap_or_default(),
        }
    }
}
