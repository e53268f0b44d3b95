//! Start of a node: opens its scopes and its sockets, and starts its member.

use std::{io, net::SocketAddr, path::Path};

use conclave_admin::{health, owners, public};
use conclave_api::problem::{Code, Problem};
use conclave_cluster::{
    fault::{causes, internal},
    life::{self, LeftoverError},
    membership::Membership,
    node::Node,
};
use conclave_mail::Mail;
use conclave_store::{record::LEVEL_MAX, scope::Scope};
use conclave_system::clock;
use tokio::{net::TcpListener, time::timeout};

use super::{attention, limits::LISTENERS_TIMEOUT, mail, parts::Parts, take_over::Predecessor};
use crate::process;

/// Starts a node. Returns it with its LMTP proxy, once it serves and any predecessor has left.
pub(super) async fn start(
    parts: &Parts,
    say: &dyn Fn(&str),
    predecessor: Option<Predecessor>,
) -> Result<(Node, Option<Mail>), Problem> {
    let node = parts.node()?;
    let config = node.config();
    let (version, pid) = (env!("CARGO_PKG_VERSION"), std::process::id());
    say(&format!(
        "conclave {version}  {}  data {}  pid {pid}",
        config.name,
        config.data_dir.display()
    ));
    if let Some(text) = node.lock().exposure() {
        tracing::warn!(event = "keys.exposed", "{text}");
        say(&format!("!  {text}"));
    }
    tokio::spawn(node.live().clone().feed(node.edge().clone()));
    tokio::spawn(node.edge().clone().retry());
    tokio::spawn(attention::watch(node.clone()));
    open_doors(&node, say).await?;
    let mail = mail::open(&node, say)?;
    if let Some(reason) = node.keyring().sealed_reason() {
        say(&format!("  SEALED: {reason}; no private key is served"));
        say(&format!("          {}", node.how_to_unseal()));
    }
    use_earlier_sockets(&node, predecessor, say).await?;
    Ok((node, mail))
}

/// Opens the admin API and the public pages, and starts the member.
async fn open_doors(node: &Node, say: &dyn Fn(&str)) -> Result<(), Problem> {
    let config = node.config();
    let socket = conclave_admin::open_socket(&config.admin_socket).map_err(|error| {
        let path = config.admin_socket.display();
        let code = match error.kind() {
            io::ErrorKind::PermissionDenied => Code::NotAllowed,
            _ => Code::PortUnavailable,
        };
        Problem::new(code, format!("cannot open the admin socket {path}"))
            .detail(error.to_string())
            .hint("[admin] socket in the configuration names another place")
    })?;
    let router = conclave_admin::router(node.clone());
    let mut doors = format!("unix:{}", config.admin_socket.display());
    if let Some(bind) = config.admin_bind {
        let listener = conclave_admin::open_https(bind).await.map_err(|error| {
            Problem::new(Code::PortUnavailable, format!("cannot open {bind} for the admin API"))
                .detail(error.to_string())
        })?;
        let address = listener.local_addr().unwrap_or(bind);
        doors.push_str(&format!(", https://{address}"));
        tokio::spawn(conclave_admin::serve_https(listener, node.clone(), router.clone()));
    }
    say(&format!("  admin    {doors}"));
    let owners = match config.account_bind {
        Some(bind) => {
            let listener = open_http("[account] bind", bind).await?;
            let address = listener.local_addr().unwrap_or(bind);
            say(&format!("  account  {address}, for a listener with --proxy-to v2"));
            Some(listener)
        }
        None => None,
    };
    let public = match config.public_bind {
        Some(bind) => {
            let listener = open_http("[public] bind", bind).await?;
            let address = listener.local_addr().unwrap_or(bind);
            say(&format!("  public   http://{address}/certificates/NAME"));
            Some(listener)
        }
        None => None,
    };
    if let Some(bind) = config.health_bind {
        let listener = open_http("[health] bind", bind).await?;
        let address = listener.local_addr().unwrap_or(bind);
        say(&format!("  health   http://{address}/metrics"));
        // From now on: probes ask before the log is replayed.
        tokio::spawn(health::serve(listener, node.clone()));
    }
    continue_membership(node, say).await?;
    // Start answering only now, so that every answer comes from a complete node. HTTPS needs no
    // such order: it has no certificate before the node is a member.
    tokio::spawn(conclave_admin::serve_socket(socket, router));
    if let Some(owners) = owners {
        tokio::spawn(owners::serve(owners, node.clone()));
    }
    if let Some(public) = public {
        tokio::spawn(public::serve(public, node.clone()));
    }
    Ok(())
}

/// Waits until the listeners have taken the sockets of the earlier process, closes those that are
/// not needed any more, and lets the earlier process leave.
async fn use_earlier_sockets(
    node: &Node,
    predecessor: Option<Predecessor>,
    say: &dyn Fn(&str),
) -> Result<(), Problem> {
    let edge = node.edge();
    if node.member().is_some() && edge.has_adopted() {
        let mut reports = node.live().reports(Scope::Shared);
        let served = reports.wait_for(|report| report.index.0 > 0);
        if timeout(LISTENERS_TIMEOUT, served).await.is_err() {
            let seconds = LISTENERS_TIMEOUT.as_secs();
            return Err(internal("the listeners do not open", format!("not within {seconds} s")));
        }
    }
    let unused = edge.close_unused();
    if unused > 0 {
        tracing::info!(event = "listener.unused_closed", unused);
    }
    if let Some(predecessor) = predecessor {
        let replacing = tokio::task::spawn_blocking(move || predecessor.replace());
        replacing.await.map_err(|error| internal("the take-over failed", error))?;
        say("  taken over: the earlier process finishes its connections");
        process::notify_main();
    }
    edge.read_datagrams();
    Ok(())
}

/// Opens the TCP port of a listener that speaks plain HTTP.
async fn open_http(setting: &str, bind: SocketAddr) -> Result<TcpListener, Problem> {
    let cannot = |error: io::Error| {
        let problem = if error.kind() == io::ErrorKind::PermissionDenied {
            Problem::new(Code::PortForbidden, format!("not allowed to open port {}", bind.port()))
                .hint("sudo setcap cap_net_bind_service=+ep $(command -v conclave)")
        } else {
            Problem::new(Code::PortUnavailable, format!("cannot open {bind} for {setting}"))
                .hint(format!("{setting} in the configuration names another address"))
        };
        problem.detail(error.to_string())
    };
    TcpListener::bind(bind).await.map_err(cannot)
}

/// Starts the member if there is a membership on disk. Puts the leftovers of an unfinished founding
/// aside.
async fn continue_membership(node: &Node, say: &dyn Fn(&str)) -> Result<(), Problem> {
    let data_dir = node.data_dir();
    let membership = Membership::read(data_dir)
        .map_err(|error| Problem::new(Code::DataUnusable, error.to_string()))?;
    match membership {
        Some(membership) if !membership.founding => {
            let replica = life::start(node, &membership).await?;
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
                Some(_) => life::abandon(node)?,
                None => put_leftovers_aside(data_dir)?,
            }
            // A member raises it together with its cluster.
            node.local().raise_level(clock::now(), LEVEL_MAX).map_err(|error| {
                Problem::new(Code::DataUnusable, "cannot use the local scope")
                    .detail(error.to_string())
                    .hint("make room on the disk of data_dir")
            })?;
            say("  cluster  none yet: conclave cluster init --name NAME, or cluster join");
        }
    }
    Ok(())
}

/// Puts cluster data without a membership file aside. Fails if the data is a whole cluster: then
/// the file was lost, not the founding.
fn put_leftovers_aside(data_dir: &Path) -> Result<(), Problem> {
    let abandoned = life::abandon_unknown(data_dir, clock::now()).map_err(|error| {
        let hint = match error {
            LeftoverError::HoldsCluster { .. } => {
                "restore membership.json    or, while the other nodes decide, move data_dir away and let \
                 this node join with --replace NAME; otherwise: conclave explain recover"
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
