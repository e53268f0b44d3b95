//! The parts of a node that serve TLS. They outlive its member, so that a node whose successor
//! fails starts again without closing a socket.

use std::{os::unix::fs::DirBuilderExt, sync::Arc};

use conclave_admin::limits::{
    ADMIN_CONNECTIONS_MAX, HEALTH_CONNECTIONS_MAX, OWNER_CONNECTIONS_MAX, PUBLIC_CONNECTIONS_MAX,
};
use conclave_api::problem::{Code, Problem};
use conclave_cluster::{
    config::{Config, setting_problem},
    fault::{causes, internal, state_problem},
    local::{Local, LocalError},
    node::{Node, OwnKeys},
};
use conclave_edge::{
    live::{Live, TestCertificate},
    socket::{self, Edge, EdgeOptions},
};
use conclave_keys::{IdentityError, Keyring, Lock, NodeKeys};
use conclave_store::{
    command::{Action, Command, CreateDomain},
    id::{DomainId, NodeId},
    record::PkiMode,
};
use conclave_system::{clock, entropy, files};

use super::reload;
use crate::process;

/// What serves TLS: keys, the live index and the sockets.
pub(super) struct Parts {
    pub(super) config: Config,
    pub(super) edge: Edge,
    keys: Arc<OwnKeys>,
    keyring: Arc<Keyring>,
    lock: Arc<Lock>,
    live: Live,
}

impl Parts {
    /// Makes the parts. Opens no socket and no database.
    pub(super) fn make(config: &Config) -> Result<Parts, Problem> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&config.data_dir)
            .map_err(|error| data_problem(config, "the directory", &error))?;
        if let Some(mode) = files::rights_of_others(&config.data_dir) {
            let path = config.data_dir.display();
            tracing::warn!(
                event = "data.exposed",
                "other users can enter {path} (mode {mode:o}): chmod 700 {path}"
            );
        }
        // Before any database is opened: without the guard sled does not sync its files.
        conclave_disk::guard::self_check()
            .map_err(|error| internal("cannot start safely", error))?;
        let mut keys =
            NodeKeys::open(&config.data_dir, &config.unlock).map_err(|error| match error {
                IdentityError::Unlock(error) => setting_problem("[keyring] unlock", error),
                error => data_problem(config, "the keys of this node", &causes(&error)),
            })?;
        let test = TestCertificate::make(&config.main_domain, clock::now())
            .map_err(|error| internal("cannot make the test certificate", error))?;
        let unlocked = std::mem::replace(&mut keys.unlocked, Err(String::new()));
        let keyring = Arc::new(Keyring::new(unlocked, keys.local_scope));
        let limits = reload::limits(config);
        let live = Live::new(Arc::clone(&keyring), test, config.main_domain.clone(), limits);
        let http = [
            config.admin_bind.map(|_| ADMIN_CONNECTIONS_MAX),
            config.public_bind.map(|_| PUBLIC_CONNECTIONS_MAX),
            config.account_bind.map(|_| OWNER_CONNECTIONS_MAX),
            config.health_bind.map(|_| HEALTH_CONNECTIONS_MAX),
        ];
        let http = http.into_iter().flatten().sum();
        let options = EdgeOptions {
            addresses: config.addresses.clone(),
            upstreams: socket::Allowed {
                forbidden: config.admin_bind.into_iter().collect(),
                unix: config.upstream_unix.clone(),
                admin_socket: config.admin_socket.clone(),
            },
            handshake_timeout: socket::limits::HANDSHAKE_TIMEOUT,
            datagram_idle: config.dtls_idle_timeout,
            descriptors_max: socket::limits::descriptors_max(process::raise_descriptors(), http),
        };
        let edge = Edge::new(live.clone(), options)
            .map_err(|error| internal("cannot start the threads for connections", error))?;
        edge.set_access_log(config.log.access.clone());
        let own = Arc::new(OwnKeys::of(&keys));
        let lock = Arc::new(keys.lock);
        Ok(Parts { config: config.clone(), edge, keys: own, keyring, lock, live })
    }

    /// Opens the local scope and makes a node of it and these parts.
    pub(super) fn node(&self) -> Result<Node, Problem> {
        let (config, now) = (&self.config, clock::now());
        let (old, dir) = (config.data_dir.join("local"), config.data_dir.join("local.v2"));
        let local = Local::open(&old, &dir, self.live.clone()).map_err(|error| {
            match error.is_of_later_version() || error.is_disk_full() {
                true => state_problem(&dir, &error),
                false if error.is_in_use() => {
                    data_problem(config, "the local scope", &causes(&error)).hint(
                        "one data_dir is for one node: stop the other process, or change data_dir",
                    )
                }
                false => {
                    let what = format!("the local scope in {}", dir.join("db").display());
                    data_problem(config, &what, &causes(&error))
                }
            }
        })?;
        make_main_domain(config, &local)
            .map_err(|error| data_problem(config, "the Main Domain", &error))?;
        Ok(Node::new(
            config.clone(),
            Arc::clone(&self.keys),
            self.live.clone(),
            (Arc::clone(&self.keyring), Arc::clone(&self.lock)),
            self.edge.clone(),
            local,
            now,
        ))
    }
}

fn data_problem(config: &Config, what: &str, error: &dyn std::fmt::Display) -> Problem {
    Problem::new(Code::DataUnusable, format!("cannot use {}", config.data_dir.display()))
        .detail(format!("{what}: {error}"))
        .hint("the directory must belong to this user, and its disk must have room")
}

/// Creates the Main Domain if it does not exist. It is local, and in test mode until it gets a
/// certificate.
fn make_main_domain(config: &Config, local: &Local) -> Result<(), LocalError> {
    if local.point().state.domain(&config.main_domain).is_some() {
        return Ok(());
    }
    let id = DomainId(entropy::array());
    let action = Action::CreateDomain(CreateDomain {
        id,
        name: config.main_domain.clone(),
        aliases: Vec::new(),
        addresses: Vec::new(),
        mode: PkiMode::Test,
    });
    let reason = Some("the Main Domain of this node".to_owned());
    let command = Command::by_node(NodeId(0), entropy::array(), clock::now(), action);
    let command = Command { reason, ..command };
    local.apply(&command).map(|_| ())
}
