//! A DTLS association: domain selection, handshake, upstream, forwarding and close_notify.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use conclave_dtls::{Alert, ClientHello, ContextError, Facts, Opening, State, limits};
use conclave_store::{id::DomainName, record::TlsLogLevel};
use conclave_system::clock;
use futures::{StreamExt, channel::mpsc};
use tokio::time::sleep_until;

use super::{
    forward,
    keys::ticket_keys,
    socket::{Pair, Socket},
    table::Seat,
};
use crate::{
    live::{Choice, Chosen, ReadyDatagrams, Refusal, Wanted},
    socket::{
        Edge,
        counters::Handshake,
        failure::{Failure, datagram_reason},
        handshake::say,
        limits::{DATAGRAM_HANDSHAKE_TIMEOUT, Place},
        listener::Accepting,
        record::Recorded,
        session::Session,
        workers::Entry,
    },
    tls::{ClientIdentity, ClientPolicy, Policy},
};

/// DTLS 1.2 on the wire (RFC 6347 §4.1). Later versions have lower numbers.
const DTLS_1_2: u16 = 0xFEFD;

/// The inputs of an association.
pub(super) struct Association {
    pub(super) edge: Edge,
    pub(super) accepting: Arc<Accepting>,
    pub(super) socket: Arc<Socket>,
    pub(super) pair: Pair,
    pub(super) seat: Seat,
    pub(super) datagrams: mpsc::Receiver<Vec<u8>>,
    pub(super) recorded: Recorded,
    pub(super) _place: Place,
}

/// A DTLS session with its path to the client. Sends close_notify when dropped.
pub(super) struct Peer {
    pub(super) session: Box<dyn conclave_dtls::Session>,
    socket: Arc<Socket>,
    pair: Pair,
}

impl Peer {
    /// Sends all pending datagrams to the client.
    pub(super) fn flush(&mut self) {
        while let Some(datagram) = self.session.next_datagram() {
            self.socket.send(self.pair, &datagram);
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.session.close();
        self.flush();
    }
}

/// An accepted hello.
struct Accepted {
    peer: Peer,
    policy: Arc<Policy>,
    found: (DomainName, Chosen),
    client: Option<Arc<ClientPolicy>>,
}

impl Association {
    pub(super) async fn run(mut self, hello: ClientHello, entry: Entry) {
        let accepting = Arc::clone(&self.accepting);
        let _open = accepting.counters.open();
        let Some(accepted) = self.accept(&hello) else {
            return self.seat.refuse();
        };
        drop(hello);
        let handshake = Box::pin(self.handshake(accepted));
        let Some((peer, session)) = handshake.await else { return };
        entry.grow();
        forward::forward(&mut self, peer, session).await;
    }

    /// Chooses a domain and starts a session. A refused client gets an alert.
    fn accept(&self, hello: &ClientHello) -> Option<Accepted> {
        let (door, remote) = (&self.accepting.door, self.pair.remote);
        let server_name = hello.server_name();
        let local = self.pair.local;
        let wanted = Wanted { stream_to: None, server_name, local };
        let Choice { policy, found, ready } = self.edge.shared.live.choose_datagrams(wanted, door);
        let domain = found.as_ref().map_or("-", |(name, _)| name.as_str());
        let chosen = found.as_ref().map_or("-", |(_, chosen)| chosen.word());
        let (listener, shown) = (&door.name, server_name.unwrap_or("-"));
        say!(policy, Debug, event = "dtls.chosen", %listener, %remote, server_name = shown, domain, chosen);
        if hello.version() > DTLS_1_2 {
            self.refuse(hello, Alert::ProtocolVersion, Failure::Version);
            say!(policy, Info, event = "dtls.refused", %listener, %remote, server_name = shown, reason = "version", tried = "DTLSv1.0");
            return None;
        }
        let ready = match ready {
            Ok(ready) => ready,
            Err(refusal) => {
                let reason = refusal.reason();
                self.refuse(hello, alert(&refusal), &refusal);
                if let Refusal::KeyUnavailable(why) | Refusal::Settings(why) = &refusal {
                    tracing::warn!(event = "dtls.refused", %listener, %remote, server_name = shown, domain, reason, why);
                } else {
                    say!(policy, Info, event = "dtls.refused", %listener, %remote, server_name = shown, domain, reason);
                }
                return None;
            }
        };
        let client = ready.client.clone();
        match self.begin(hello, &ready) {
            Ok(peer) => Some(Accepted { peer, policy, found: found?, client }),
            Err(error) => {
                self.refuse(hello, Alert::InternalError, Failure::Other);
                tracing::warn!(event = "dtls.refused", %listener, %remote, server_name = shown, domain, reason = "other", %error);
                None
            }
        }
    }

    fn refuse(&self, hello: &ClientHello, alert: Alert, failure: impl Into<Failure>) {
        self.socket.send(self.pair, &hello.refuse(alert));
        self.recorded.fails(&self.accepting.counters, failure);
    }

    fn begin(&self, hello: &ClientHello, ready: &ReadyDatagrams) -> Result<Peer, ContextError> {
        let keys = || Arc::new(ticket_keys(&self.edge.shared.live.session_keys()));
        let opening = Opening {
            now: Instant::now(),
            unix_seconds: i64::try_from(clock::now().0 / 1_000).unwrap_or(i64::MAX),
            tickets: ready.resumes.then(keys),
            path_mtu_bytes: limits::PATH_MTU_BYTES_MAX,
        };
        let session = ready.context.accept(hello, opening)?;
        Ok(Peer { session, socket: Arc::clone(&self.socket), pair: self.pair })
    }

    /// Exchanges datagrams until the handshake is complete or has failed.
    async fn handshake(&mut self, accepted: Accepted) -> Option<(Peer, Session)> {
        let Accepted { mut peer, policy, found, client } = accepted;
        let since = Instant::now();
        let end = since + DATAGRAM_HANDSHAKE_TIMEOUT;
        loop {
            peer.flush();
            match peer.session.state() {
                State::Handshaking => {}
                State::Established => break,
                State::Closed(reason) => {
                    let (failure, detail) = datagram_reason(reason);
                    self.failed(&policy, failure, &detail);
                    return None;
                }
            }
            let timer = peer.session.next_timer().map_or(end, |timer| timer.min(end));
            tokio::select! {
                datagram = self.datagrams.next() => {
                    // The sender is gone: the listener closes, or the client started a new session.
                    peer.session.datagram(Instant::now(), &datagram?);
                }
                () = sleep_until(timer.into()) => {
                    if Instant::now() >= end {
                        self.failed(&policy, Failure::Timeout, "it does not come to its end");
                        return None;
                    }
                    peer.session.timer(Instant::now());
                }
            }
        }
        let facts = peer.session.facts()?.clone();
        let session = self.session(&policy, facts, found, client.is_some())?;
        self.recorded.agreed(&session);
        self.accepting.counters.handshake(&Handshake {
            version: session.version,
            is_resumed: session.is_resumed,
            has_client: session.client.is_some(),
            took: since.elapsed(),
        });
        self.seat.establish();
        Some((peer, session))
    }

    fn failed(&mut self, policy: &Policy, failure: Failure, detail: &str) {
        self.seat.refuse();
        self.recorded.fails(&self.accepting.counters, failure);
        let (listener, remote) = (&self.accepting.name, self.pair.remote);
        let detail = detail.escape_debug().to_string();
        let reason = failure.word();
        say!(policy, Info, event = "dtls.handshake_failed", %listener, %remote, reason, detail);
    }

    /// Describes and logs the completed handshake.
    fn session(
        &mut self,
        policy: &Policy,
        facts: Facts,
        (domain, chosen): (DomainName, Chosen),
        is_asked: bool,
    ) -> Option<Session> {
        let (listener, remote) = (&self.accepting.name, self.pair.remote);
        let failures = &self.accepting.counters.failures;
        if let Some(wrong) = &facts.client_ignored {
            failures.count(Failure::of_word(wrong.reason));
            let (reason, why) = (wrong.reason, &wrong.detail);
            say!(policy, Info, event = "dtls.client_certificate_wrong", %listener, %remote, reason, why, ignored = true);
        }
        let client = match facts.peer_chain.first().filter(|_| is_asked) {
            Some(der) => match ClientPolicy::accepted(der) {
                Ok(client) => Some(client),
                Err(wrong) => {
                    self.failed(policy, Failure::ClientCertificate(wrong.reason), &wrong.detail);
                    return None;
                }
            },
            None => None,
        };
        let port = self.socket.local_addr().map_or(0, |own| own.port());
        let session = Session {
            remote,
            local: self.pair.local.map(|ip| SocketAddr::new(ip, port)),
            domain,
            server_name: facts.server_name,
            chosen,
            is_datagram: true,
            version: facts.version,
            cipher: facts.cipher,
            alpn: facts.alpn,
            is_resumed: facts.is_resumed,
            client,
        };
        self.note(policy, &session);
        Some(session)
    }

    fn note(&self, policy: &Policy, session: &Session) {
        let is_wanted = policy.logs(TlsLogLevel::Debug) || tracing::enabled!(tracing::Level::DEBUG);
        if !is_wanted {
            return;
        }
        let listener = &self.accepting.name;
        let alpn = session.alpn.as_deref().unwrap_or(b"-").escape_ascii().to_string();
        let server_name = session.server_name.as_deref().unwrap_or("-");
        let client = session.client.as_ref();
        let client = client.map_or("-", |client: &ClientIdentity| client.subject.as_str());
        let Session { remote, domain, version, cipher, is_resumed, local, .. } = session;
        let chosen = session.chosen.word();
        say!(policy, Debug, event = "dtls.handshake", %listener, %remote, ?local, server_name, %domain, chosen, version, cipher, alpn, resumed = is_resumed, client);
    }
}

fn alert(refusal: &Refusal) -> Alert {
    match refusal {
        Refusal::Unknown => Alert::UnrecognisedName,
        Refusal::Disabled | Refusal::Incomplete | Refusal::AsksForNone => Alert::AccessDenied,
        Refusal::KeyUnavailable(_) | Refusal::Settings(_) => Alert::InternalError,
    }
}
