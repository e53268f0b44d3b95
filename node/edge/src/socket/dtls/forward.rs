//! Datagrams between a client and its upstream; the boundaries of datagrams are kept.

use std::{cell::RefCell, io, net::SocketAddr, sync::Arc, time::Instant};

use conclave_dtls::{SendError, State};
use conclave_store::id::ListenerName;
use futures::StreamExt;
use tokio::{net::UdpSocket, time::sleep_until};

use super::association::{Association, Peer};
use crate::socket::{
    connect::Upstreams,
    counters::ListenerCounters,
    failure::Failure,
    forward::Flow,
    limits::{DATAGRAM_BYTES_MAX, ROUNDS_MAX},
    record::CLOSED,
    session::Session,
    upstream::Allowed,
};

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The upstream socket of a session. `header` is sent in front of the first datagram.
struct Reached {
    socket: UdpSocket,
    number: usize,
    header: Vec<u8>,
}

/// Forwards datagrams until one end closes or the session has been idle for too long.
pub(super) async fn forward(association: &mut Association, mut peer: Peer, session: Session) {
    let accepting = Arc::clone(&association.accepting);
    let (counters, listener) = (&*accepting.counters, &accepting.name);
    let way = Way {
        counters,
        upstreams: accepting.upstreams(&session.domain),
        allowed: &association.edge.shared.options.upstreams,
        header: accepting.proxy_to.map(|version| session.proxy_header(version)),
    };
    let remote = session.remote;
    drop(session);
    // Boxed, because these futures are large and end early.
    let mut reached = match Box::pin(way.reach()).await {
        Ok(reached) => reached,
        Err(error) => {
            association.recorded.fails(counters, Failure::Upstream);
            tracing::info!(event = "dtls.no_upstream", %listener, %remote, %error);
            return;
        }
    };
    let (idle, mut said) = (association.edge.shared.options.datagram_idle, Instant::now());
    loop {
        let flow = Flow { counters, recorded: &association.recorded };
        let passed = up(&mut peer, &mut reached, flow);
        peer.flush();
        match passed {
            Ok(false) => {}
            Ok(true) => said = Instant::now(),
            Err(error) => Box::pin(way.lost(&mut reached, &error, listener, remote)).await,
        }
        if let State::Closed(reason) = peer.session.state() {
            association.recorded.ends(CLOSED);
            tracing::debug!(event = "dtls.session_ended", %listener, %remote, %reason);
            return;
        }
        let end = said + idle;
        let timer = peer.session.next_timer().map_or(end, |timer| timer.min(end));
        tokio::select! {
            datagram = association.datagrams.next() => match datagram {
                Some(datagram) => peer.session.datagram(Instant::now(), &datagram),
                None => return,
            },
            ready = reached.socket.readable() => {
                match ready.and_then(|()| down(&mut peer, &reached, flow)) {
                    Ok(has_said) => {
                        if has_said {
                            said = Instant::now();
                            way.upstreams.answered(reached.number);
                        }
                    }
                    Err(error) => Box::pin(way.lost(&mut reached, &error, listener, remote)).await,
                }
            }
            () = sleep_until(timer.into()) => {
                if Instant::now() >= end {
                    association.recorded.ends("silence");
                    tracing::debug!(event = "dtls.session_idle", %listener, %remote);
                    return;
                }
                peer.session.timer(Instant::now());
            }
        }
    }
}

struct Way<'a> {
    counters: &'a ListenerCounters,
    upstreams: &'a Upstreams,
    allowed: &'a Allowed,
    header: Option<Vec<u8>>,
}

impl Way<'_> {
    async fn reach(&self) -> io::Result<Reached> {
        let (socket, number) = self.upstreams.connect_datagrams(self.allowed).await?;
        let header = self.header.clone().unwrap_or_default();
        Ok(Reached { socket, number, header })
    }

    /// Replaces an unreachable upstream by another one, if there is any.
    async fn lost(
        &self,
        reached: &mut Reached,
        error: &io::Error,
        listener: &ListenerName,
        remote: SocketAddr,
    ) {
        self.counters.failures.count(Failure::Upstream);
        // Logged at debug, since each datagram may fail. `Upstreams` reports once that the upstream
        // is down.
        tracing::debug!(event = "dtls.no_upstream", %listener, %remote, %error);
        self.upstreams.refused(reached.number);
        if let Ok(other) = self.reach().await {
            *reached = other;
        }
    }
}

/// Forwards pending plaintext to the upstream and drops datagrams that the socket does not take.
/// Returns whether there was any plaintext.
fn up(peer: &mut Peer, reached: &mut Reached, flow: Flow<'_>) -> io::Result<bool> {
    let mut has_said = false;
    while let Some(plaintext) = peer.session.next_plaintext() {
        has_said = true;
        flow.recorded.up(flow.counters, u64::try_from(plaintext.len()).unwrap_or(0));
        let sent = if reached.header.is_empty() {
            reached.socket.try_send(&plaintext)
        } else {
            let first = [std::mem::take(&mut reached.header), plaintext].concat();
            reached.socket.try_send(&first)
        };
        match sent {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
    }
    Ok(has_said)
}

/// Forwards datagrams of the upstream to the client. Returns whether there were any.
fn down(peer: &mut Peer, reached: &Reached, flow: Flow<'_>) -> io::Result<bool> {
    BUFFER.with_borrow_mut(|buffer| {
        buffer.resize(DATAGRAM_BYTES_MAX, 0);
        let mut has_said = false;
        for _ in 0..ROUNDS_MAX {
            let count = match reached.socket.try_recv(buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            has_said = true;
            let datagram = buffer.get(..count).unwrap_or_default();
            match peer.session.send(datagram) {
                Ok(()) => {
                    flow.recorded.down(flow.counters, u64::try_from(count).unwrap_or(0));
                }
                Err(SendError::TooLong { bytes, max }) => {
                    tracing::debug!(event = "dtls.datagram_too_long", bytes, max);
                }
                Err(_) => break,
            }
            peer.flush();
        }
        Ok(has_said)
    })
}
