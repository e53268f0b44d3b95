//! The life of a connection: PROXY header, STARTTLS, handshake, upstream, forwarding.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use conclave_preface::proxy_protocol;
use conclave_store::record::ListenerProtocol;
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

use super::{
    Edge,
    connect::First,
    failure::Failure,
    forward::{End, Flow, Plain, forward},
    handshake::{Arrival, Ended},
    limits::{CLEAR_TIMEOUT, PATIENCE, Place},
    listener::Accepting,
    opening::{Opened, Opening},
    outgoing::ToServer,
    record::{CLOSED, Recorded},
    session::Session,
    stream::Stream,
    tls_stream::TlsStream,
    workers::Entry,
};

impl Edge {
    pub(super) async fn connection(
        &self,
        stream: TcpStream,
        remote: SocketAddr,
        accepting: &Accepting,
        mut place: Place,
        recorded: Recorded,
        entry: &Entry,
    ) {
        let listener = &accepting.name;
        let _open = accepting.counters.open();
        // Boxed, because these futures are large and end early.
        let begin = Box::pin(self.begin(stream, remote, accepting, &mut place, &recorded));
        let begun = timeout(self.begin_timeout(accepting), begin).await;
        let (mut client, session, opening) = match begun {
            Ok(Ok(Begun::Tls(client, session, opening))) => (client, session, opening),
            // Boxed too, so that the future of ordinary TLS connections does not grow.
            Ok(Ok(Begun::Clear(client, upstream))) => {
                let flow = Flow { counters: &accepting.counters, recorded: &recorded };
                return Box::pin(pass(client, upstream, remote, accepting, entry, flow)).await;
            }
            Ok(Ok(Begun::Outgoing(reached))) => {
                let (client, upstream) = *reached;
                let flow = Flow { counters: &accepting.counters, recorded: &recorded };
                return Box::pin(pass(client, upstream, remote, accepting, entry, flow)).await;
            }
            Ok(Err(Ended)) => return,
            Err(_) => {
                recorded.fails(&accepting.counters, Failure::Timeout);
                tracing::info!(event = "tls.handshake_timeout", %listener, %remote);
                return;
            }
        };
        let connecting = self.upstream(&mut client, &session, accepting, &recorded);
        let upstream = Box::pin(connecting).await;
        let Some(upstream) = upstream else { return };
        drop(session);
        match Box::pin(opening.join(&mut client, upstream)).await {
            Ok(Some(upstream)) => {
                let flow = Flow { counters: &accepting.counters, recorded: &recorded };
                pass(client, upstream, remote, accepting, entry, flow).await;
            }
            Ok(None) => recorded.ends(CLOSED),
            Err(error) => {
                recorded.fails(&accepting.counters, Failure::Upstream);
                tracing::info!(event = "starttls.no_upstream", %listener, %remote, %error);
            }
        }
    }

    /// Returns the longest duration of [`Self::begin`].
    fn begin_timeout(&self, accepting: &Accepting) -> Duration {
        match accepting.protocol {
            ListenerProtocol::Tls => self.shared.options.handshake_timeout,
            _ => self.shared.options.handshake_timeout + CLEAR_TIMEOUT,
        }
    }

    /// Processes a connection from its first byte to the end of the handshake.
    async fn begin(
        &self,
        mut stream: TcpStream,
        remote: SocketAddr,
        accepting: &Accepting,
        place: &mut Place,
        recorded: &Recorded,
    ) -> Result<Begun, Ended> {
        let (door, counters) = (&accepting.door, &*accepting.counters);
        let local = stream.local_addr().ok();
        let since = Instant::now();
        let mut arrival = Arrival {
            door,
            counters,
            recorded,
            remote,
            local,
            stream_to: None,
            needs_alpn: false,
            since,
        };
        let mut received = Vec::new();
        if accepting.is_proxy(remote.ip()) {
            let listener = &accepting.name;
            match proxy_header(&mut stream, &mut received).await {
                Ok(Some(ends)) => {
                    (arrival.remote, arrival.local) = (ends.source, Some(ends.destination));
                    recorded.client(ends.source);
                }
                Ok(None) => {}
                Err(error) => {
                    arrival.fails(Failure::ProxyHeader);
                    tracing::info!(event = "tls.no_proxy_header", %listener, %remote, %error);
                    return Err(Ended);
                }
            }
            if let Err(full) = place.count_for(arrival.remote.ip()) {
                arrival.fails(full);
                tracing::debug!(event = "tls.no_place", %listener, remote = %arrival.remote, ?full);
                return Err(Ended);
            }
        }
        if accepting.protocol == ListenerProtocol::OutgoingTls {
            let reached = self.reach(stream, &mut received, &arrival, accepting).await;
            return reached.map(|reached| Begun::Outgoing(Box::new(reached)));
        }
        match self.open(stream, &mut received, &arrival, accepting).await? {
            Opened::Clear(client, upstream) => Ok(Begun::Clear(client, upstream)),
            Opened::Tls(stream, opening) => {
                arrival.stream_to = opening.stream_to();
                arrival.needs_alpn = opening.is_direct();
                arrival.since = Instant::now();
                let (tls, session) = self.handshake(stream, received, &arrival).await?;
                Ok(Begun::Tls(tls, session, opening))
            }
        }
    }

    /// Connects to the upstream and queues the PROXY header for it.
    async fn upstream(
        &self,
        client: &mut TlsStream<TcpStream>,
        session: &Session,
        accepting: &Accepting,
        recorded: &Recorded,
    ) -> Option<Plain<Stream>> {
        let header = accepting.proxy_to.map(|version| session.proxy_header(version));
        let is_ready = header.is_some() || client.has_clear();
        let first = if is_ready { First::Ready } else { First::Unknown };
        let upstreams = accepting.upstreams(&session.domain);
        match upstreams.connect(&self.shared.options.upstreams, first).await {
            Ok(stream) => Some(Plain::new(stream, header.unwrap_or_default())),
            Err(error) => {
                let (listener, remote) = (&accepting.name, session.remote);
                tracing::info!(event = "tls.no_upstream", %listener, %remote, %error);
                // Close cleanly, so that the client does not take this for a truncation.
                let end = std::future::poll_fn(|cx| client.poll_end(cx));
                let _ = timeout(self.shared.options.handshake_timeout, end).await;
                recorded.fails(&accepting.counters, Failure::Upstream);
                None
            }
        }
    }
}

/// A connection at the end of [`Edge::begin`].
#[expect(clippy::large_enum_variant, reason = "nearly all are of the large one, for a moment")]
enum Begun {
    Tls(TlsStream<TcpStream>, Session, Opening),
    /// The client continues without TLS.
    Clear(Plain<TcpStream>, Plain<Stream>),
    /// TLS goes to the upstream, and the client is unencrypted.
    Outgoing(Box<(Plain<TcpStream>, ToServer)>),
}

/// Forwards until both directions have ended.
async fn pass(
    mut client: impl End,
    mut upstream: impl End,
    remote: SocketAddr,
    accepting: &Accepting,
    entry: &Entry,
    flow: Flow<'_>,
) {
    let forwarded = forward(&mut client, &mut upstream, PATIENCE, flow, || entry.grow()).await;
    flow.recorded.ends(match &forwarded {
        Ok(()) => CLOSED,
        Err(error) if error.kind() == io::ErrorKind::TimedOut => "silence",
        Err(_) => "broken",
    });
    if let Err(error) = forwarded {
        let listener = &accepting.name;
        tracing::debug!(event = "tls.connection_ended", %listener, %remote, %error);
    }
}

/// Reads the mandatory header of a proxy. The bytes after it stay in `received`.
async fn proxy_header(
    stream: &mut TcpStream,
    received: &mut Vec<u8>,
) -> io::Result<Option<proxy_protocol::Ends>> {
    loop {
        if stream.read_buf(received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(header) = proxy_protocol::parse(received).map_err(io::Error::other)? {
            received.drain(..header.bytes);
            return Ok(header.ends);
        }
    }
}
