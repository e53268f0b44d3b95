//! What outgoing connections need of State: whom to trust, and what to show.

use std::sync::Arc;

use conclave_pki::{builtin, certificate::Certificate, crl::Crl};
use conclave_store::{
    record::{PkiMode, TrustSet},
    scope::Scope,
};

use super::{Live, index::Index};
use crate::tls::{CertifiedKeys, Policy};

/// Whom this node trusts as a remote server, by the sets of its own, of its cluster and built in
/// (B2); and what it shows of itself.
pub(crate) struct RemoteTrust {
    /// Versions, suites and groups.
    pub(crate) policy: Arc<Policy>,
    pub(crate) anchors: Arc<Anchors>,
    /// The Main Domain's certificate, if it has one of its own.
    pub(crate) own: Option<Arc<CertifiedKeys>>,
}

/// Trusted certificates and revocation lists, read once.
pub(crate) struct Anchors {
    policy: Arc<Policy>,
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) crls: Vec<Crl>,
}

impl Live {
    /// The domain that stands in where nothing leads to another one.
    pub(crate) fn main_domain(&self) -> &conclave_store::id::DomainName {
        &self.shared.main_domain
    }

    /// Trust in remote servers as it is now.
    pub(crate) fn remote_trust(&self) -> Arc<RemoteTrust> {
        let index = self.shared.index.load();
        let policy = Arc::clone(&index.policy);
        // There is another policy whenever trusted certificates of a scope change.
        let known = self.shared.anchors.load_full();
        let known = known.filter(|known| Arc::ptr_eq(&known.policy, &policy));
        let anchors = known.unwrap_or_else(|| {
            let anchors = Arc::new(Anchors::of(&index));
            self.shared.anchors.store(Some(Arc::clone(&anchors)));
            anchors
        });
        let main = index.domain(Scope::Local, &self.shared.main_domain);
        // A test certificate proves nothing to anybody.
        let main = main.filter(|main| main.domain.mode == PkiMode::Enabled);
        let own = main.and_then(|main| self.prepared(&index, &main).ok());
        let own = own.map(|prepared| Arc::clone(&prepared.shown));
        Arc::new(RemoteTrust { policy, anchors, own })
    }
}

impl Anchors {
    fn of(index: &Index) -> Anchors {
        let states = || [Scope::Local, Scope::Shared].into_iter().map(|one| index.state(one));
        let stored = states().flat_map(|state| state.trusted(&TrustSet::System));
        let stored = stored.filter_map(|(_, one)| Certificate::from_der(&one.der).ok());
        let crls = states().flat_map(|state| state.crls(&TrustSet::System));
        Anchors {
            policy: Arc::clone(&index.policy),
            certificates: stored.chain(builtin::certificates().iter().cloned()).collect(),
            crls: crls.filter_map(|(_, crl)| Crl::from_der(&crl.der).ok()).collect(),
        }
    }
}
