//! TCP listening sockets: bind, accept, back off on errors, and close without losing the backlog.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use arc_swap::ArcSwap;
use conclave_store::{
    id::{DomainName, ListenerName},
    record::{Listener, ListenerPolicy, ListenerProtocol, Network, ProxyVersion},
};
use futures::FutureExt;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

use super::{
    Edge, UpstreamError,
    connect::Upstreams,
    counters::ListenerCounters,
    failure::Failure,
    limits::{self, ACCEPT_PAUSE, BACKLOG, CONNECTION_DESCRIPTORS, Full, PATIENCE, Place},
    outgoing::Remote,
    upstream::Allowed,
    workers::{Connections, Worker},
};
use crate::tls::Door;

/// The parameters of a listener that its connections depend on.
pub(crate) struct Accepting {
    pub(crate) name: ListenerName,
    pub(crate) door: Arc<Door>,
    pub(crate) protocol: ListenerProtocol,
    pub(crate) requires_tls: bool,
    pub(crate) outgoing: Option<Remote>,
    pub(crate) upstreams: Upstreams,
    pub(crate) domain_upstreams: BTreeMap<DomainName, Upstreams>,
    pub(crate) proxy_from: Vec<Network>,
    pub(crate) proxy_to: Option<ProxyVersion>,
    pub(crate) counters: Arc<ListenerCounters>,
}

impl Accepting {
    pub(crate) fn new(
        listener: &Listener,
        policy: ListenerPolicy,
        allowed: &Allowed,
        counters: Arc<ListenerCounters>,
    ) -> Result<Accepting, UpstreamError> {
        let of_domain = |(name, texts): (&DomainName, &Vec<String>)| {
            Ok((name.clone(), Upstreams::parse(texts, allowed)?))
        };
        Ok(Accepting {
            name: listener.name.clone(),
            door: Arc::new(Door::of(listener, policy)),
            protocol: listener.protocol,
            requires_tls: requires_tls(listener, policy),
            outgoing: Remote::of(listener),
            upstreams: Upstreams::parse(&listener.upstreams, allowed)?,
            domain_upstreams: listener
                .domain_upstreams
                .iter()
                .map(of_domain)
                .collect::<Result<_, _>>()?,
            proxy_from: listener.proxy_from.clone(),
            proxy_to: listener.proxy_to,
            counters,
        })
    }

    /// Makes a listener without upstreams, for forbidden ones. It is never opened.
    pub(crate) fn nowhere(
        listener: &Listener,
        policy: ListenerPolicy,
        counters: Arc<ListenerCounters>,
    ) -> Accepting {
        Accepting {
            name: listener.name.clone(),
            door: Arc::new(Door::of(listener, policy)),
            protocol: listener.protocol,
            requires_tls: requires_tls(listener, policy),
            outgoing: None,
            upstreams: Upstreams::default(),
            domain_upstreams: BTreeMap::new(),
            proxy_from: Vec::new(),
            proxy_to: None,
            counters,
        }
    }

    /// Returns whether there are any upstreams.
    pub(crate) fn is_possible(&self) -> bool {
        !self.upstreams.is_empty()
    }

    /// Returns the upstreams for a domain.
    pub(crate) fn upstreams(&self, domain: &DomainName) -> &Upstreams {
        self.domain_upstreams.get(domain).unwrap_or(&self.upstreams)
    }

    /// Returns whether a peer must send a PROXY header.
    pub(crate) fn is_proxy(&self, peer: IpAddr) -> bool {
        self.proxy_from.iter().any(|network| network.contains(peer))
    }
}

/// Returns whether nobody goes on without TLS. Without TLS a client shows no certificate.
fn requires_tls(listener: &Listener, policy: ListenerPolicy) -> bool {
    listener.requires_tls || policy.requires_client_certificate
}

/// Open sockets of one address, one for each thread.
pub(crate) struct Open {
    pub(super) tasks: Vec<(oneshot::Sender<()>, JoinHandle<()>)>,
    /// Duplicates of the sockets, for the next process.
    pub(super) sockets: Vec<OwnedFd>,
}

impl Open {
    /// Accepts the connections in the backlog, then closes.
    pub(crate) async fn close(self) {
        drop(self.sockets);
        for (open, task) in self.tasks {
            drop(open);
            // A failed task has dropped its socket.
            let _ = task.await;
        }
    }
}

/// Returns the socket type of a protocol.
pub(crate) fn socket_type(protocol: ListenerProtocol) -> SocketType {
    if protocol.is_datagram() { SocketType::DGRAM } else { SocketType::STREAM }
}

/// Binds an address exclusively for a moment, to check that no other process uses it.
pub(crate) fn check(kind: SocketType, address: SocketAddr) -> io::Result<()> {
    bind(kind, address, false).map(|_| ())
}

/// Binds a socket. A shared one has `SO_REUSEPORT`, for one socket per thread on the same address.
pub(super) fn bind(kind: SocketType, address: SocketAddr, is_shared: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = net::socket_with(family, kind, flags, None)?;
    // On TCP this ignores old connections in TIME_WAIT. On UDP it would share the address.
    sockopt::set_socket_reuseaddr(&socket, kind == SocketType::STREAM)?;
    sockopt::set_socket_reuseport(&socket, is_shared)?;
    if address.is_ipv6() {
        // Accept IPv4 on the unspecified IPv6 address too.
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    net::bind(&socket, &address)?;
    Ok(socket)
}

/// Opens a socket for each thread. The kernel distributes the connections among them.
pub(crate) fn open(
    edge: &Edge,
    workers: &[Worker],
    address: SocketAddr,
    accepting: &Arc<ArcSwap<Accepting>>,
) -> io::Result<Open> {
    let listen = || {
        let socket = bind(SocketType::STREAM, address, true)?;
        // Accepted sockets inherit these options.
        sockopt::set_tcp_nodelay(&socket, true)?;
        let stall = u32::try_from(PATIENCE.stall.as_millis()).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(&socket, stall)?;
        net::listen(&socket, BACKLOG)?;
        Ok(socket)
    };
    let sockets = edge.sockets_for_workers(SocketType::STREAM, address, listen)?;
    let duplicates = sockets.iter().map(OwnedFd::try_clone).collect::<io::Result<_>>()?;
    let accept = |(worker, socket): (&Worker, OwnedFd)| {
        let (open, closing) = oneshot::channel();
        let accept = Accept {
            edge: edge.clone(),
            accepting: Arc::clone(accepting),
            connections: Arc::clone(&worker.connections),
        };
        (open, worker.handle.spawn(accept.run(socket.into(), closing)))
    };
    Ok(Open {
        tasks: workers.iter().cycle().zip(sockets).map(accept).collect(),
        sockets: duplicates,
    })
}

struct Accept {
    edge: Edge,
    accepting: Arc<ArcSwap<Accepting>>,
    connections: Arc<Connections>,
}

impl Accept {
    async fn run(self, socket: std::net::TcpListener, mut closing: oneshot::Receiver<()>) {
        let socket = match TcpListener::from_std(socket) {
            Ok(socket) => socket,
            Err(error) => {
                let listener = &self.accepting.load().name;
                tracing::error!(event = "listener.lost", %listener, %error);
                return;
            }
        };
        loop {
            let accepted = tokio::select! {
                biased;
                _ = &mut closing => break,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, remote)) => self.admit(stream, remote).await,
                Err(error) => self.pause(&error).await,
            }
        }
        while let Some(Ok((stream, remote))) = socket.accept().now_or_never() {
            self.admit(stream, remote).await;
        }
    }

    async fn admit(&self, stream: TcpStream, remote: SocketAddr) {
        let accepting = self.accepting.load_full();
        accepting.counters.connections.fetch_add(1, Relaxed);
        let is_proxy = accepting.is_proxy(remote.ip());
        let counted = (!is_proxy).then(|| remote.ip());
        let place = match self.place(counted, &accepting).await {
            Ok(place) => place,
            Err(full) => {
                accepting.counters.failures.count(full);
                let listener = &accepting.name;
                self.edge.shared.access.refused(listener, remote, full.into());
                tracing::debug!(event = "tls.no_place", %listener, %remote, ?full);
                // Reset at once. It costs least and leaves no TIME_WAIT state, and there may be
                // many of these.
                let _ = sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
                return;
            }
        };
        let edge = self.edge.clone();
        let recorded = edge.shared.access.begin(&accepting.name, remote);
        let network = limits::network(remote.ip());
        self.connections.spawn(network, recorded.clone(), |entry| async move {
            edge.connection(stream, remote, &accepting, place, recorded, &entry).await;
        });
    }

    /// Takes a place. If there is none, displaces an unused connection and tries once more.
    async fn place(&self, address: Option<IpAddr>, accepting: &Accepting) -> Result<Place, Full> {
        let mut is_last = false;
        loop {
            let full = match self.edge.places().take(address, CONNECTION_DESCRIPTORS) {
                Ok(place) => return Ok(place),
                Err(full) => full,
            };
            let of = match full {
                Full::Node => None,
                Full::Address => address.map(limits::network),
            };
            if is_last || !self.connections.displace(of) {
                return Err(full);
            }
            accepting.counters.failures.count(Failure::Displaced);
            // Yield once, so that the displaced task is dropped and returns its place.
            tokio::task::yield_now().await;
            is_last = true;
        }
    }

    /// Pauses after a failed accept: descriptors or memory are exhausted. Also displaces the oldest
    /// unused connection.
    async fn pause(&self, error: &io::Error) {
        let accepting = self.accepting.load();
        if self.connections.displace(None) {
            accepting.counters.failures.count(Failure::Displaced);
        }
        let listener = &accepting.name;
        tracing::warn!(event = "listener.accept_failed", %listener, %error);
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
