//! A node: what it is made of, and its part in a cluster once it has one.

use std::{net::SocketAddr, path::Path, sync::Arc};

use conclave_api::problem::{Code, Problem};
use conclave_edge::{live::Live, socket::Edge};
use conclave_keys::{Keyring, NodeKeys};
use conclave_store::time::UnixMillis;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{config::Config, local::Local, member::Member, replica::Replica, turns::Turns};

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

    /// Lets callers reach this node as a member.
    pub(crate) fn publish(&self, member: Member) {
        self.shared.member.store(Some(Arc::new(member)));
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
