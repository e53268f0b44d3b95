//! Outgoing TLS: clear connections in, TLS to a remote server out (C6).

mod verifier;

use std::{io, sync::Arc};

use conclave_preface::starttls::{Conversation, Reason, Sides, with_server};
use conclave_store::record::{Listener, ListenerProtocol};
use rustls::{
    ClientConfig, SignatureScheme,
    client::{ResolvesClientCert, Resumption},
    pki_types::ServerName,
    sign::CertifiedKey,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    Edge,
    connect::First,
    converse::{Talked, converse, end},
    forward::{Plain, give},
    handshake::{Arrival, Ended},
    limits::CLEAR_TIMEOUT,
    listener::Accepting,
    stream::Stream,
};
use crate::{live::RemoteTrust, tls::CertifiedKeys};
use verifier::verifier;

/// A remote server, as a listener knows it.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    /// Whom its certificate must name.
    name: Option<ServerName<'static>>,
    /// Protocol whose own command starts TLS.
    starttls: Option<ListenerProtocol>,
}

/// The way to a remote server.
pub(crate) type ToServer = Plain<TlsStream<Stream>>;

impl Remote {
    /// The remote server of a listener; none if it is for something else. What it must prove is
    /// the name that is set, or the host of the upstream.
    pub(crate) fn of(listener: &Listener) -> Option<Remote> {
        if listener.protocol != ListenerProtocol::OutgoingTls {
            return None;
        }
        let outgoing = listener.outgoing.as_ref();
        let set = outgoing.and_then(|outgoing| outgoing.server_name.clone());
        let host = || host_of(listener.upstreams.first()?.as_str());
        let name = set.or_else(host).and_then(|name| ServerName::try_from(name).ok());
        let starttls = outgoing.and_then(|outgoing| outgoing.starttls);
        Some(Remote { name, starttls })
    }
}

/// The host of `HOST:PORT`.
fn host_of(upstream: &str) -> Option<String> {
    let (host, _) = upstream.rsplit_once(':')?;
    Some(host.trim_start_matches('[').trim_end_matches(']').to_owned())
}

impl Edge {
    /// Connects a client in the clear to a remote server under TLS.
    pub(super) async fn reach(
        &self,
        stream: TcpStream,
        received: &mut Vec<u8>,
        arrival: &Arrival<'_>,
        accepting: &Accepting,
    ) -> Result<(Plain<TcpStream>, ToServer), Ended> {
        let mut client = Plain::new(stream, Vec::new());
        let mut sides = Sides::default();
        sides.client.said = std::mem::take(received);
        let reaching = self.reach_server(&mut client, &mut sides, accepting);
        let reached = match timeout(CLEAR_TIMEOUT, reaching).await {
            Ok(reached) => reached,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the server is too slow")),
        };
        match reached {
            Ok(server) => Ok((client, server)),
            Err(error) => {
                let (listener, remote) = (&accepting.name, arrival.remote);
                arrival.counters.failures.count("outgoing");
                tracing::warn!(event = "outgoing.refused", %listener, %remote, %error);
                // The client gets a clean end rather than a cut.
                let _ = timeout(self.shared.options.handshake_timeout, end(&mut client)).await;
                Err(Ended)
            }
        }
    }

    async fn reach_server(
        &self,
        client: &mut Plain<TcpStream>,
        sides: &mut Sides,
        accepting: &Accepting,
    ) -> io::Result<ToServer> {
        let remote = accepting.outgoing.as_ref();
        let no_name = || io::Error::new(io::ErrorKind::InvalidInput, "no name for the server");
        let name = remote.and_then(|remote| remote.name.clone()).ok_or_else(no_name)?;
        let connector = TlsConnector::from(client_config(&name, self.shared.live.remote_trust())?);
        let allowed = &self.shared.options.upstreams;
        let starttls = remote.and_then(|remote| remote.starttls);
        let host = self.shared.live.main_domain().as_str();
        let Some(mut conversation) = starttls.and_then(|protocol| with_server(protocol, host))
        else {
            let stream = accepting.upstreams.connect(allowed, First::Unknown).await?;
            let mut server = Plain::new(connector.connect(name, stream).await?, Vec::new());
            give(&mut server, &std::mem::take(&mut sides.client.said)).await?;
            return Ok(server);
        };
        let conversation = conversation.as_mut();
        let connect = || async {
            let stream = accepting.upstreams.connect(allowed, First::Unknown).await?;
            Ok(Plain::new(stream, Vec::new()))
        };
        let mut clear = None;
        let talking = converse(conversation, sides, client, &mut clear, connect, CLEAR_TIMEOUT);
        let clear = match (talking.await?, clear) {
            (Talked::StartTls, Some(clear)) => clear.into_io(),
            (Talked::Over(reason), _) => return Err(over(&reason)),
            _ => return Err(io::ErrorKind::NotConnected.into()),
        };
        // Said in the clear behind the agreement to start TLS: nobody's words (CVE-2021-23222).
        // The conversation has looked already; this is the second look.
        if !sides.upstream.said.is_empty() {
            return Err(over(&Reason::Injected));
        }
        match connector.connect(name, clear).await {
            Ok(stream) => begin(conversation, sides, client, stream).await,
            Err(error) => {
                let _ = give(client, &conversation.farewell("no TLS with the server")).await;
                Err(error)
            }
        }
    }
}

/// TLS stands: both sides are told what they must know of it.
async fn begin(
    conversation: &mut dyn Conversation,
    sides: &mut Sides,
    client: &mut Plain<TcpStream>,
    stream: TlsStream<Stream>,
) -> io::Result<ToServer> {
    let mut server = Some(Plain::new(stream, Vec::new()));
    let connect = || std::future::ready(Err(io::ErrorKind::NotConnected.into()));
    let talking = converse(conversation, sides, client, &mut server, connect, CLEAR_TIMEOUT);
    match (talking.await?, server) {
        (Talked::Pass, Some(server)) => Ok(server),
        (Talked::Over(reason), _) => Err(over(&reason)),
        _ => Err(io::ErrorKind::NotConnected.into()),
    }
}

/// Versions, suites and groups are those of the cluster's settings and of this node.
fn client_config(
    name: &ServerName<'static>,
    trust: Arc<RemoteTrust>,
) -> io::Result<Arc<ClientConfig>> {
    let policy = Arc::clone(&trust.policy);
    let own = MainCertificate(trust.own.clone());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(policy.provider()))
        .with_protocol_versions(policy.versions())
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(verifier(trust, Arc::clone(policy.provider())))
        .with_client_cert_resolver(Arc::new(own));
    // A session would outlive the trust that it was made under.
    config.resumption = Resumption::disabled();
    config.enable_sni = matches!(name, ServerName::DnsName(_));
    Ok(Arc::new(config))
}

fn over(reason: &Reason) -> io::Error {
    io::Error::other(reason.to_string())
}

/// The certificate of the Main Domain, for servers that ask for one.
#[derive(Debug)]
struct MainCertificate(Option<Arc<CertifiedKeys>>);

impl ResolvesClientCert for MainCertificate {
    fn resolve(
        &self,
        _authorities: &[&[u8]],
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        self.0.as_ref()?.iter().find(fits).cloned()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}
