//! One socket: accept, and never spin.

use std::{io, net::SocketAddr, sync::Arc};

use conclave_store::{id::ListenerName, record::Listener};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::TcpListener, task::JoinHandle};

use super::{
    Edge, Upstream,
    limits::{ACCEPT_PAUSE, BACKLOG},
    tls::Door,
};

/// An open socket; closed when dropped.
pub(crate) struct Open(JoinHandle<()>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a connection must know of its listener.
pub(crate) struct Accepting {
    pub(crate) name: ListenerName,
    pub(crate) door: Arc<Door>,
    pub(crate) upstream: Upstream,
}

/// Opens a socket for listening.
pub(crate) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // An unspecified IPv6 address means IPv4 too.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Opens the socket and accepts on it.
pub(crate) fn open(edge: Edge, address: SocketAddr, listener: &Listener) -> io::Result<Open> {
    let socket = TcpListener::from_std(bind(address)?)?;
    let upstream = listener.upstreams.first().map(String::as_str).unwrap_or_default();
    let upstream = edge.check_upstream(upstream).map_err(io::Error::other)?;
    let accepting = Arc::new(Accepting {
        name: listener.name.clone(),
        door: Arc::new(Door::of(listener)),
        upstream,
    });
    Ok(Open(tokio::spawn(accept(edge, socket, accepting))))
}

async fn accept(edge: Edge, socket: TcpListener, accepting: Arc<Accepting>) {
    loop {
        let (stream, remote) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                let listener = &accepting.name;
                tracing::warn!(event = "listener.accept_failed", %listener, %error);
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&edge.shared.connections).try_acquire_owned() else {
            let listener = &accepting.name;
            tracing::warn!(event = "tls.too_many_connections", %listener, %remote);
            continue;
        };
        let (edge, accepting) = (edge.clone(), Arc::clone(&accepting));
        let mut closing = edge.shared.closing.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                () = edge.connection(stream, remote, &accepting) => {}
                _ = closing.changed() => {}
            }
            drop(place);
        });
    }
}
