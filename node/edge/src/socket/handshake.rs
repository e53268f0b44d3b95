//! TLS handshakes: hello, domain selection, rustls, and the client's identity.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use conclave_store::record::TlsLogLevel;
use conclave_system::clock;
use conclave_tls::{cipher_name, group_name};
use rustls::{
    CommonState, HandshakeKind,
    server::{Accepted, Acceptor},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::{
    Edge,
    counters::{Handshake, ListenerCounters},
    failure::Failure,
    limits::{HELLO_BYTES_MAX, REFUSED_BYTES_MAX},
    record::Recorded,
    session::Session,
    tls_stream::{self, TlsStream},
};
use crate::{
    live::{Choice, Chosen, Refusal, Wanted},
    tls::{self, Alert, Asking, ClientIdentity, Door, FirstBytes, Policy, Tried},
};

/// Longest time to deliver an answer to a refused client.
const REFUSED_TIMEOUT: Duration = Duration::from_secs(1);
/// Answer to an HTTP request on a TLS port.
const HTTP_ANSWER: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
     Content-Length: 54\r\nConnection: close\r\n\r\n\
     This port speaks TLS: ask again with https, not http.\n";

/// A failed connection, already logged and counted.
pub(super) struct Ended;

/// Facts about a connection before its handshake.
pub(super) struct Arrival<'a> {
    pub(super) door: &'a Arc<Door>,
    pub(super) counters: &'a ListenerCounters,
    pub(super) recorded: &'a Recorded,
    pub(super) remote: SocketAddr,
    /// Local address of the client's connection. Behind a proxy, the destination in the PROXY
    /// header.
    pub(super) local: Option<SocketAddr>,
    /// The `to` of the client's XMPP stream.
    pub(super) stream_to: Option<&'a str>,
    /// Whether the client must name one of the listener's application protocols.
    pub(super) needs_alpn: bool,
    /// Time of the first byte of the handshake, as the client could send it.
    pub(super) since: Instant,
}

impl Arrival<'_> {
    /// Counts the connection as failed.
    pub(super) fn fails(&self, failure: impl Into<Failure>) {
        self.recorded.fails(self.counters, failure);
    }
}

/// Logs at `info` if the cluster's TLS log level includes this event, otherwise at `debug`.
macro_rules! say {
    ($policy:expr, $level:ident, $($field:tt)*) => {
        if $policy.logs(TlsLogLevel::$level) {
            tracing::info!($($field)*);
        } else {
            tracing::debug!($($field)*);
        }
    };
}

pub(super) use say;

/// Why there is no usable hello.
enum NoHello {
    Tried(Tried),
    /// An unsupported version.
    Old(&'static str),
    /// rustls cannot parse the hello. The bytes are the alert to send.
    Broken(rustls::Error, Vec<u8>),
    Closed(io::Error),
}

impl Edge {
    /// Performs the handshake. `received` holds the client's first TLS bytes; the stream continues
    /// after them.
    pub(super) async fn handshake<S>(
        &self,
        mut stream: S,
        mut received: Vec<u8>,
        arrival: &Arrival<'_>,
    ) -> Result<(TlsStream<S>, Session), Ended>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (accepted, offered) = match read_hello(&mut stream, &mut received).await {
            Ok(hello) => hello,
            Err(no_hello) => return Err(self.no_hello(stream, arrival, no_hello).await),
        };
        let server_name = accepted.client_hello().server_name().map(ToOwned::to_owned);
        let wanted = Wanted {
            stream_to: arrival.stream_to,
            server_name: server_name.as_deref(),
            local: arrival.local.map(|one| one.ip()),
        };
        let Choice { policy, found, ready } = self.shared.live.choose(wanted, arrival.door);
        let domain = found.as_ref().map_or("-", |(name, _)| name.as_str());
        let chosen = found.as_ref().map_or("-", |(_, chosen)| chosen.word());
        let (listener, remote) = (&arrival.door.name, arrival.remote);
        // Server names may hold any character: escape them in logs.
        let shown = || server_name.as_deref().unwrap_or("-").escape_debug().to_string();
        say!(policy, Debug, event = "tls.chosen", %listener, %remote, server_name = shown(), domain, chosen);
        let lacks_alpn = arrival.needs_alpn && accepted.client_hello().alpn().is_none();
        let ready = match ready {
            Ok(_) if lacks_alpn => {
                arrival.fails(Failure::ApplicationProtocol);
                let reason = Failure::ApplicationProtocol.word();
                let why = "TLS without a request for it must name the application protocol";
                say!(policy, Info, event = "tls.refused", %listener, %remote, server_name = shown(), domain, reason, why);
                refuse(stream, &const { Alert::NoApplicationProtocol.record() }).await;
                return Err(Ended);
            }
            Ok(ready) => ready,
            Err(refusal) => {
                self.refused(&policy, arrival, &shown(), domain, &refusal);
                refuse(stream, alert(&refusal)).await;
                return Err(Ended);
            }
        };
        let found = found.ok_or(Ended)?;
        // rustls must parse the hello a second time: its `Acceptor` has buffers of its own.
        drop(accepted);
        let shaken = TlsStream::accept(stream, received, ready.config).await;
        let tls = match shaken {
            Ok(tls) => tls,
            Err(error) => {
                let asking = ready.client.as_ref();
                self.failed(&policy, arrival, &shown(), offered, asking, &error);
                return Err(Ended);
            }
        };
        let connection = tls.state();
        let client = match ready.client {
            Some(asking) => self.client(&policy, arrival, connection, &asking)?,
            None => None,
        };
        let session = session(arrival, connection, found, server_name, client)?;
        self.note(&policy, arrival, connection, &session);
        Ok((tls, session))
    }

    /// Answers a client without a usable hello.
    async fn no_hello<S>(&self, stream: S, arrival: &Arrival<'_>, no_hello: NoHello) -> Ended
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let policy = self.shared.live.policy();
        let (listener, remote) = (&arrival.door.name, arrival.remote);
        match no_hello {
            NoHello::Closed(error) => {
                arrival.fails(Failure::Closed);
                tracing::debug!(event = "tls.no_hello", %listener, %remote, %error);
            }
            NoHello::Tried(tried) => {
                arrival.fails(Failure::NotTls);
                let tried_words = tried.words();
                say!(policy, Info, event = "tls.refused", %listener, %remote, tried = tried_words);
                let answer: &[u8] = match tried {
                    Tried::Http => HTTP_ANSWER.as_bytes(),
                    Tried::Ssl2 => &Alert::ProtocolVersion.record(),
                    Tried::Text | Tried::Other => &Alert::UnexpectedMessage.record(),
                };
                refuse(stream, answer).await;
            }
            NoHello::Old(tried) => {
                arrival.fails(Failure::Version);
                say!(policy, Info, event = "tls.refused", %listener, %remote, reason = "version", tried);
                refuse(stream, &Alert::ProtocolVersion.record()).await;
            }
            NoHello::Broken(error, alert) => {
                arrival.fails(Failure::NotTls);
                say!(policy, Info, event = "tls.refused", %listener, %remote, tried = "a broken hello", %error);
                refuse(stream, &alert).await;
            }
        }
        Ended
    }

    fn refused(
        &self,
        policy: &Policy,
        arrival: &Arrival<'_>,
        server_name: &str,
        domain: &str,
        refusal: &Refusal,
    ) {
        let (listener, remote) = (&arrival.door.name, arrival.remote);
        arrival.fails(refusal);
        let reason = refusal.reason();
        if let Refusal::KeyUnavailable(why) | Refusal::Settings(why) = refusal {
            tracing::warn!(event = "tls.refused", %listener, %remote, server_name, domain, reason, why);
        } else {
            say!(policy, Info, event = "tls.refused", %listener, %remote, server_name, domain, reason);
        }
    }

    /// Logs and counts a handshake that rustls ended, with the version offered by the client.
    fn failed(
        &self,
        policy: &Policy,
        arrival: &Arrival<'_>,
        server_name: &str,
        offered: &'static str,
        asking: Option<&Asking>,
        error: &io::Error,
    ) {
        let (listener, remote) = (&arrival.door.name, arrival.remote);
        if let Some(Err(wrong)) = asking.and_then(Asking::answer) {
            arrival.fails(Failure::ClientCertificate(wrong.reason));
            let reason = wrong.reason.word();
            let why = &wrong.detail;
            say!(policy, Info, event = "tls.refused", %listener, %remote, server_name, reason, why);
            return;
        }
        let failure = Failure::of(error);
        arrival.fails(failure);
        let reason = failure.word();
        if failure == Failure::Version {
            say!(policy, Info, event = "tls.refused", %listener, %remote, server_name, reason, tried = offered);
        } else {
            say!(policy, Info, event = "tls.handshake_failed", %listener, %remote, server_name, reason, %error);
        }
    }

    /// Returns the client's identity. A resumed session brings its certificates along. They are
    /// checked again, because they may have expired since.
    fn client(
        &self,
        policy: &Policy,
        arrival: &Arrival<'_>,
        connection: &CommonState,
        asking: &Asking,
    ) -> Result<Option<ClientIdentity>, Ended> {
        let checked = match (asking.answer(), connection.peer_certificates()) {
            (Some(answer), _) => answer.clone(),
            (None, Some(chain)) => {
                let checked = asking.policy().check(chain, clock::now().0 / 1_000);
                checked.map(|(identity, _)| identity)
            }
            (None, None) => return Ok(None),
        };
        let wrong = match checked {
            Ok(identity) => return Ok(Some(identity)),
            Err(wrong) => wrong,
        };
        let (listener, remote) = (&arrival.door.name, arrival.remote);
        let (reason, why, ignored) =
            (wrong.reason.word(), &wrong.detail, !asking.policy().aborts());
        arrival.counters.failures.count(Failure::ClientCertificate(wrong.reason));
        say!(policy, Info, event = "tls.client_certificate_wrong", %listener, %remote, reason, why, ignored);
        if ignored {
            return Ok(None);
        }
        arrival.recorded.ends(reason);
        Err(Ended)
    }

    fn note(
        &self,
        policy: &Policy,
        arrival: &Arrival<'_>,
        connection: &CommonState,
        session: &Session,
    ) {
        arrival.recorded.agreed(session);
        arrival.counters.handshake(&Handshake {
            version: session.version,
            is_resumed: session.is_resumed,
            has_client: session.client.is_some(),
            took: arrival.since.elapsed(),
        });
        let is_wanted = policy.logs(TlsLogLevel::Debug) || tracing::enabled!(tracing::Level::DEBUG);
        if !is_wanted {
            return;
        }
        let listener = &arrival.door.name;
        let group = connection.negotiated_key_exchange_group();
        let group = group.map_or_else(|| "-".to_owned(), |group| group_name(group.name()));
        let alpn = session.alpn.as_deref().unwrap_or(b"-").escape_ascii().to_string();
        let server_name = session.server_name.as_deref().unwrap_or("-").escape_debug().to_string();
        let client = session.client.as_ref().map_or("-", |client| client.subject.as_str());
        let Session { remote, domain, version, cipher, is_resumed, .. } = session;
        let (chosen, local) = (session.chosen.word(), session.local);
        say!(policy, Debug, event = "tls.handshake", %listener, %remote, ?local, server_name, %domain, chosen, version, cipher, group, alpn, resumed = is_resumed, client);
    }
}

/// Reads the hello and the version in it. All bytes remain in `received`.
async fn read_hello<S>(
    stream: &mut S,
    received: &mut Vec<u8>,
) -> Result<(Accepted, &'static str), NoHello>
where
    S: AsyncRead + Unpin,
{
    let offered = loop {
        match FirstBytes::of(received) {
            FirstBytes::Unclear => read_some(stream, received).await?,
            FirstBytes::Tried(tried) => return Err(NoHello::Tried(tried)),
            FirstBytes::Hello(offered) => break offered,
        }
    };
    let mut acceptor = Acceptor::default();
    let mut seen = 0;
    loop {
        while let Some(mut rest @ [_, ..]) = received.get(seen..) {
            seen += acceptor.read_tls(&mut rest).map_err(NoHello::Closed)?;
            match acceptor.accept() {
                Ok(Some(accepted)) => return Ok((accepted, offered)),
                Ok(None) => {}
                // rustls looks for extensions before the version, and old hellos lack them.
                Err(_) if tls::is_old(offered) => return Err(NoHello::Old(offered)),
                Err((error, mut alert)) => {
                    let mut bytes = Vec::new();
                    // Writing to a vector cannot fail.
                    let _ = alert.write_all(&mut bytes);
                    return Err(NoHello::Broken(error, bytes));
                }
            }
        }
        read_some(stream, received).await?;
    }
}

async fn read_some<S>(stream: &mut S, received: &mut Vec<u8>) -> Result<(), NoHello>
where
    S: AsyncRead + Unpin,
{
    let read = tls_stream::read_more(stream, received, HELLO_BYTES_MAX).await;
    read.map_err(NoHello::Closed)
}

fn session(
    arrival: &Arrival<'_>,
    connection: &CommonState,
    (domain, chosen): (conclave_store::id::DomainName, Chosen),
    server_name: Option<String>,
    client: Option<ClientIdentity>,
) -> Result<Session, Ended> {
    let suite = connection.negotiated_cipher_suite().ok_or(Ended)?;
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "TLSv1.2",
    };
    Ok(Session {
        is_datagram: false,
        remote: arrival.remote,
        local: arrival.local,
        domain,
        server_name,
        chosen,
        version,
        cipher: cipher_name(suite.suite()),
        alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
        is_resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        client,
    })
}

fn alert(refusal: &Refusal) -> &'static [u8] {
    match refusal {
        Refusal::Unknown => &const { Alert::UnrecognizedName.record() },
        Refusal::Disabled | Refusal::Incomplete | Refusal::AsksForNone => {
            &const { Alert::AccessDenied.record() }
        }
        Refusal::KeyUnavailable(_) | Refusal::Settings(_) => {
            &const { Alert::InternalError.record() }
        }
    }
}

/// Sends an answer and closes. Reads the client's remaining bytes for a moment: closing a socket
/// with unread bytes sends a reset, and the answer would be lost.
async fn refuse<S>(mut stream: S, answer: &[u8])
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let answering = async {
        stream.write_all(answer).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut (&mut stream).take(REFUSED_BYTES_MAX), &mut tokio::io::sink()).await
    };
    // The client may already be gone.
    let _ = timeout(REFUSED_TIMEOUT, answering).await;
}
