//! The running node: its parts, and its membership once it belongs to a cluster.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use conclave_api::problem::{Code, Problem};
use conclave_edge::{live::Live, socket::Edge};
use conclave_keys::{BackupKeys, Keyring, Lock, NodeKeys};
use conclave_store::time::UnixMillis;
use conclave_tls::AnyClientWithKey;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::{
    net::UnixStream,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
};

use crate::{
    config::Config,
    followers::Followers,
    inspect::Inspections,
    local::Local,
    logins::Logins,
    member::Member,
    observe::Observed,
    replica::{AuditQueue, Replica},
    turns::Turns,
};

/// The node's identity key, and the public half of its sealing key.
pub struct OwnKeys {
    identity_pkcs8: zeroize::Zeroizing<Vec<u8>>,
    identity_public: Vec<u8>,
    sealing_public: [u8; 32],
}

impl OwnKeys {
    /// Copies what a member needs.
    pub fn of(keys: &NodeKeys) -> OwnKeys {
        OwnKeys {
            identity_pkcs8: zeroize::Zeroizing::new(keys.identity.pkcs8_der().to_vec()),
            identity_public: keys.identity.public_key_der().to_vec(),
            sealing_public: keys.sealing_public,
        }
    }

    /// Returns the public identity key (SubjectPublicKeyInfo, DER).
    pub(crate) fn identity_public(&self) -> &[u8] {
        &self.identity_public
    }

    /// Returns the X25519 public key for which keyring generations are wrapped.
    pub(crate) fn sealing_public(&self) -> &[u8; 32] {
        &self.sealing_public
    }

    /// Returns the private identity key (PKCS#8, DER).
    pub fn identity_pkcs8(&self) -> &[u8] {
        &self.identity_pkcs8
    }
}

/// TLS settings of the admin API, with a certificate of its own.
#[derive(Clone)]
pub struct AdminTls {
    /// Clients are asked for no certificate.
    pub plain: Arc<rustls::ServerConfig>,
    /// Clients may show one. Whose it is, is decided for each request.
    pub asking: Arc<rustls::ServerConfig>,
}

impl AdminTls {
    /// Makes the settings for a certificate with its chain.
    pub(crate) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<AdminTls, rustls::Error> {
        let provider = conclave_tls::provider();
        let builder = || {
            rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
                .with_protocol_versions(&[&rustls::version::TLS13])
        };
        let any = Arc::new(AnyClientWithKey(Arc::clone(&provider)));
        let plain =
            builder()?.with_no_client_auth().with_single_cert(chain.clone(), key.clone_key())?;
        let asking = builder()?.with_client_cert_verifier(any).with_single_cert(chain, key)?;
        Ok(AdminTls { plain: Arc::new(plain), asking: Arc::new(asking) })
    }
}

/// A running node; cheap to clone.
#[derive(Clone)]
pub struct Node {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    keys: Arc<OwnKeys>,
    keyring: Arc<Keyring>,
    lock: Arc<Lock>,
    live: Live,
    edge: Edge,
    local: Local,
    started: UnixMillis,
    member: arc_swap::ArcSwapOption<Member>,
    /// TLS settings of the admin API, with a certificate of its own.
    admin_tls: watch::Sender<Option<AdminTls>>,
    turns: Turns,
    inspections: Inspections,
    audit: Arc<AuditQueue>,
    logins: Arc<Logins>,
    unlocks: Arc<Logins>,
    observed: Observed,
    /// Held while the node founds or joins a cluster: the two exclude each other.
    changing: Arc<Semaphore>,
    /// Held while the node makes a backup.
    backing_up: Arc<Semaphore>,
    /// Places of those who follow the events of this node.
    followers: Followers,
    /// Keys of the backup that is being restored.
    restoring: arc_swap::ArcSwapOption<BackupKeys>,
    fatal: watch::Sender<Option<String>>,
    take_over: mpsc::Sender<TakeOverRequest>,
    take_over_requests: Mutex<Option<mpsc::Receiver<TakeOverRequest>>>,
}

/// A process that wants to take over this node, at the other end of a connection.
pub struct TakeOverRequest {
    /// Socket over which the successor gets what it needs.
    pub stream: UnixStream,
    /// Time for the connections of this process to end.
    pub deadline: Duration,
}

impl Node {
    /// Puts a node together. Opens nothing.
    pub fn new(
        config: Config,
        keys: Arc<OwnKeys>,
        live: Live,
        (keyring, lock): (Arc<Keyring>, Arc<Lock>),
        edge: Edge,
        local: Local,
        started: UnixMillis,
    ) -> Node {
        let (take_over, requests) = mpsc::channel(1);
        let shared = Shared {
            config,
            keys,
            keyring,
            lock,
            live,
            edge,
            local,
            started,
            member: arc_swap::ArcSwapOption::empty(),
            admin_tls: watch::Sender::new(None),
            turns: Turns::new(),
            inspections: Inspections::default(),
            audit: Arc::default(),
            logins: Arc::default(),
            unlocks: Arc::default(),
            observed: Observed::default(),
            changing: Arc::new(Semaphore::new(1)),
            backing_up: Arc::new(Semaphore::new(1)),
            followers: Followers::default(),
            restoring: arc_swap::ArcSwapOption::empty(),
            fatal: watch::Sender::new(None),
            take_over,
            take_over_requests: Mutex::new(Some(requests)),
        };
        Node { shared: Arc::new(shared) }
    }

    /// Returns the configuration that this process runs with.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Returns the data directory.
    pub fn data_dir(&self) -> &Path {
        &self.shared.config.data_dir
    }

    /// Returns the keys of this node.
    pub fn keys(&self) -> &OwnKeys {
        &self.shared.keys
    }

    /// Returns the cluster's keyring.
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.shared.keyring
    }

    /// Returns the lock of the node's own secrets.
    pub fn lock(&self) -> &Arc<Lock> {
        &self.shared.lock
    }

    /// Returns the problem that this node is sealed. The hint is the command that mends it.
    pub(crate) fn check_unsealed(&self) -> Result<(), Problem> {
        let Some(reason) = self.keyring().sealed_reason() else { return Ok(()) };
        let name = &self.config().name;
        Err(Problem::new(Code::Sealed, format!("{name} is sealed: it cannot use private keys"))
            .why(reason)
            .hint(self.how_to_unseal()))
    }

    /// Returns the command that unseals this node.
    pub fn how_to_unseal(&self) -> &'static str {
        let status = self.lock().status();
        match status.how {
            "passphrase" if status.is_unset => {
                "conclave keyring unseal    sets the passphrase; scripts: --passphrase-file FILE"
            }
            "passphrase" => "conclave keyring unseal    on this node, with its passphrase",
            "shares" => "conclave keyring unseal    on this node, once with each share",
            _ => "put the unlock key back, then on this node: conclave keyring unseal",
        }
    }

    /// Returns what is served now.
    pub fn live(&self) -> &Live {
        &self.shared.live
    }

    /// Returns the listeners and connections.
    pub fn edge(&self) -> &Edge {
        &self.shared.edge
    }

    /// Returns the local scope.
    pub fn local(&self) -> &Local {
        &self.shared.local
    }

    /// Returns the queues of callers that change the same object.
    pub(crate) fn turns(&self) -> &Turns {
        &self.shared.turns
    }

    /// Returns the memory of what was found about domains.
    pub fn inspections(&self) -> &Inspections {
        &self.shared.inspections
    }

    /// Returns the events that wait for their entries in the audit trail.
    pub fn audit(&self) -> &Arc<AuditQueue> {
        &self.shared.audit
    }

    /// Returns the memory of failed attempts to unlock accounts.
    pub(crate) fn unlocks(&self) -> &Arc<Logins> {
        &self.shared.unlocks
    }

    /// Returns the memory of failed logins.
    pub(crate) fn logins(&self) -> &Arc<Logins> {
        &self.shared.logins
    }

    /// Returns what the metrics and the health of this node need.
    pub fn observed(&self) -> &Observed {
        &self.shared.observed
    }

    /// Returns the right to make a backup on this node, one at a time.
    pub(crate) fn backing_up(&self) -> &Arc<Semaphore> {
        &self.shared.backing_up
    }

    /// Returns the places of those who follow the events of this node.
    pub(crate) fn followers(&self) -> &Followers {
        &self.shared.followers
    }

    /// Returns the keys of the backup that is being restored.
    pub(crate) fn restoring(&self) -> Option<Arc<BackupKeys>> {
        self.shared.restoring.load_full()
    }

    /// Keeps the keys of a backup, or forgets them.
    pub(crate) fn set_restoring(&self, keys: Option<Arc<BackupKeys>>) {
        self.shared.restoring.store(keys);
    }

    /// Returns when this process started.
    pub fn started(&self) -> UnixMillis {
        self.shared.started
    }

    /// Returns a channel for the reason why this node must stop.
    pub fn fatal(&self) -> watch::Receiver<Option<String>> {
        self.shared.fatal.subscribe()
    }

    /// Makes the node stop for this reason.
    pub(crate) fn fail(&self, reason: String) {
        self.shared.fatal.send_replace(Some(reason));
    }

    /// Reserves the place of the one process that may take over; none: another one has it.
    pub fn take_over_place(&self) -> Option<mpsc::OwnedPermit<TakeOverRequest>> {
        self.shared.take_over.clone().try_reserve_owned().ok()
    }

    /// Returns the requests to take over this node, for the one who serves them.
    pub fn take_over_requests(&self) -> mpsc::Receiver<TakeOverRequest> {
        let mut requests =
            self.shared.take_over_requests.lock().unwrap_or_else(PoisonError::into_inner);
        // A second caller gets a closed channel.
        requests.take().unwrap_or_else(|| mpsc::channel(1).1)
    }

    /// Returns the running membership, if the node is a member.
    pub fn member(&self) -> Option<Arc<Member>> {
        self.shared.member.load_full()
    }

    /// Returns the replica. Fails if the node belongs to no cluster.
    pub fn replica(&self) -> Result<Replica, Problem> {
        self.member().map(|member| member.replica.clone()).ok_or_else(|| {
            Problem::new(Code::NoCluster, "this node belongs to no cluster yet")
                .hint("conclave cluster init --name NAME    or: conclave cluster join HOST:PORT")
        })
    }

    /// Acquires the right to found or join a cluster. Fails while another request holds it, or if
    /// the node is a member.
    pub(crate) fn membership_change(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let refused = |name: &str| {
            Problem::new(
                Code::AlreadyMember,
                format!("this node belongs to the cluster {name} already"),
            )
            .hint("conclave status")
        };
        if let Some(member) = self.member() {
            return Err(refused(&member.membership.cluster_name));
        }
        let permit = Arc::clone(&self.shared.changing).try_acquire_owned().map_err(|_| {
            Problem::new(
                Code::AlreadyMember,
                "this node is founding or joining a cluster right now",
            )
        })?;
        // Checked again, because another request may have finished in between.
        match self.member() {
            Some(member) => Err(refused(&member.membership.cluster_name)),
            None => Ok(permit),
        }
    }

    /// Returns the TLS settings of the admin API; none before the node could certify its key.
    pub fn admin_tls(&self) -> Option<AdminTls> {
        self.shared.admin_tls.borrow().clone()
    }

    /// Waits until the admin API has its certificate; at most `patience`.
    pub(crate) async fn wait_admin_tls(&self, patience: Duration) {
        let mut settings = self.shared.admin_tls.subscribe();
        let waiting = settings.wait_for(Option::is_some);
        // Without it clients are refused by name, and try again.
        let _ = tokio::time::timeout(patience, waiting).await;
    }

    /// Sets the TLS settings of the admin API.
    pub(crate) fn set_admin_tls(&self, tls: AdminTls) {
        self.shared.admin_tls.send_replace(Some(tls));
    }

    /// Publishes the membership to callers.
    pub(crate) fn publish(&self, member: Member) {
        self.shared.member.store(Some(Arc::new(member)));
    }

    /// Returns the address (`HOST:PORT`) of this node for other nodes.
    pub fn advertised(&self) -> Result<String, Problem> {
        if let Some(address) = &self.config().cluster_advertise {
            return Ok(address.clone());
        }
        let bind = self.config().cluster_bind;
        if !bind.ip().is_unspecified() {
            return Ok(bind.to_string());
        }
        // Connecting a UDP socket sends nothing; it only selects the route and so the local
        // address. The address is reserved for documentation (RFC 5737).
        let found = std::net::UdpSocket::bind((bind.ip(), 0)).and_then(|socket| {
            socket.connect(("192.0.2.1", 9))?;
            socket.local_addr()
        });
        match found {
            Ok(local) => Ok(SocketAddr::new(local.ip(), bind.port()).to_string()),
            Err(error) => {
                Err(Problem::new(Code::ConfigurationInvalid, "[cluster] advertise is not set")
                    .detail(format!("no address of this host can be found: {error}"))
                    .hint("set [cluster] advertise = \"HOST:PORT\""))
            }
        }
    }
}
