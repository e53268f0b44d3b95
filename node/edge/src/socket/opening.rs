//! The STARTTLS conversation of a connection before TLS, and its continuation with the upstream.

use std::io;

use conclave_preface::{
    proxy_protocol,
    starttls::{Conversation, Manners, Reason, Sides, with_client},
};
use conclave_store::record::ListenerProtocol;
use conclave_system::entropy;
use tokio::net::TcpStream;

use super::{
    Edge,
    connect::First,
    converse::{Talked, converse},
    failure::Failure,
    forward::{End, Plain},
    handshake::{Arrival, Ended},
    limits::{CLEAR_TIMEOUT, CONTROL_TIMEOUT, GREETING_TIMEOUT},
    listener::Accepting,
    record::CLOSED,
    stream::Stream,
};

/// Content type of a TLS handshake record (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// A conversation to continue once the upstream is connected; none if TLS came with the first byte.
pub(crate) struct Opening {
    protocol: ListenerProtocol,
    conversation: Option<Box<dyn Conversation>>,
}

/// Outcome of the unencrypted part.
pub(crate) enum Opened {
    /// TLS starts on this stream.
    Tls(TcpStream, Opening),
    /// The client continues unencrypted.
    Clear(Plain<TcpStream>, Plain<Stream>),
}

impl Opening {
    /// Returns whether TLS came with the first byte though the protocol has a request for it. Then
    /// the client must name the application protocol (PostgreSQL 17, "Protocol Flow": a direct
    /// connection without ALPN could be one that another protocol's client was lured into).
    pub(crate) fn is_direct(&self) -> bool {
        self.protocol.has_starttls() && self.conversation.is_none()
    }

    /// Returns the target domain of the client's stream (XMPP).
    pub(crate) fn stream_to(&self) -> Option<&str> {
        self.conversation.as_ref()?.stream_to()
    }

    /// Continues the conversation after the handshake, now with the upstream: consumes the messages
    /// that the client already got from this node. Returns none if the connection is over.
    pub(crate) async fn join<C: End, U: End>(
        self,
        client: &mut C,
        upstream: U,
    ) -> io::Result<Option<U>> {
        let Some(mut conversation) = self.conversation else { return Ok(Some(upstream)) };
        let client_timeout = match self.protocol {
            ListenerProtocol::Ftp => CONTROL_TIMEOUT,
            _ => GREETING_TIMEOUT,
        };
        let (mut sides, mut upstream) = (Sides::default(), Some(upstream));
        let connect = || std::future::ready(Err(io::ErrorKind::NotConnected.into()));
        let conversation = conversation.as_mut();
        let talking =
            converse(conversation, &mut sides, client, &mut upstream, connect, client_timeout);
        match talking.await? {
            Talked::Pass => Ok(upstream),
            Talked::Over(Reason::Refused(reason)) => Err(io::Error::other(reason)),
            Talked::Over(_) | Talked::StartTls => Ok(None),
        }
    }
}

impl Edge {
    /// Holds the conversation until TLS starts, or until the client continues without TLS.
    /// `received` holds the bytes read so far; what is left in it belongs to TLS.
    pub(super) async fn open(
        &self,
        stream: TcpStream,
        received: &mut Vec<u8>,
        arrival: &Arrival<'_>,
        accepting: &Accepting,
    ) -> Result<Opened, Ended> {
        let protocol = accepting.protocol;
        let manners = Manners {
            host: self.shared.live.main_domain().as_str().to_owned(),
            requires_tls: accepting.requires_tls,
            stream_id: entropy::array(),
        };
        let Some(mut conversation) = with_client(protocol, manners) else {
            return Ok(Opened::Tls(stream, Opening { protocol, conversation: None }));
        };
        if protocol == ListenerProtocol::Postgres && is_tls(&stream, received).await {
            return Ok(Opened::Tls(stream, Opening { protocol, conversation: None }));
        }
        let spoken = self.speak(stream, received, conversation.as_mut(), arrival, accepting).await;
        let (listener, remote) = (&accepting.name, arrival.remote);
        match spoken {
            Ok(Spoken::Tls(stream)) => {
                let conversation = Some(conversation);
                return Ok(Opened::Tls(stream, Opening { protocol, conversation }));
            }
            Ok(Spoken::Clear(client, upstream)) => {
                tracing::debug!(event = "starttls.clear", %listener, %remote);
                return Ok(Opened::Clear(client, upstream));
            }
            Ok(Spoken::Over(Reason::Ended)) => arrival.recorded.ends(CLOSED),
            Ok(Spoken::Over(Reason::Injected)) => {
                arrival.fails(Failure::StartTlsInjected);
                tracing::warn!(event = "starttls.injected", %listener, %remote);
            }
            Ok(Spoken::Over(reason)) => {
                arrival.fails(Failure::StartTlsRefused);
                let reason = reason.to_string();
                tracing::info!(event = "starttls.refused", %listener, %remote, reason);
            }
            Err(error) => {
                arrival.fails(Failure::StartTlsFailed);
                tracing::info!(event = "starttls.failed", %listener, %remote, %error);
            }
        }
        Err(Ended)
    }

    async fn speak(
        &self,
        stream: TcpStream,
        received: &mut Vec<u8>,
        conversation: &mut dyn Conversation,
        arrival: &Arrival<'_>,
        accepting: &Accepting,
    ) -> io::Result<Spoken> {
        let (mut sides, mut upstream) = (Sides::default(), None);
        sides.client.said = std::mem::take(received);
        let mut client = Plain::new(stream, Vec::new());
        let connect = || self.connect_clear(arrival, accepting);
        let talking =
            converse(conversation, &mut sides, &mut client, &mut upstream, connect, CLEAR_TIMEOUT);
        Ok(match (talking.await?, upstream) {
            // The conversation has checked this already. Checked again here, because a mistake
            // there would be a plaintext injection.
            (Talked::StartTls, _) if !sides.client.said.is_empty() => {
                Spoken::Over(Reason::Injected)
            }
            // The unencrypted upstream connection ends here: its output must not be taken for
            // protected.
            (Talked::StartTls, _) => Spoken::Tls(client.into_io()),
            (Talked::Pass, Some(upstream)) => Spoken::Clear(client, upstream),
            (Talked::Pass, None) => return Err(io::ErrorKind::NotConnected.into()),
            (Talked::Over(reason), _) => Spoken::Over(reason),
        })
    }

    /// Connects to an upstream for a client without TLS, which selects no domain.
    async fn connect_clear(
        &self,
        arrival: &Arrival<'_>,
        accepting: &Accepting,
    ) -> io::Result<Plain<Stream>> {
        let allowed = &self.shared.options.upstreams;
        let stream = accepting.upstreams.connect(allowed, First::Unknown).await?;
        let header = accepting
            .proxy_to
            .map(|version| proxy_protocol::header(version, arrival.remote, arrival.local, None));
        Ok(Plain::new(stream, header.unwrap_or_default()))
    }
}

/// Peeks at the first byte and returns whether TLS starts with it.
async fn is_tls(stream: &TcpStream, received: &[u8]) -> bool {
    let mut first = [0];
    match received.first() {
        Some(first) => *first == HANDSHAKE_RECORD,
        None => {
            let peeked = stream.peek(&mut first).await;
            peeked.is_ok_and(|count| count == 1) && first == [HANDSHAKE_RECORD]
        }
    }
}

enum Spoken {
    Tls(TcpStream),
    Clear(Plain<TcpStream>, Plain<Stream>),
    Over(Reason),
}
