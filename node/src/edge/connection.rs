//! One connection: hello, choice, handshake, upstream, bytes.

use std::{net::SocketAddr, sync::atomic::Ordering::Relaxed};

use rustls::{HandshakeKind, ProtocolVersion};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    Edge,
    connect::First,
    counters::Failure,
    forward::{End, Plain, forward},
    limits::Place,
    listener::Accepting,
    proxy_protocol,
    session::{Chosen, Session},
    tls::{self, Alert},
    tls_stream::{Start, TlsStream},
    workers::Entry,
};
use crate::live::Refusal;

/// A connection that came to an early end; already logged if there is more to say.
struct Ended(Failure);

/// The two ends as they count: behind a trusted proxy those that it says.
struct Ends {
    remote: SocketAddr,
    local: Option<SocketAddr>,
}

impl Edge {
    pub(super) async fn connection(
        &self,
        stream: TcpStream,
        remote: SocketAddr,
        accepting: &Accepting,
        mut place: Place,
        entry: &Entry,
    ) {
        let listener = &accepting.name;
        // In a box of their own, because they are large and soon over.
        let begin = Box::pin(self.begin(stream, remote, accepting, &mut place));
        let begun = match timeout(self.shared.options.handshake_timeout, begin).await {
            Ok(begun) => begun,
            Err(_) => {
                tracing::info!(event = "tls.handshake_timeout", %listener, %remote);
                Err(Ended(Failure::Timeout))
            }
        };
        let (mut client, session) = match begun {
            Ok(begun) => begun,
            Err(Ended(failure)) => return accepting.counters.fail(failure),
        };
        accepting.counters.handshakes.fetch_add(1, Relaxed);
        accepting.counters.resumed.fetch_add(u64::from(session.is_resumed), Relaxed);
        let upstream = Box::pin(self.upstream(&mut client, &session, accepting)).await;
        let Some(mut upstream) = upstream else {
            return accepting.counters.fail(Failure::Upstream);
        };
        drop(session);
        let forwarded = forward(&mut client, &mut upstream, &accepting.counters, || entry.grow());
        if let Err(error) = forwarded.await {
            tracing::debug!(event = "tls.connection_ended", %listener, %remote, %error);
        }
    }

    /// From the first byte to the end of the handshake.
    async fn begin(
        &self,
        mut stream: TcpStream,
        remote: SocketAddr,
        accepting: &Accepting,
        place: &mut Place,
    ) -> Result<(TlsStream, Session), Ended> {
        let mut received = Vec::new();
        let mut ends = Ends { remote, local: stream.local_addr().ok() };
        if accepting.is_proxy(remote.ip()) {
            let header = proxy_header(&mut stream, &mut received).await;
            let header = header.map_err(|error| {
                let listener = &accepting.name;
                tracing::info!(event = "tls.no_proxy_header", %listener, %remote, %error);
                Ended(Failure::ProxyHeader)
            })?;
            if let Some(known) = header {
                ends = Ends { remote: known.source, local: Some(known.destination) };
            }
            place.count_for(ends.remote.ip()).map_err(|_| Ended(Failure::TooManyFromAddress))?;
        }
        self.handshake(stream, received, ends, accepting).await
    }

    async fn handshake(
        &self,
        stream: TcpStream,
        received: Vec<u8>,
        ends: Ends,
        accepting: &Accepting,
    ) -> Result<(TlsStream, Session), Ended> {
        let (listener, remote) = (&accepting.name, ends.remote);
        let start = match Start::read(stream, received).await {
            Ok(start) => start,
            Err(error) => {
                // Wrong versions, plain text, scanners: the alert is sent already.
                tracing::debug!(event = "tls.no_hello", %listener, %remote, %error);
                return Err(Ended(Failure::NoHello));
            }
        };
        let hello = start.client_hello();
        let server_name = hello.server_name().map(ToOwned::to_owned);
        let (domain, chosen) =
            self.shared.live.choose(server_name.as_deref(), ends.local.map(|one| one.ip()));
        // Names from clients are escaped: they may hold anything.
        let shown = || server_name.as_deref().unwrap_or("-").escape_debug().to_string();
        let named = domain.as_ref().map_or("-", |name| name.as_str());
        let keys = match chosen {
            Ok(keys) => keys,
            Err(refusal) => {
                let (reason, server_name) = (refusal.reason(), shown());
                tracing::info!(event = "tls.refused", %listener, %remote, server_name, domain = named, reason);
                refuse(start, &refusal).await;
                return Err(Ended(Failure::Refused));
            }
        };
        tracing::debug!(event = "tls.chosen", %listener, %remote, server_name = shown(), domain = named);
        let failed = |error: &dyn std::fmt::Display| {
            let server_name = shown();
            tracing::info!(event = "tls.handshake_failed", %listener, %remote, server_name, %error);
            Ended(Failure::Handshake)
        };
        let config = tls::config(keys).map_err(|error| failed(&error))?;
        let stream = start.into_stream(config).await.map_err(|error| failed(&error))?;
        // Whoever has keys has a domain.
        let domain = domain.ok_or(Ended(Failure::Refused))?;
        let session = session(&stream, ends, domain, server_name);
        Ok((stream, session))
    }

    /// Connects to the upstream; the header for it is the first that it gets.
    async fn upstream(
        &self,
        client: &mut TlsStream,
        session: &Session,
        accepting: &Accepting,
    ) -> Option<Plain<super::stream::Stream>> {
        let header = accepting.proxy_to.map(|version| proxy_protocol::header(version, session));
        let is_ready = header.is_some() || client.has_clear();
        let first = if is_ready { First::Ready } else { First::Unknown };
        let upstreams = accepting.upstreams(&session.domain);
        match upstreams.connect(&self.shared.options.upstreams, first).await {
            Ok(stream) => Some(Plain::new(stream, header.unwrap_or_default())),
            Err(error) => {
                let (listener, remote) = (&accepting.name, session.remote);
                tracing::info!(event = "tls.no_upstream", %listener, %remote, %error);
                // The client gets a clean end rather than a cut.
                let end = std::future::poll_fn(|cx| client.poll_end(cx));
                let _ = timeout(self.shared.options.handshake_timeout, end).await;
                None
            }
        }
    }
}

/// Reads the header that a proxy must send; what came behind it stays in `received`.
async fn proxy_header(
    stream: &mut TcpStream,
    received: &mut Vec<u8>,
) -> std::io::Result<Option<proxy_protocol::Ends>> {
    loop {
        if stream.read_buf(received).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(header) = proxy_protocol::parse(received).map_err(std::io::Error::other)? {
            received.drain(..header.bytes);
            return Ok(header.ends);
        }
    }
}

fn session(
    stream: &TlsStream,
    ends: Ends,
    domain: conclave_store::id::DomainName,
    server_name: Option<String>,
) -> Session {
    let state = stream.state();
    let cipher = state.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
    Session {
        remote: ends.remote,
        local: ends.local,
        chosen: if server_name.is_some() { Chosen::Name } else { Chosen::MainDomain },
        domain,
        server_name,
        version: match state.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        },
        cipher: cipher.unwrap_or_default(),
        alpn: state.alpn_protocol().map(<[u8]>::to_vec),
        is_resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
        client: None,
    }
}

/// Tells the client why, as far as TLS has a word for it, and closes.
async fn refuse(start: Start, refusal: &Refusal) {
    let alert = match refusal {
        Refusal::Unknown => Alert::UnrecognizedName,
        Refusal::Disabled | Refusal::Incomplete => Alert::AccessDenied,
        Refusal::KeyUnavailable(_) => Alert::InternalError,
    };
    let mut stream = start.io;
    // The client may be gone already.
    let _ = stream.write_all(&alert.record()).await;
    let _ = stream.shutdown().await;
}
