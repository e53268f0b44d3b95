//! UDP sockets for DTLS. A ClientHello goes to the stateless cookie check, every other datagram to
//! the session of its address pair.

mod aged;
mod association;
mod forward;
mod keys;
mod socket;
mod table;

use std::{
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use arc_swap::ArcSwap;
use conclave_dtls::{Answer, Assembly, ClientHello, Ignored, is_client_hello};
use conclave_store::record::TlsLogLevel;
use rustix::net::SocketType;
use tokio::sync::oneshot;

use super::{
    Edge,
    failure::Failure,
    handshake::say,
    limits::{
        self, ACCEPT_PAUSE, ASSEMBLIES_MAX, ASSEMBLY_VALID, Full, Place, SESSION_DESCRIPTORS,
        datagram_handshakes_max,
    },
    listener::{self, Accepting, Open},
    workers::{Connections, Worker},
};
use aged::Aged;
use association::Association;
use keys::Doorkeeper;
use socket::{Pair, Socket};
use table::Table;

/// Opens a socket for each thread. The kernel delivers all datagrams of a client to the same one.
pub(super) fn open(
    edge: &Edge,
    workers: &[Worker],
    address: SocketAddr,
    accepting: &Arc<ArcSwap<Accepting>>,
) -> io::Result<Open> {
    let bind = || listener::bind(SocketType::DGRAM, address, true);
    let sockets = edge.sockets_for_workers(SocketType::DGRAM, address, bind)?;
    let duplicates = sockets.iter().map(OwnedFd::try_clone).collect::<io::Result<_>>()?;
    let receive = |(worker, socket): (&Worker, OwnedFd)| {
        // `UdpSocket::from_std` registers with the current runtime, which must be the worker's.
        let _runtime = worker.handle.enter();
        let receive = Receive {
            edge: edge.clone(),
            accepting: Arc::clone(accepting),
            sessions: Arc::clone(&worker.sessions),
            connections: Arc::clone(&worker.connections),
            socket: Arc::new(Socket::new(socket.into())?),
            table: Table::new(),
            doorkeeper: Doorkeeper::new(edge.shared.live.clone()),
            assemblies: Aged::new(ASSEMBLIES_MAX, ASSEMBLY_VALID),
            handshakes_max: datagram_handshakes_max(workers.len()),
        };
        let (open, closing) = oneshot::channel();
        Ok((open, worker.handle.spawn(receive.run(closing))))
    };
    let tasks = workers.iter().cycle().zip(sockets).map(receive).collect::<io::Result<_>>()?;
    Ok(Open { tasks, sockets: duplicates })
}

/// Receiver of one socket.
struct Receive {
    edge: Edge,
    accepting: Arc<ArcSwap<Accepting>>,
    sessions: Arc<Connections>,
    connections: Arc<Connections>,
    socket: Arc<Socket>,
    table: Arc<Table>,
    doorkeeper: Doorkeeper,
    /// Incomplete hellos of proven addresses.
    assemblies: Aged<Assembly>,
    /// Most handshakes at once on this thread, in total and from one address.
    handshakes_max: (usize, usize),
}

impl Receive {
    async fn run(mut self, mut closing: oneshot::Receiver<()>) {
        let socket = Arc::clone(&self.socket);
        let mut reads = self.edge.shared.reads_datagrams.subscribe();
        tokio::select! {
            biased;
            _ = &mut closing => return,
            // The sender lives as long as the edge.
            _ = reads.wait_for(|reads| *reads) => {}
        }
        loop {
            let received = tokio::select! {
                biased;
                _ = &mut closing => break,
                ready = socket.readable() => ready,
            };
            let take = |pair, datagram: &[u8]| self.datagram(pair, datagram);
            if let Err(error) = received.and_then(|()| socket.receive(take)) {
                let listener = &self.accepting.load().name;
                tracing::warn!(event = "listener.receive_failed", %listener, %error);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        self.table.close().await;
    }

    fn datagram(&mut self, pair: Pair, datagram: &[u8]) {
        if !is_client_hello(datagram) {
            self.table.pass(pair, datagram);
        } else if let Some(hello) = self.hello(pair, datagram) {
            self.begin(pair, hello);
        }
    }

    /// Returns the hello of a client whose address is proven, once the hello is complete.
    fn hello(&mut self, pair: Pair, datagram: &[u8]) -> Option<ClientHello> {
        let now = Instant::now();
        if let Some(assembly) = self.assemblies.find_mut(pair, now) {
            let taken = assembly.datagram(datagram);
            match taken {
                Ok(None) => return None,
                Ok(whole) => {
                    self.assemblies.remove(pair);
                    return whole;
                }
                Err(Ignored::ServerName) => {
                    self.assemblies.remove(pair);
                    self.refuse_name(pair);
                    return None;
                }
                // The client began again, or this is another client's hello: the cookie check
                // decides.
                Err(_) => self.assemblies.remove(pair),
            }
        }
        match self.doorkeeper.door().answer(pair.remote, datagram) {
            Answer::Verify(cookie) => self.socket.send(pair, &cookie),
            Answer::Partial(assembly) => self.assemblies.put(pair, assembly, now),
            Answer::Proven(hello) => return Some(hello),
            Answer::Ignore(Ignored::ServerName) => self.refuse_name(pair),
            Answer::Ignore(why) => {
                tracing::trace!(event = "dtls.ignored", remote = %pair.remote, %why);
            }
            _ => {}
        }
        None
    }

    /// Counts and logs a proven client whose server name is not one. Only a hello with a valid
    /// cookie is read so far, so strangers cannot fill the log with forged addresses.
    fn refuse_name(&self, pair: Pair) {
        let accepting = self.accepting.load();
        accepting.counters.failures.count(Failure::UnknownName);
        let (listener, remote) = (&accepting.name, pair.remote);
        self.edge.shared.access.refused(listener, remote, Failure::UnknownName);
        let (reason, why) = (Failure::UnknownName.word(), Ignored::ServerName.to_string());
        let policy = self.edge.shared.live.policy();
        say!(policy, Info, event = "dtls.refused", %listener, %remote, reason, why);
    }

    /// Starts a session for a hello, unless it has one already.
    fn begin(&mut self, pair: Pair, hello: ClientHello) {
        let is_known = self.table.knows(pair, hello.random(), Instant::now());
        // A draining node does not answer new clients, so that they try another node.
        if is_known || self.edge.is_draining() {
            return;
        }
        let accepting = self.accepting.load_full();
        accepting.counters.connections.fetch_add(1, Relaxed);
        let Some(place) = self.place(pair, &accepting) else { return };
        let network = limits::network(pair.remote.ip());
        let (max, address_max) = self.handshakes_max;
        if self.sessions.make_room(network, max, address_max) {
            accepting.counters.failures.count(Failure::Displaced);
        }
        let (seat, datagrams) = self.table.enter(pair, hello.random());
        let recorded = self.edge.shared.access.begin(&accepting.name, pair.remote);
        let association = Association {
            recorded: recorded.clone(),
            edge: self.edge.clone(),
            accepting,
            socket: Arc::clone(&self.socket),
            pair,
            seat,
            datagrams,
            _place: place,
        };
        self.sessions.spawn(network, recorded, |entry| association.run(hello, entry));
    }

    /// Takes a place. If there is none, displaces a young connection and returns none: the client
    /// finds the place when it retransmits its hello.
    fn place(&self, pair: Pair, accepting: &Accepting) -> Option<Place> {
        let full = match self.edge.places().take(Some(pair.remote.ip()), SESSION_DESCRIPTORS) {
            Ok(place) => return Some(place),
            Err(full) => full,
        };
        let of = match full {
            Full::Node => None,
            Full::Address => Some(limits::network(pair.remote.ip())),
        };
        let (listener, remote) = (&accepting.name, pair.remote);
        if self.sessions.displace(of) || self.connections.displace(of) {
            accepting.counters.failures.count(Failure::Displaced);
        } else {
            accepting.counters.failures.count(full);
            self.edge.shared.access.refused(listener, remote, full.into());
        }
        tracing::debug!(event = "dtls.no_place", %listener, %remote, ?full);
        None
    }
}
