//! One socket that speaks for all of 127.0.0.0/8.

use std::{
    io::IoSliceMut,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Instant,
};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use tokio::{io::Interest, net::UdpSocket};

/// Room for what the system joins into one.
const BUFFER_BYTES: usize = 16 * 1024;
/// As much as the system allows.
const SOCKET_BYTES: usize = 8 * 1024 * 1024;

/// The socket; each datagram goes out from the address that it is to come from (`IP_PKTINFO`).
pub(crate) struct Sources {
    socket: UdpSocket,
    state: UdpSocketState,
    buffers: Vec<Vec<u8>>,
    /// Bytes of datagrams that went out.
    pub(crate) sent_bytes: u64,
    /// Bytes of datagrams that came in.
    pub(crate) received_bytes: u64,
}

impl Sources {
    /// Within a runtime.
    pub(crate) fn open() -> Sources {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let state = UdpSocketState::new(UdpSockRef::from(&socket)).unwrap();
        // What is above the system's bound is cut off by it.
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), SOCKET_BYTES);
        let _ = state.set_send_buffer_size(UdpSockRef::from(&socket), SOCKET_BYTES);
        let socket = UdpSocket::from_std(socket).unwrap();
        let buffers = vec![vec![0; BUFFER_BYTES]; BATCH_SIZE];
        Sources { socket, state, buffers, sent_bytes: 0, received_bytes: 0 }
    }

    /// Sends; what the system has no room for is lost, as on any path.
    pub(crate) fn send(&mut self, from: Ipv4Addr, to: SocketAddr, datagram: &[u8]) {
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: datagram,
            segment_size: None,
            src_ip: Some(IpAddr::V4(from)),
        };
        if self.state.try_send(UdpSockRef::from(&self.socket), &transmit).is_ok() {
            self.sent_bytes += u64::try_from(datagram.len()).unwrap();
        }
    }

    /// Waits until there are datagrams, at most until `end`; gives all that are there to `take`,
    /// with the address that they were sent to.
    pub(crate) async fn receive(&mut self, end: Instant, mut take: impl FnMut(Ipv4Addr, &[u8])) {
        if tokio::time::timeout_at(end.into(), self.socket.readable()).await.is_err() {
            return;
        }
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        loop {
            let (socket, state) = (&self.socket, &self.state);
            let mut slices: Vec<_> =
                self.buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
            let received = socket.try_io(Interest::READABLE, || {
                state.recv(UdpSockRef::from(socket), &mut slices, &mut metas)
            });
            let Ok(count) = received else { return };
            for (meta, buffer) in metas.iter().zip(&self.buffers).take(count) {
                self.received_bytes += u64::try_from(meta.len).unwrap();
                let Some(IpAddr::V4(to)) = meta.dst_ip else { continue };
                for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                    take(to, datagram);
                }
            }
        }
    }
}
