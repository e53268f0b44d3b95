//! A UDP socket that knows at which of its addresses a datagram arrived, and answers from there.

use std::{
    cell::RefCell,
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use tokio::{io::Interest, net::UdpSocket};

use crate::socket::limits::{DATAGRAM_BYTES_MAX, DATAGRAMS_AT_ONCE, UDP_BUFFER_BYTES};

/// Both ends of a client's datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Pair {
    /// The client.
    pub(super) remote: SocketAddr,
    /// Where its datagrams arrive, as far as the system tells.
    pub(super) local: Option<IpAddr>,
}

/// An open socket.
pub(super) struct Socket {
    io: UdpSocket,
    options: UdpSocketState,
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Socket {
    /// Within the runtime of the thread that will use it.
    pub(super) fn new(socket: std::net::UdpSocket) -> io::Result<Socket> {
        let options = UdpSocketState::new((&socket).into())?;
        // A record that is too large for the path goes in pieces of IP: what was sealed once
        // cannot be cut, and an upstream's datagram is not ours to refuse.
        sockopt::set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DONT)?;
        if socket.local_addr()?.is_ipv6() {
            sockopt::set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::DONT)?;
        }
        // As much as the system allows; a burst of hellos shall not push out sessions' datagrams.
        let _ = options.set_recv_buffer_size((&socket).into(), UDP_BUFFER_BYTES);
        let _ = options.set_send_buffer_size((&socket).into(), UDP_BUFFER_BYTES);
        Ok(Socket { io: UdpSocket::from_std(socket)?, options })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    /// Waits until there are datagrams.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.io.readable().await
    }

    /// Takes datagrams that are there, a batch at most; nothing if there are none.
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
                // Several of one client may come as one.
                received.chunks(meta.stride.max(1)).for_each(|datagram| take(pair, datagram));
            }
            Ok(())
        })
    }

    /// Sends a datagram, or loses it as the network does.
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
