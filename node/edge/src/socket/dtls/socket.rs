//! A UDP socket with the local address of each datagram: answers come from the address that the
//! client used.

use std::{
    cell::RefCell,
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use tokio::{io::Interest, net::UdpSocket};

use crate::socket::limits::{DATAGRAM_BYTES_MAX, DATAGRAMS_AT_ONCE, UDP_BUFFER_BYTES};

/// The address pair of a client's datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Pair {
    /// Address of the client.
    pub(super) remote: SocketAddr,
    /// Local address, if the system reports it.
    pub(super) local: Option<IpAddr>,
}

/// An open UDP socket.
pub(super) struct Socket {
    io: UdpSocket,
    options: UdpSocketState,
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Socket {
    /// Sets up a socket. Call it within the runtime of the thread that will use the socket.
    pub(super) fn new(socket: std::net::UdpSocket) -> io::Result<Socket> {
        let options = UdpSocketState::new((&socket).into())?;
        // Allow IP fragmentation. A sealed record cannot be split, and dropping an upstream's large
        // datagram is not our decision.
        sockopt::set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DONT)?;
        if socket.local_addr()?.is_ipv6() {
            sockopt::set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::DONT)?;
        }
        // A burst of hellos must not displace the datagrams of sessions. The system may grant less.
        let _ = options.set_recv_buffer_size((&socket).into(), UDP_BUFFER_BYTES);
        let _ = options.set_send_buffer_size((&socket).into(), UDP_BUFFER_BYTES);
        Ok(Socket { io: UdpSocket::from_std(socket)?, options })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    /// Waits until datagrams are available.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.io.readable().await
    }

    /// Receives at most one batch of available datagrams.
    pub(super) fn receive(&self, mut take: impl FnMut(Pair, &[u8])) -> io::Result<()> {
        BUFFER.with_borrow_mut(|buffer| {
            buffer.resize(DATAGRAMS_AT_ONCE * DATAGRAM_BYTES_MAX, 0);
            let mut metas = [RecvMeta::default(); DATAGRAMS_AT_ONCE];
            let mut slices = buffer.chunks_exact_mut(DATAGRAM_BYTES_MAX).map(IoSliceMut::new);
            let mut slices: [IoSliceMut<'_>; DATAGRAMS_AT_ONCE] =
                std::array::from_fn(|_| slices.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
            let receive = || self.options.recv((&self.io).into(), &mut slices, &mut metas);
            let count = match self.io.try_io(Interest::READABLE, receive) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                other => other?,
            };
            for (meta, slice) in metas.iter().zip(&slices).take(count) {
                let pair = Pair { remote: meta.addr, local: meta.dst_ip };
                let received = slice.get(..meta.len).unwrap_or_default();
                // GRO: the kernel may join several datagrams of one client.
                received.chunks(meta.stride.max(1)).for_each(|datagram| take(pair, datagram));
            }
            Ok(())
        })
    }

    /// Sends a datagram. Drops it if the socket does not take it, as the network would.
    pub(super) fn send(&self, to: Pair, datagram: &[u8]) {
        let transmit = Transmit {
            destination: to.remote,
            ecn: None,
            contents: datagram,
            segment_size: None,
            src_ip: to.local,
        };
        let send = || self.options.try_send((&self.io).into(), &transmit);
        if let Err(error) = self.io.try_io(Interest::WRITABLE, send) {
            tracing::trace!(event = "dtls.not_sent", remote = %to.remote, %error);
        }
    }
}
