//! What a connection says before TLS, and once more when its upstream is there.

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
    forward::{End, Plain},
    handshake::{Arrival, Ended},
    limits::{CLEAR_TIMEOUT, CONTROL_TIMEOUT, GREETING_TIMEOUT},
    listener::Accepting,
    stream::Stream,
};

/// First byte of a TLS record with a handshake message (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// A conversation that goes on when the upstream is there; none if TLS came with the first byte.
pub(crate) struct Opening {
    protocol: ListenerProtocol,
    conversation: Option<Box<dyn Conversation>>,
}

/// How the clear part ended.
pub(crate) enum Opened {
    /// TLS starts, on this stream.
    Tls(TcpStream, Opening),
    /// The client goes on in the clear.
    Clear(Plain<TcpStream>, Plain<Stream>),
}

impl Opening {
    /// The domain that the client opened its stream to (XMPP).
    pub(crate) fn stream_to(&self) -> Option<&str> {
        self.conversation.as_ref()?.stream_to()
    }

    /// TLS stands and the upstream is there: takes from it what the client has heard from us
    /// already. None if the connection is over.
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
    /// Speaks with a client until TLS can start, or until it goes on without. `received` was read
    /// before; what is left in it belongs to TLS.
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
        let failures = &arrival.counters.failures;
        match spoken {
            Ok(Spoken::Tls(stream)) => {
                let conversation = Some(conversation);
                return Ok(Opened::Tls(stream, Opening { protocol, conversation }));
            }
            Ok(Spoken::Clear(client, upstream)) => {
                tracing::debug!(event = "starttls.clear", %listener, %remote);
                return Ok(Opened::Clear(client, upstream));
            }
            Ok(Spoken::Over(Reason::Ended)) => {}
            Ok(Spoken::Over(Reason::Injected)) => {
                failures.count("starttls_injected");
                tracing::warn!(event = "starttls.injected", %listener, %remote);
            }
            Ok(Spoken::Over(reason)) => {
                failures.count("starttls_refused");
                let reason = reason.to_string();
                tracing::info!(event = "starttls.refused", %listener, %remote, reason);
            }
            Err(error) => {
                failures.count("starttls_failed");
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
            // The conversation has looked already; this is the second look.
            (Talked::StartTls, _) if !sides.client.said.is_empty() => {
                Spoken::Over(Reason::Injected)
            }
            // What an upstream said in the clear ends here, with its connection.
            (Talked::StartTls, _) => Spoken::Tls(client.into_io()),
            (Talked::Pass, Some(upstream)) => Spoken::Clear(client, upstream),
            (Talked::Pass, None) => return Err(io::ErrorKind::NotConnected.into()),
            (Talked::Over(reason), _) => Spoken::Over(reason),
        })
    }

    /// An upstream for a client without TLS, which means no domain.
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

/// Whether TLS comes with the first byte, which stays where it is.
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
