//! Start and stop of a node: reads the configuration, assembles the node, opens its sockets and
//! waits for a signal.

mod attention;
mod reload;

use std::{io, net::SocketAddr, os::unix::fs::DirBuilderExt, path::Path, sync::Arc};

use conclave_api::problem::{Code, Problem};
use conclave_edge::{
    live::{Live, TestCertificate},
    socket::{self, Edge, EdgeOptions},
};
use conclave_keys::{Keyring, NodeKeys};
use conclave_store::{
    command::{Action, Command, CreateDomain},
    id::{DomainId, NodeId},
    record::PkiMode,
};
use conclave_system::{clock, entropy};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use reload::Reload;

use crate::{
    admin,
    cluster::{self, LeftoverError},
    config::Config,
    fault::{causes, internal, state_problem},
    local::{Local, LocalError},
    membership::Membership,
    node::Node,
    observe::log,
    process, public,
};

/// Runs a node until a signal or a fatal error stops it. `say` receives the lines for the terminal.
pub(crate) fn run(path: &Path, say: &dyn Fn(&str)) -> Result<(), Problem> {
    let started = std::time::Instant::now();
    let config = Config::read(path)?;
    config.check_machine()?;
    let addresses = config.check_addresses();
    let log_level = log::start(&config.log_level, config.log_json)?;
    if let Err(problem) = addresses {
        tracing::warn!(event = "config.address_missing", "{}", problem.title);
    }
    process::harden();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| internal("cannot start", error))?;
    runtime.block_on(async {
        // Before anything else: by default the signal would end the process.
        let hangup =
            signal(SignalKind::hangup()).map_err(|error| internal("cannot take signals", error))?;
        let node = assemble(&config)?;
        let reload = Reload::new(path.to_owned(), log_level, hangup);
        serve(node, say, started, reload).await
    })
}

/// Assembles a node without opening its sockets.
pub(crate) fn assemble(config: &Config) -> Result<Node, Problem> {
    let data_problem = |what: &str, error: &dyn std::fmt::Display| {
        Problem::new(Code::DataUnusable, format!("cannot use {}", config.data_dir.display()))
            .detail(format!("{what}: {error}"))
            .hint("the directory must belong to this user, and its disk must have room")
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.data_dir)
        .map_err(|error| data_problem("the directory", &error))?;
    // Before any database is opened: without the guard sled does not sync its files.
    conclave_disk::guard::self_check().map_err(|error| internal("cannot start safely", error))?;
    let mut keys = NodeKeys::open(&config.data_dir, &config.unlock_file)
        .map_err(|error| data_problem("the keys of this node", &causes(&error)))?;
    let now = clock::now();
    let test = TestCertificate::make(&config.main_domain, now)
        .map_err(|error| internal("cannot make the test certificate", error))?;
    let unlocked = std::mem::replace(&mut keys.unlocked, Err(String::new()));
    let keyring = Arc::new(Keyring::new(unlocked, keys.local_scope));
    let limits = reload::limits(config);
    let live = Live::new(Arc::clone(&keyring), test, config.main_domain.clone(), limits);
    let edge = Edge::new(
        live.clone(),
        EdgeOptions {
            addresses: config.addresses.clone(),
            upstreams: socket::Allowed {
                forbidden: config.admin_bind.into_iter().collect(),
                unix: config.upstream_unix.clone(),
                admin_socket: config.admin_socket.clone(),
            },
            handshake_timeout: socket::limits::HANDSHAKE_TIMEOUT,
            datagram_idle: config.dtls_idle_timeout,
            descriptors_max: socket::limits::descriptors_max(process::raise_descriptors()),
        },
    )
    .map_err(|error| internal("cannot start the threads for connections", error))?;
    let (old, dir) = (config.data_dir.join("local"), config.data_dir.join("local.v2"));
    let local = Local::open(&old, &dir, live.clone()).map_err(|error| {
        match error.is_of_later_version() || error.is_disk_full() {
            true => state_problem(&dir, &error),
            false if error.is_in_use() => data_problem("the local scope", &causes(&error))
                .hint("one data_dir is for one node: stop the other process, or change data_dir"),
            false => {
                let what = format!("the local scope in {}", dir.join("db").display());
                data_problem(&what, &causes(&error))
            }
        }
    })?;
    local.raise_level(now).map_err(|error| data_problem("the local scope", &error))?;
    make_main_domain(config, &local).map_err(|error| data_problem("the Main Domain", &error))?;
    Ok(Node::new(config.clone(), keys, live, keyring, edge, local, now))
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

async fn serve(
    node: Node,
    say: &dyn Fn(&str),
    started: std::time::Instant,
    reload: Reload,
) -> Result<(), Problem> {
    let config = node.config().clone();
    let (version, pid) = (env!("CARGO_PKG_VERSION"), std::process::id());
    say(&format!(
        "conclave {version}  {}  data {}  pid {pid}",
        config.name,
        config.data_dir.display()
    ));
    if let Some(text) = conclave_keys::exposure(&config.unlock_file) {
        tracing::warn!(event = "keys.exposed", "{text}");
        say(&format!("!  {text}"));
    }
    let mut fatal = node.fatal();
    tokio::spawn(node.live().clone().feed(node.edge().clone()));
    tokio::spawn(node.edge().clone().retry());
    tokio::spawn(attention::watch(node.clone()));
    let socket = admin::open_socket(&config.admin_socket).map_err(|error| {
        let path = config.admin_socket.display();
        let code = match error.kind() {
            io::ErrorKind::PermissionDenied => Code::NotAllowed,
            _ => Code::PortUnavailable,
        };
        Problem::new(code, format!("cannot open the admin socket {path}"))
            .detail(error.to_string())
            .hint("[admin] socket in the configuration names another place")
    })?;
    let router = admin::router(node.clone());
    let mut doors = format!("unix:{}", config.admin_socket.display());
    if let Some(bind) = config.admin_bind {
        let listener = admin::open_https(bind).await.map_err(|error| {
            Problem::new(Code::PortUnavailable, format!("cannot open {bind} for the admin API"))
                .detail(error.to_string())
        })?;
        let address = listener.local_addr().unwrap_or(bind);
        doors.push_str(&format!(", https://{address}"));
        tokio::spawn(admin::serve_https(listener, node.clone(), router.clone()));
    }
    say(&format!("  admin    {doors}"));
    let public = match config.public_bind {
        Some(bind) => Some(open_public(bind, say).await?),
        None => None,
    };
    continue_membership(&node, say).await?;
    // Start answering only now, so that every answer comes from a complete node. HTTPS needs no
    // such order: it has no certificate before the node is a member.
    tokio::spawn(admin::serve_socket(socket, router));
    if let Some(public) = public {
        tokio::spawn(public::serve(public, node.clone()));
    }
    if let Some(reason) = node.keyring().sealed_reason() {
        say(&format!("  SEALED: {reason}; no private key is served"));
    }
    say(&format!("ready after {:.1} s", started.elapsed().as_secs_f64()));
    process::notify_ready();
    tokio::spawn(reload.run(node.clone(), config.clone()));
    tokio::select! {
        reason = stop_signal() => {
            tracing::info!(event = "node.stopping", reason);
            stop(&node).await
        }
        Ok(reason) = async { fatal.wait_for(Option::is_some).await.map(|reason| reason.clone()) } => {
            let reason = reason.unwrap_or_default();
            Err(Problem::new(Code::DataUnusable, "this node cannot go on").detail(reason)
                .hint("look at its disk and its log; the other nodes go on"))
        }
    }
}

/// Opens the TCP port of the public certificate pages.
async fn open_public(bind: SocketAddr, say: &dyn Fn(&str)) -> Result<TcpListener, Problem> {
    let cannot = |error: io::Error| {
        let problem = if error.kind() == io::ErrorKind::PermissionDenied {
            Problem::new(Code::PortForbidden, format!("not allowed to open port {}", bind.port()))
                .hint("sudo setcap cap_net_bind_service=+ep $(command -v conclave)")
        } else {
            Problem::new(Code::PortUnavailable, format!("cannot open {bind} for the public pages"))
                .hint("[public] bind in the configuration names another address")
        };
        problem.detail(error.to_string())
    };
    let listener = TcpListener::bind(bind).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    say(&format!("  public   http://{address}/certificates/NAME"));
    Ok(listener)
}

/// Starts the member if there is a membership on disk. Puts the leftovers of an unfinished founding
/// aside.
async fn continue_membership(node: &Node, say: &dyn Fn(&str)) -> Result<(), Problem> {
    let data_dir = node.data_dir();
    let membership = Membership::read(data_dir)
        .map_err(|error| Problem::new(Code::DataUnusable, error.to_string()))?;
    match membership {
        Some(membership) if !membership.founding => {
            let replica = cluster::start(node, &membership).await?;
            let address = replica.raft().local_address();
            let address = address.map_or_else(|_| "-".to_owned(), |address| address.to_string());
            let point = replica.point();
            let members = point.state.members();
            let names: Vec<String> = members.map(|(_, member)| member.name.to_string()).collect();
            let name = &membership.cluster_name;
            say(&format!("  cluster  {name}  quic {address}  members {}", names.join(" ")));
        }
        found => {
            match found {
                Some(_) => cluster::abandon(node)?,
                None => put_leftovers_aside(data_dir)?,
            }
            say("  cluster  none yet: conclave cluster init --name NAME, or cluster join");
        }
    }
    Ok(())
}

/// Puts cluster data without a membership file aside. Fails if the data is a whole cluster: then
/// the file was lost, not the founding.
fn put_leftovers_aside(data_dir: &Path) -> Result<(), Problem> {
    let abandoned = cluster::abandon_unknown(data_dir, clock::now()).map_err(|error| {
        let hint = match error {
            LeftoverError::HoldsCluster { .. } => {
                "restore membership.json    or move data_dir away and let the node join anew"
            }
            _ => "move data_dir away, if nothing in it is needed",
        };
        Problem::new(Code::DataUnusable, "this node knows of no cluster, but has data of one")
            .detail(causes(&error))
            .hint(hint)
    })?;
    for path in abandoned {
        tracing::warn!(event = "founding.abandoned", path = %path.display());
    }
    Ok(())
}

async fn stop_signal() -> &'static str {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

async fn stop(node: &Node) -> Result<(), Problem> {
    process::notify_stopping();
    node.edge().shutdown(socket::limits::STOP_TIMEOUT).await;
    if let Some(member) = node.member() {
        member.replica.hand_over().await;
        member.stop().await.map_err(|error| internal("the log did not stop cleanly", error))?;
    }
    // Saves the next start the check whether another process answers on it.
    let _ = std::fs::remove_file(&node.config().admin_socket);
    Ok(())
}
