//! Outgoing TLS: unencrypted clients on this side, TLS to a remote server on the other.

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
    failure::Failure,
    forward::{Plain, give},
    handshake::{Arrival, Ended},
    limits::CLEAR_TIMEOUT,
    listener::Accepting,
    stream::Stream,
};
use crate::{live::RemoteTrust, tls::CertifiedKeys};
use verifier::verifier;

/// The remote server of an outgoing listener.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    /// Expected name in its certificate.
    name: Option<ServerName<'static>>,
    /// STARTTLS protocol of the server, if any.
    starttls: Option<ListenerProtocol>,
}

/// A TLS connection to a remote server.
pub(crate) type ToServer = Plain<TlsStream<Stream>>;

impl Remote {
    /// Returns the remote server of a listener; none for other protocols. The expected name is the
    /// configured one, otherwise the host of the first upstream.
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

/// Returns the host of `HOST:PORT`.
fn host_of(upstream: &str) -> Option<String> {
    let (host, _) = upstream.rsplit_once(':')?;
    Some(host.trim_start_matches('[').trim_end_matches(']').to_owned())
}

impl Edge {
    /// Connects an unencrypted client to a remote server over TLS.
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
                arrival.fails(Failure::Outgoing);
                tracing::warn!(event = "outgoing.refused", %listener, %remote, %error);
                // Close cleanly, so that the client does not take this for a truncation.
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
        // Anyone on the path could have sent these bytes, after the agreement to start TLS and
        // before the handshake (CVE-2021-23222). The conversation has checked this already. Checked
        // again here, because a mistake there would be a plaintext injection.
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

/// Finishes the conversation after the handshake with the server.
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

/// Builds the client settings. Versions, suites and groups come from the policy of the cluster and
/// of this node.
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
    // A ticket would outlive the trust under which its session was made.
    config.resumption = Resumption::disabled();
    config.enable_sni = matches!(name, ServerName::DnsName(_));
    Ok(Arc::new(config))
}

fn over(reason: &Reason) -> io::Error {
    io::Error::other(reason.to_string())
}

/// Client certificate of the Main Domain, for servers that request one.
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
