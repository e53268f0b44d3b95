//! Sockets: open, accept, never spin, and close without losing whoever waits.

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
    record::{Listener, ListenerProtocol, Network, ProxyVersion},
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
    limits::{self, ACCEPT_PAUSE, BACKLOG, CONNECTION_DESCRIPTORS, Full, PATIENCE, Place},
    outgoing::Remote,
    upstream::Allowed,
    workers::{Connections, Worker},
};
use crate::tls::Door;

/// What a connection must know of its listener.
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
        allowed: &Allowed,
        counters: Arc<ListenerCounters>,
    ) -> Result<Accepting, UpstreamError> {
        let of_domain = |(name, texts): (&DomainName, &Vec<String>)| {
            Ok((name.clone(), Upstreams::parse(texts, allowed)?))
        };
        Ok(Accepting {
            name: listener.name.clone(),
            door: Arc::new(Door::of(listener)),
            protocol: listener.protocol,
            requires_tls: listener.requires_tls,
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

    /// A listener whose upstreams are refused here: it never opens.
    pub(crate) fn nowhere(listener: &Listener, counters: Arc<ListenerCounters>) -> Accepting {
        Accepting {
            name: listener.name.clone(),
            door: Arc::new(Door::of(listener)),
            protocol: listener.protocol,
            requires_tls: listener.requires_tls,
            outgoing: None,
            upstreams: Upstreams::default(),
            domain_upstreams: BTreeMap::new(),
            proxy_from: Vec::new(),
            proxy_to: None,
            counters,
        }
    }

    /// Whether there is any upstream.
    pub(crate) fn is_possible(&self) -> bool {
        !self.upstreams.is_empty()
    }

    /// Where bytes for this domain go.
    pub(crate) fn upstreams(&self, domain: &DomainName) -> &Upstreams {
        self.domain_upstreams.get(domain).unwrap_or(&self.upstreams)
    }

    /// Whether a peer must send a PROXY header.
    pub(crate) fn is_proxy(&self, peer: IpAddr) -> bool {
        self.proxy_from.iter().any(|network| network.contains(peer))
    }
}

/// Open sockets of one address, one for each thread.
pub(crate) struct Open {
    pub(super) tasks: Vec<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Open {
    /// Accepts whoever waits already, then closes.
    pub(crate) async fn close(self) {
        for (open, task) in self.tasks {
            drop(open);
            // A task that failed has closed its socket as well.
            let _ = task.await;
        }
    }
}

/// What kind of socket clients of this protocol come to.
pub(crate) fn socket_type(protocol: ListenerProtocol) -> SocketType {
    if protocol.is_datagram() { SocketType::DGRAM } else { SocketType::STREAM }
}

/// Whether an address can be opened: nobody else listens there.
pub(crate) fn check(kind: SocketType, address: SocketAddr) -> io::Result<()> {
    bind(kind, address, false).map(|_| ())
}

/// A socket that is bound, alone or shared among the threads.
pub(super) fn bind(kind: SocketType, address: SocketAddr, is_shared: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = net::socket_with(family, kind, flags, None)?;
    // For TCP: connections that are over do not hold the address. For UDP it would share it.
    sockopt::set_socket_reuseaddr(&socket, kind == SocketType::STREAM)?;
    sockopt::set_socket_reuseport(&socket, is_shared)?;
    if address.is_ipv6() {
        // An unspecified IPv6 address means IPv4 too.
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    net::bind(&socket, &address)?;
    Ok(socket)
}

/// Opens a socket for each thread; the system shares connections out among them.
pub(crate) fn open(
    edge: &Edge,
    workers: &[Worker],
    address: SocketAddr,
    accepting: &Arc<ArcSwap<Accepting>>,
) -> io::Result<Open> {
    // Sockets that share an address would share it with a stranger's too: ask alone first.
    check(SocketType::STREAM, address)?;
    let listen = |_: &Worker| {
        let socket = bind(SocketType::STREAM, address, true)?;
        // Accepted sockets inherit these.
        sockopt::set_tcp_nodelay(&socket, true)?;
        let stall = u32::try_from(PATIENCE.stall.as_millis()).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(&socket, stall)?;
        net::listen(&socket, BACKLOG)?;
        Ok(std::net::TcpListener::from(socket))
    };
    let sockets = workers.iter().map(listen).collect::<io::Result<Vec<_>>>()?;
    let accept = |(worker, socket): (&Worker, std::net::TcpListener)| {
        let (open, closing) = oneshot::channel();
        let accept = Accept {
            edge: edge.clone(),
            accepting: Arc::clone(accepting),
            connections: Arc::clone(&worker.connections),
        };
        (open, worker.handle.spawn(accept.run(socket, closing)))
    };
    Ok(Open { tasks: workers.iter().zip(sockets).map(accept).collect() })
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
                accepting.counters.failures.count(full.word());
                let listener = &accepting.name;
                tracing::debug!(event = "tls.no_place", %listener, %remote, ?full);
                // At once, and leaving nothing behind: there may be many of them.
                let _ = sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
                return;
            }
        };
        let edge = self.edge.clone();
        self.connections.spawn(limits::network(remote.ip()), |entry| async move {
            edge.connection(stream, remote, &accepting, place, &entry).await;
        });
    }

    /// A place; if there is none, that of somebody who has not made use of it.
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
            accepting.counters.failures.count("displaced");
            // Once around, so that what was ended gives its place back.
            tokio::task::yield_now().await;
            is_last = true;
        }
    }

    /// Descriptors or memory are used up. The oldest that does nothing makes room, and others
    /// have time to end.
    async fn pause(&self, error: &io::Error) {
        let accepting = self.accepting.load();
        if self.connections.displace(None) {
            accepting.counters.failures.count("displaced");
        }
        let listener = &accepting.name;
        tracing::warn!(event = "listener.accept_failed", %listener, %error);
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
