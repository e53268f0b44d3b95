//! Listening sockets that pass from one process to the next, so that no client is refused between
//! them.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::PoisonError,
    time::Duration,
};

use rustix::{
    io::{FdFlags, fcntl_setfd, ioctl_fionbio},
    net::{SocketType, getsockname, sockopt},
};
use tokio::{sync::watch, time::timeout};

use super::{
    Edge,
    drain::Draining,
    limits::{DATAGRAM_FINISH_LOOK, DATAGRAM_FINISH_MAX},
    listener,
};

/// A listening socket on its way from one process to another.
#[derive(Debug)]
pub struct PassedSocket {
    kind: SocketType,
    address: SocketAddr,
    socket: OwnedFd,
}

impl PassedSocket {
    /// Recognises a listening TCP socket or a bound UDP socket. Fails for anything else.
    pub fn of(socket: OwnedFd) -> io::Result<PassedSocket> {
        let kind = sockopt::socket_type(&socket)?;
        let is_listening = match kind {
            SocketType::STREAM => sockopt::socket_acceptconn(&socket)?,
            other => other == SocketType::DGRAM,
        };
        let address = SocketAddr::try_from(getsockname(&socket)?)?;
        if !is_listening || address.port() == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no listening socket"));
        }
        fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
        ioctl_fionbio(&socket, true)?;
        Ok(PassedSocket { kind, address, socket })
    }

    /// Returns the name of its protocol and address, such as `tcp-127.0.0.1-443`. All sockets of
    /// one address have the same name. It contains no colon, which systemd forbids.
    pub fn name(&self) -> String {
        let protocol = if self.kind == SocketType::DGRAM { "udp" } else { "tcp" };
        let address = self.address.ip().to_string().replace(':', "_");
        format!("{protocol}-{address}-{}", self.address.port())
    }
}

impl AsFd for PassedSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Edge {
    /// Returns duplicates of all open listening sockets, for the next process.
    pub fn passed_sockets(&self) -> io::Result<Vec<PassedSocket>> {
        let mut all = Vec::new();
        for known in self.listeners_mut().values() {
            let kind = listener::socket_type(known.listener.protocol);
            for (address, open) in &known.sockets {
                for socket in open.iter().flat_map(|open| &open.sockets) {
                    let socket = socket.try_clone()?;
                    all.push(PassedSocket { kind, address: *address, socket });
                }
            }
        }
        Ok(all)
    }

    /// Takes sockets of an earlier process. A listener on the same address uses them instead of
    /// opening its own.
    pub fn adopt(&self, sockets: Vec<PassedSocket>) {
        self.adopted().extend(sockets);
    }

    /// Returns whether a listener may still take sockets of an earlier process.
    pub fn has_adopted(&self) -> bool {
        !self.adopted().is_empty()
    }

    /// Closes the adopted sockets that no listener has taken, and returns their number.
    pub fn close_unused(&self) -> usize {
        let unused = std::mem::take(&mut *self.adopted());
        unused.len()
    }

    /// Reads no datagram until [`Self::read_datagrams`]: an earlier process still does, and each
    /// datagram goes to only one of the two.
    pub fn hold_datagrams(&self) {
        self.shared.reads_datagrams.send_replace(false);
    }

    /// Starts reading datagrams.
    pub fn read_datagrams(&self) {
        self.shared.reads_datagrams.send_replace(true);
    }

    /// Watches for changes of the open sockets.
    pub fn socket_changes(&self) -> watch::Receiver<u64> {
        self.shared.socket_changes.subscribe()
    }

    pub(super) fn note_socket_change(&self) {
        self.shared.socket_changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Leaves the listening sockets to the next process, which accepts on them already. Ends DTLS
    /// sessions with close_notify, after their handshakes. From the return on, the next process may
    /// read datagrams. TCP connections go on: [`Self::finish`] waits for them.
    pub async fn leave(&self) {
        let begun = self.places().taken();
        *self.draining() = Some(Draining::begin(begun));
        self.close_sockets(|protocol| !protocol.is_datagram()).await;
        // A client whose handshake is cut off would wait for its timeout. New hellos get no answer
        // here, so that their repetitions reach the next process.
        let _ = timeout(DATAGRAM_FINISH_MAX, self.datagram_handshakes_over()).await;
        self.close_sockets(|_| true).await;
    }

    async fn datagram_handshakes_over(&self) {
        let workers = &self.shared.workers;
        while workers.iter().any(|worker| worker.sessions.has_young()) {
            tokio::time::sleep(DATAGRAM_FINISH_LOOK).await;
        }
    }

    /// Waits for the connections to end. Closes those that are left at the deadline, and returns
    /// their number.
    pub async fn finish(&self, deadline: Duration) -> usize {
        self.wait_until_empty(deadline).await
    }

    /// Returns a socket for each worker: the adopted ones of this address first, then new ones. All
    /// adopted ones are returned even if there are more of them, because the kernel delivers
    /// connections to each.
    pub(super) fn sockets_for_workers(
        &self,
        kind: SocketType,
        address: SocketAddr,
        make: impl Fn() -> io::Result<OwnedFd>,
    ) -> io::Result<Vec<OwnedFd>> {
        let is_same = |one: &mut PassedSocket| (one.kind, one.address) == (kind, address);
        let mut sockets: Vec<OwnedFd> =
            self.adopted().extract_if(.., is_same).map(|one| one.socket).collect();
        if sockets.is_empty() {
            // With `SO_REUSEPORT` another process could already share the address: try without it
            // first.
            listener::check(kind, address)?;
        }
        while sockets.len() < self.shared.workers.len() {
            match make() {
                Ok(socket) => sockets.push(socket),
                Err(error) if sockets.is_empty() => return Err(error),
                // Fewer sockets are slower; closing the adopted ones would refuse clients.
                Err(_) => break,
            }
        }
        Ok(sockets)
    }

    fn adopted(&self) -> std::sync::MutexGuard<'_, Vec<PassedSocket>> {
        self.shared.adopted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    #[test]
    fn a_socket_is_known_by_its_protocol_and_address_and_nothing_else_is_taken() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let passed = PassedSocket::of(tcp.into()).unwrap();
        assert_eq!(passed.name(), format!("tcp-127.0.0.1-{}", address.port()));
        let udp = UdpSocket::bind("[::1]:0").unwrap();
        let port = udp.local_addr().unwrap().port();
        assert_eq!(PassedSocket::of(udp.into()).unwrap().name(), format!("udp-__1-{port}"));
        let connected = TcpStream::connect(address).unwrap();
        assert!(PassedSocket::of(connected.into()).is_err(), "a connection");
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(PassedSocket::of(file.into()).is_err(), "a file");
        let unix = std::os::unix::net::UnixDatagram::unbound().unwrap();
        assert!(PassedSocket::of(unix.into()).is_err(), "a unix socket");
    }
}
