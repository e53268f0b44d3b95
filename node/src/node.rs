//! A node: what it is made of, and its part in a cluster once it has one.

use std::{net::SocketAddr, path::Path, sync::Arc};

use conclave_api::problem::{Code, Problem};
use conclave_raft::{BoxFuture, Calls, Identity, LogOpenError, Options, Peers, Raft, StartError};
use conclave_store::{id::NodeId, time::UnixMillis};
use conclave_store_sled::Home;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
};

use crate::{
    admin::Turns,
    cluster::{Admission, Membership},
    config::Config,
    edge::Edge,
    keys::{Keyring, NodeKeys},
    live::Live,
    local::Local,
    replica::{Applier, Published, Replica, Reports},
};

/// Entries after which a snapshot is made; an entry may hold 64 commands.
const SNAPSHOT_EVERY: u64 = 2_500;
/// Entries kept behind it.
const KEEP_LOG: u64 = 500;

/// Public halves of a node's own keys, and its transport identity.
pub(crate) struct OwnKeys {
    identity_pkcs8: zeroize::Zeroizing<Vec<u8>>,
    identity_public: Vec<u8>,
    sealing_public: [u8; 32],
}

impl OwnKeys {
    /// Identity key (SubjectPublicKeyInfo, DER).
    pub(crate) fn identity_public(&self) -> &[u8] {
        &self.identity_public
    }

    /// X25519 public key for generations of the keyring.
    pub(crate) fn sealing_public(&self) -> &[u8; 32] {
        &self.sealing_public
    }

    /// Identity key, PKCS#8.
    pub(crate) fn identity_pkcs8(&self) -> &[u8] {
        &self.identity_pkcs8
    }
}

/// A running node; cheap to clone.
#[derive(Clone)]
pub(crate) struct Node {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    keys: OwnKeys,
    keyring: Arc<Keyring>,
    live: Live,
    edge: Edge,
    local: Local,
    started: UnixMillis,
    member: arc_swap::ArcSwapOption<Member>,
    turns: Turns,
    /// Founding and joining exclude each other.
    changing: Arc<Semaphore>,
    fatal: tokio::sync::watch::Sender<Option<String>>,
}

/// This node as a member.
pub(crate) struct Member {
    pub(crate) replica: Replica,
    home: Home,
    pub(crate) membership: Membership,
    tasks: MemberTasks,
}

impl Member {
    /// Stops taking part. What waits for the State's disk is written, so that the next start need
    /// not replay it.
    pub(crate) async fn stop(&self) -> std::io::Result<()> {
        self.replica.raft().shutdown().await?;
        let home = self.home.clone();
        let written = tokio::task::spawn_blocking(move || home.turn()).await;
        // The log has it in any case.
        if let Ok(Err(fault)) = written {
            tracing::warn!(event = "state.disk_failed", error = %fault);
        }
        Ok(())
    }

    /// Stops taking part, without the end of the process.
    pub(crate) async fn give_up(self) {
        // The tasks first: one of them takes the end of Raft for a reason to end the process.
        drop(self.tasks);
        if let Err(error) = self.replica.raft().shutdown().await {
            tracing::warn!(event = "member.not_stopped", %error);
        }
    }
}

/// Works in the background as long as the node is a member.
struct MemberTasks(Vec<AbortHandle>);

impl Drop for MemberTasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// An error of this node itself, not of the caller.
pub(crate) fn internal(what: &str, error: impl std::fmt::Display) -> Problem {
    Problem::new(Code::X007, what).detail(error.to_string())
}

impl Node {
    pub(crate) fn new(
        config: Config,
        keys: NodeKeys,
        live: Live,
        keyring: Arc<Keyring>,
        edge: Edge,
        local: Local,
        started: UnixMillis,
    ) -> Node {
        let keys = OwnKeys {
            identity_pkcs8: zeroize::Zeroizing::new(keys.identity.pkcs8_der().to_vec()),
            identity_public: keys.identity.public_key_der().to_vec(),
            sealing_public: keys.sealing_public,
        };
        let shared = Shared {
            config,
            keys,
            keyring,
            live,
            edge,
            local,
            started,
            member: arc_swap::ArcSwapOption::empty(),
            turns: Turns::new(),
            changing: Arc::new(Semaphore::new(1)),
            fatal: tokio::sync::watch::Sender::new(None),
        };
        Node { shared: Arc::new(shared) }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.shared.config
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.shared.config.data_dir
    }

    pub(crate) fn keys(&self) -> &OwnKeys {
        &self.shared.keys
    }

    pub(crate) fn keyring(&self) -> &Arc<Keyring> {
        &self.shared.keyring
    }

    pub(crate) fn live(&self) -> &Live {
        &self.shared.live
    }

    pub(crate) fn edge(&self) -> &Edge {
        &self.shared.edge
    }

    pub(crate) fn local(&self) -> &Local {
        &self.shared.local
    }

    /// Turns of callers that change the same object.
    pub(crate) fn turns(&self) -> &Turns {
        &self.shared.turns
    }

    pub(crate) fn started(&self) -> UnixMillis {
        self.shared.started
    }

    /// Why this node must stop, as soon as there is a reason.
    pub(crate) fn fatal(&self) -> tokio::sync::watch::Receiver<Option<String>> {
        self.shared.fatal.subscribe()
    }

    /// The node will stop for this reason.
    pub(crate) fn fail(&self, reason: String) {
        self.shared.fatal.send_replace(Some(reason));
    }

    /// This node as a member, if it is one.
    pub(crate) fn member(&self) -> Option<Arc<Member>> {
        self.shared.member.load_full()
    }

    /// The replica, or the problem that there is none.
    pub(crate) fn replica(&self) -> Result<Replica, Problem> {
        self.member().map(|member| member.replica.clone()).ok_or_else(|| {
            Problem::new(Code::R006, "this node belongs to no cluster yet")
                .hint("conclave cluster init --name NAME    or: conclave cluster join HOST:PORT")
        })
    }

    /// The right to found or join; refused while another does, or once it is a member.
    pub(crate) fn membership_change(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let refused = |name: &str| {
            Problem::new(Code::R007, format!("this node belongs to the cluster {name} already"))
                .hint("conclave status")
        };
        if let Some(member) = self.member() {
            return Err(refused(&member.membership.cluster_name));
        }
        let permit = Arc::clone(&self.shared.changing).try_acquire_owned().map_err(|_| {
            Problem::new(Code::R007, "this node is founding or joining a cluster right now")
        })?;
        match self.member() {
            Some(member) => Err(refused(&member.membership.cluster_name)),
            None => Ok(permit),
        }
    }

    /// Starts Raft and State of a member, and lets callers reach it.
    pub(crate) async fn start_member(&self, membership: &Membership) -> Result<Replica, Problem> {
        let member = self.open_member(membership).await?;
        let replica = member.replica.clone();
        self.publish(member);
        Ok(replica)
    }

    /// Lets callers reach this node as a member.
    pub(crate) fn publish(&self, member: Member) {
        self.shared.member.store(Some(Arc::new(member)));
    }

    /// Starts Raft and State of a member that no caller reaches yet.
    pub(crate) async fn open_member(&self, membership: &Membership) -> Result<Member, Problem> {
        // Before anything of this version is written: version 0.1.0 must not start on it.
        Membership::upgrade(self.data_dir()).map_err(|error| damaged(&error))?;
        let id = NodeId(membership.node);
        let published = Arc::new(Published::default());
        let (old, dir) = (self.data_dir().join("state"), self.data_dir().join("state.v2"));
        let shown = dir.clone();
        let open_published = Arc::clone(&published);
        let (keyring, live) = (Arc::clone(self.keyring()), self.live().clone());
        let applier = tokio::task::spawn_blocking(move || {
            Applier::open(&old, &dir, id, open_published, keyring, live)
        });
        let applier = applier
            .await
            .map_err(|error| internal("cannot open the state", error))?
            .map_err(|error| state_problem(&shown, &error))?;
        let home = applier.home();
        let options = Options {
            dir: self.data_dir().join("raft"),
            bind: self.config().cluster_bind,
            identity: Identity {
                id: conclave_raft::NodeId(id.0),
                cluster: membership.cluster,
                certificate_der: membership.certificate_der.clone(),
                private_key_der: self.keys().identity_pkcs8().to_vec(),
                authority_der: membership.authority_der.clone(),
            },
            incarnation: membership.incarnation,
            entropy: Arc::new(crate::entropy::fill),
            election_timeout: self.config().election_timeout,
            snapshot_every: SNAPSHOT_EVERY,
            keep_log: KEEP_LOG,
        };
        let peers = Arc::new(KnownPeers {
            membership: membership.clone(),
            published: Arc::clone(&published),
        });
        let calls = Arc::new(Answers::default());
        let raft = Raft::start(options, Box::new(applier), peers, calls.clone())
            .await
            .map_err(|error| start_problem(&error))?;
        self.live().follow_settled(raft.settled());
        let reports = Reports::new(
            id,
            self.live().clone(),
            self.edge().clone(),
            Arc::clone(self.keyring()),
            self.started(),
        );
        let replica = Replica::new(
            raft,
            published,
            self.live().clone(),
            Arc::clone(self.keyring()),
            reports,
            self.config().election_timeout,
        );
        calls.set(Admission { replica: replica.clone(), keyring: Arc::clone(self.keyring()) });
        let tasks = vec![
            tokio::spawn(replica.clone().follow_reports()).abort_handle(),
            tokio::spawn(replica.clone().reconcile_members()).abort_handle(),
            tokio::spawn(replica.clone().rotate_session_keys()).abort_handle(),
            tokio::spawn(replica.clone().raise_level()).abort_handle(),
            tokio::spawn(replica.clone().leave_full_disk()).abort_handle(),
            tokio::spawn(replica.clone().claim_main_domain(self.config().main_domain.clone()))
                .abort_handle(),
            tokio::spawn(watch_raft(self.clone(), replica.clone())).abort_handle(),
        ];
        let tasks = MemberTasks(tasks);
        Ok(Member { replica, home, membership: membership.clone(), tasks })
    }

    /// `HOST:PORT` at which other nodes reach this one.
    pub(crate) fn advertised(&self) -> Result<String, Problem> {
        if let Some(address) = &self.config().cluster_advertise {
            return Ok(address.clone());
        }
        let bind = self.config().cluster_bind;
        if !bind.ip().is_unspecified() {
            return Ok(bind.to_string());
        }
        // Nothing is sent: connecting a UDP socket only asks for the route (RFC 5737 address).
        let found = std::net::UdpSocket::bind((bind.ip(), 0)).and_then(|socket| {
            socket.connect(("192.0.2.1", 9))?;
            socket.local_addr()
        });
        match found {
            Ok(local) => Ok(SocketAddr::new(local.ip(), bind.port()).to_string()),
            Err(error) => Err(Problem::new(Code::F001, "[cluster] advertise is not set")
                .detail(format!("no address of this host can be found: {error}"))
                .hint("set [cluster] advertise = \"HOST:PORT\"")),
        }
    }
}

async fn watch_raft(node: Node, replica: Replica) {
    node.fail(replica.raft().stopped().await);
}

/// Why a State cannot be opened, and what to do next.
pub(crate) fn state_problem(dir: &Path, error: &conclave_store_sled::OpenError) -> Problem {
    let problem = state_error_problem(error);
    let detail = problem.detail.clone().unwrap_or_default();
    problem.detail(format!("{}: {detail}", dir.join("db").display()))
}

fn state_error_problem(error: &conclave_store_sled::OpenError) -> Problem {
    if error.is_of_later_version() {
        later_version(error)
    } else if error.is_disk_full() {
        disk_full("the disk of this node has too little room to start").detail(causes(error))
    } else {
        damaged(error)
    }
}

/// Nothing is lost and nothing was changed.
pub(crate) fn disk_full(title: &str) -> Problem {
    Problem::new(Code::F004, title)
        .why("nothing was changed; TLS goes on with what is known")
        .hint("make room on the disk of data_dir: the node goes on by itself, or start it again")
}

/// Nothing is lost, so nothing must be thrown away.
fn later_version(error: &dyn std::error::Error) -> Problem {
    Problem::new(Code::F002, "the data of this node was written by a later version")
        .detail(causes(error))
        .hint("start the version that wrote it, or a later one; the data is whole")
}

/// An error with its causes.
fn causes(error: &dyn std::error::Error) -> String {
    let mut detail = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        detail = format!("{detail}: {error}");
        cause = error.source();
    }
    detail
}

fn damaged(error: &dyn std::error::Error) -> Problem {
    Problem::new(Code::F002, "the data of this node cannot be used")
        .detail(causes(error))
        .why("a node that lost what it had acknowledged must not vote again under its number")
        .hint("move data_dir away and let the node join anew; the other nodes have everything")
}

fn start_problem(error: &StartError) -> Problem {
    match error {
        StartError::Log(log @ LogOpenError::LaterVersion { .. }) => later_version(log),
        StartError::Log(log @ LogOpenError::DiskFull { .. }) => {
            disk_full("the disk of this node has too little room to start").detail(causes(log))
        }
        StartError::Log(log) => damaged(log),
        StartError::Network { bind, .. } => {
            Problem::new(Code::N001, format!("cannot open UDP {bind} for other nodes"))
                .detail(error.to_string())
                .hint("is another node running here? see [cluster] bind")
        }
        other => internal("cannot take part in the cluster", other),
    }
}

/// Who the members are, by State or by introduction.
struct KnownPeers {
    membership: Membership,
    published: Arc<Published>,
}

impl Peers for KnownPeers {
    fn identify(&self, public_key_der: &[u8]) -> Option<conclave_raft::NodeId> {
        self.membership.identify(&self.published.load().state, public_key_der)
    }
}

/// Answers other nodes as soon as the replica stands.
#[derive(Default)]
struct Answers(std::sync::OnceLock<Admission>);

impl Answers {
    fn set(&self, admission: Admission) {
        // Set once, right after the start.
        let _ = self.0.set(admission);
    }
}

impl Calls for Answers {
    fn call(&self, from: conclave_raft::NodeId, request: Vec<u8>) -> BoxFuture<'static, Vec<u8>> {
        let admission = self.0.get().cloned();
        Box::pin(async move {
            match admission {
                Some(admission) => admission.replica.answer(NodeId(from.0), request).await,
                None => Vec::new(),
            }
        })
    }

    fn join(
        &self,
        exporter: [u8; 32],
        _remote: SocketAddr,
        request: Vec<u8>,
    ) -> BoxFuture<'static, Vec<u8>> {
        let admission = self.0.get().cloned();
        Box::pin(async move {
            match admission {
                Some(admission) => admission.answer(exporter, &request).await,
                None => Vec::new(),
            }
        })
    }
}
