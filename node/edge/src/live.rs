//! The live index: the current configuration of this node, immutable and replaced as a whole.
//!
//! A handshake loads the index once and waits for nothing. The thread that applies commands swaps
//! the index first. The feed then proves each changed domain by a real handshake inside the
//! process, and only after that reports the command as served.

mod cache;
mod datagrams;
mod feed;
mod index;
mod limits;
mod prove;
mod ready;
mod remote;
mod session_keys;
mod test_certificate;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Instant,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use conclave_keys::{Keyring, SessionKeys};
use conclave_store::{
    change::Change,
    id::{DomainName, LogIndex, NodeId},
    record::{Domain, RowKey, TrustSet},
    scope::Scope,
    state::State,
};
use conclave_system::histogram::{Histogram, Observed};
use tokio::sync::{Notify, watch};

use crate::tls::{NodeLimits, Policy};

use cache::{Cache, Key};
pub(crate) use datagrams::ReadyDatagrams;
pub use feed::Sockets;
pub use index::{Chosen, Wanted};
use index::{Index, Served};
use limits::{OPENED_MAX, PREPARED_MAX};
pub(crate) use ready::{Choice, Refusal};
use ready::{Opened, Prepared};
pub(crate) use remote::RemoteTrust;
use remote::{Anchors, RevocationLists};
pub use test_certificate::TestCertificate;

/// Progress of this node in serving a scope.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Every command up to this index is served, except those in `failed`.
    pub index: LogIndex,
    /// Commands for unservable domains or listeners; at most the newest `FAILED_MAX`.
    pub failed: BTreeSet<LogIndex>,
    /// `failed` is complete from this command on.
    pub failed_from: LogIndex,
    /// Digest of the State at `index`.
    pub digest: [u8; 32],
    /// Number of rows in the State at `index`.
    pub rows: u64,
}

/// The live index and its feed; cheap to clone.
#[derive(Clone)]
pub struct Live {
    shared: Arc<Shared>,
}

struct Shared {
    index: ArcSwap<Index>,
    opened: Cache<Opened>,
    prepared: Cache<Prepared>,
    keyring: Arc<Keyring>,
    test: TestCertificate,
    test_proved: AtomicBool,
    main_domain: DomainName,
    anchors: ArcSwapOption<Anchors>,
    revocation_lists: [ArcSwapOption<RevocationLists>; 2],
    session_keys: Arc<ArcSwap<SessionKeys>>,
    /// Serialises updates of `session_keys`.
    following: Mutex<()>,
    pending: Mutex<BTreeMap<Scope, Pending>>,
    wake: Notify,
    reports: [watch::Sender<Report>; 2],
    /// Index of the shared scope up to which a restarted node serves every command again.
    settled: ArcSwapOption<watch::Receiver<u64>>,
    /// Times from the application of commands of the shared scope to their service.
    serving: Histogram,
}

/// Applied, unreported commands. The size is bounded by the number of domains, not of commands.
#[derive(Default)]
struct Pending {
    state: State,
    index: LogIndex,
    domains: BTreeMap<DomainName, BTreeSet<LogIndex>>,
    listeners: BTreeSet<LogIndex>,
    /// When the first of the commands was applied.
    since: Option<Instant>,
    /// Up to this command the State was replaced as a whole, so its domains were not proved one by
    /// one.
    rebuilt: Option<LogIndex>,
}

impl Live {
    /// Creates an index without domains. `limits` holds the rules by which this node is stricter
    /// than its cluster.
    pub fn new(
        keyring: Arc<Keyring>,
        test: TestCertificate,
        main_domain: DomainName,
        limits: NodeLimits,
    ) -> Live {
        let shared = Shared {
            index: ArcSwap::from_pointee(Index::new(Policy::new(limits))),
            opened: Cache::new(OPENED_MAX),
            prepared: Cache::new(PREPARED_MAX),
            keyring,
            test,
            test_proved: AtomicBool::new(false),
            main_domain,
            anchors: ArcSwapOption::empty(),
            revocation_lists: [ArcSwapOption::empty(), ArcSwapOption::empty()],
            session_keys: Arc::default(),
            following: Mutex::default(),
            pending: Mutex::default(),
            wake: Notify::new(),
            reports: [watch::Sender::default(), watch::Sender::default()],
            settled: ArcSwapOption::empty(),
            serving: Histogram::default(),
        };
        Live { shared: Arc::new(shared) }
    }

    /// Changes the rules by which this node is stricter than its cluster. New handshakes follow
    /// them; open connections stay.
    pub fn set_limits(&self, limits: NodeLimits) {
        self.swap(|old| {
            let mut index = old.clone();
            index.policy = Arc::new(old.policy.limited(limits.clone()));
            index
        });
        self.shared.prepared.clear();
    }

    /// Returns the rules by which this node is stricter than its cluster.
    pub fn limits(&self) -> NodeLimits {
        self.policy().limits().clone()
    }

    /// From now on serves the canaries of this member as well.
    pub fn serve_canaries_of(&self, member: NodeId) {
        self.swap(|old| old.serving_canaries_of(member));
    }

    /// Builds the index of a scope from its whole State, at start or after a snapshot.
    pub fn rebuild(&self, scope: Scope, state: &State, index: LogIndex) {
        self.swap(|old| old.rebuilt(scope, state));
        self.shared.prepared.clear();
        if scope == Scope::Shared {
            self.follow_session_keys(state);
        }
        // Do not prove a whole State domain by domain. Each domain was proved when it changed, and
        // a node with many domains must serve at once.
        self.enqueue(scope, state, index, |pending| {
            pending.listeners.insert(index);
            pending.rebuilt = Some(index);
        });
    }

    /// Applies changes to the index; the cost is proportional to the changes. The applying thread
    /// calls this after the changes are durable.
    pub fn advance(
        &self,
        scope: Scope,
        state: &State,
        changes: &[(LogIndex, Vec<Change>)],
        index: LogIndex,
    ) {
        let mut domains: BTreeMap<DomainName, BTreeSet<LogIndex>> = BTreeMap::new();
        let mut listeners = BTreeSet::new();
        let mut is_settled = true;
        let mut session_keys_changed = false;
        for (at, changes) in changes {
            for change in changes {
                match &change.key {
                    RowKey::Domain(name) | RowKey::Canary(name) => {
                        domains.entry(name.clone()).or_default().insert(*at);
                    }
                    RowKey::Listener(_) | RowKey::ListenerPolicy(_) => {
                        listeners.insert(*at);
                    }
                    RowKey::Level
                    | RowKey::TlsSettings
                    | RowKey::Trusted((TrustSet::System, _))
                    | RowKey::Crl((TrustSet::System, _))
                    | RowKey::LongCrl((TrustSet::System, _)) => is_settled = false,
                    // A new keyring generation may unseal session keys that could not be opened
                    // before.
                    RowKey::SessionKey(_) | RowKey::Generation(_) => session_keys_changed = true,
                    _ => {}
                }
            }
        }
        if !domains.is_empty() || !is_settled {
            self.forget(scope, state, domains.keys());
            self.swap(|old| {
                let mut index = old.changed(scope, state, domains.keys());
                if !is_settled {
                    index.settle(scope);
                }
                index
            });
        }
        if !is_settled {
            self.shared.prepared.clear();
        }
        if session_keys_changed && scope == Scope::Shared {
            self.follow_session_keys(state);
        }
        self.enqueue(scope, state, index, |pending| {
            for (name, indexes) in domains {
                pending.domains.entry(name).or_default().extend(indexes);
            }
            pending.listeners.extend(listeners);
        });
    }

    /// Removes the prepared settings of changed domains, and the opened keys of domains whose keys
    /// change. A concurrent handshake may put an old entry back. That entry is never used, because
    /// it belongs to the old version of the domain.
    fn forget<'a>(
        &self,
        scope: Scope,
        state: &State,
        domains: impl Iterator<Item = &'a DomainName>,
    ) {
        let index = self.shared.index.load();
        for name in domains {
            let Some(Served { domain: old, .. }) = index.domain(scope, name) else { continue };
            let key = Key { scope, id: old.id };
            self.shared.prepared.remove(key);
            let keys = |domain: &Domain| {
                let keys = domain.credentials.iter().map(|one| one.key.public_key);
                (domain.id, keys.collect::<Vec<_>>())
            };
            if state.domain(name).map(keys) != Some(keys(&old)) {
                self.shared.opened.remove(key);
            }
        }
    }

    /// Returns the level of the cluster's rules.
    pub(crate) fn level(&self) -> u32 {
        self.shared.index.load().state(Scope::Shared).level()
    }

    /// Returns the current TLS policy.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.shared.index.load().policy)
    }

    /// From now on reports the shared scope only up to the index that survives a restart.
    pub fn follow_settled(&self, settled: watch::Receiver<u64>) {
        self.shared.settled.store(Some(Arc::new(settled)));
    }

    /// Returns a receiver for the progress in a scope.
    pub fn reports(&self, scope: Scope) -> watch::Receiver<Report> {
        self.report_sender(scope).subscribe()
    }

    /// Returns how long commands of the shared scope waited from their application until new
    /// handshakes used them.
    pub fn serving_times(&self) -> Observed {
        self.shared.serving.read()
    }

    fn report_sender(&self, scope: Scope) -> &watch::Sender<Report> {
        let [shared, local] = &self.shared.reports;
        match scope {
            Scope::Shared => shared,
            Scope::Local => local,
        }
    }

    fn swap(&self, change: impl Fn(&Index) -> Index) {
        self.shared.index.rcu(|old| Arc::new(change(old)));
    }

    fn enqueue(
        &self,
        scope: Scope,
        state: &State,
        index: LogIndex,
        add: impl FnOnce(&mut Pending),
    ) {
        let mut pending = self.shared.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let pending = pending.entry(scope).or_default();
        pending.state = state.clone();
        pending.index = index;
        pending.since.get_or_insert_with(Instant::now);
        add(pending);
        self.shared.wake.notify_one();
    }
}
