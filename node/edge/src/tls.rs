//! TLS parameters of this node: certificate selection, server settings and alerts.

mod alpn;
mod client;
pub mod datagrams;
mod hello;
pub(crate) mod limits;
mod policy;
mod revocation_list;
#[cfg(test)]
mod tests;
mod tickets;

use std::sync::Arc;

use conclave_store::{
    id::ListenerName,
    record::{Listener, ListenerPolicy},
};
use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert, danger::ClientCertVerifier},
    sign::CertifiedKey,
};

pub(crate) use client::{Asking, ClientIdentity, ClientPolicy, WrongReason};
pub(crate) use hello::{FirstBytes, Tried, is_old};
pub use policy::NodeLimits;
pub(crate) use policy::Policy;
pub(crate) use revocation_list::RevocationList;
pub(crate) use tickets::Sessions;

/// Tickets sent per TLS 1.3 connection. One is enough even for a client that uses each ticket once
/// (RFC 8446 §C.4), because each resumed connection brings another. A second one would make each
/// full handshake a tenth longer, and most clients would discard it.
const TICKETS_PER_CONNECTION: usize = 1;

/// The parameters of a listener that a handshake depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Door {
    /// Name of the listener. A session of one listener never resumes on another.
    pub(crate) name: ListenerName,
    /// Application protocols (ALPN), most preferred first. If empty, the client's ALPN extension is
    /// ignored.
    pub(crate) alpn: Vec<Vec<u8>>,
    /// Which clients the listener takes.
    pub(crate) policy: ListenerPolicy,
}

impl Door {
    pub(crate) fn of(listener: &Listener, policy: ListenerPolicy) -> Door {
        let own = listener.alpn.iter().map(|one| one.as_bytes().to_vec());
        let alpn = match listener.alpn.is_empty() {
            true => alpn::of(listener.protocol).iter().map(|one| one.to_vec()).collect(),
            false => own.collect(),
        };
        Door { name: listener.name.clone(), alpn, policy }
    }
}

/// The certificates of a domain: one for each key family, most preferred first.
#[derive(Debug)]
pub(crate) struct CertifiedKeys(Vec<Arc<CertifiedKey>>);

impl CertifiedKeys {
    pub(crate) fn new(keys: Vec<Arc<CertifiedKey>>) -> Arc<CertifiedKeys> {
        Arc::new(CertifiedKeys(keys))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<CertifiedKey>> {
        self.0.iter()
    }
}

impl ResolvesServerCert for CertifiedKeys {
    /// Chooses the first certificate with signatures verifiable by the client. In TLS 1.2 the
    /// cipher suites matter too; rustls has already removed the signature schemes that they
    /// exclude. If none fits, the first is used, so that the client sees its failure in the
    /// handshake.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits =
            |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        self.0.iter().find(fits).or(self.0.first()).cloned()
    }
}

/// Makes settings for connections showing one of `keys`.
pub(crate) fn config(
    policy: &Policy,
    keys: Arc<CertifiedKeys>,
    door: &Door,
    sessions: Option<&Sessions>,
    asking: Option<&Asking>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let verifier = asking.map(|asking| -> Arc<dyn ClientCertVerifier> { Arc::new(asking.clone()) });
    let mut config = policy.config(verifier)?;
    config.cert_resolver = keys;
    config.alpn_protocols.clone_from(&door.alpn);
    match sessions.and_then(|sessions| sessions.ticketer(door, asking)) {
        Some(ticketer) => {
            config.send_tls13_tickets = TICKETS_PER_CONNECTION;
            config.ticketer = ticketer;
        }
        None => config.send_tls13_tickets = 0,
    }
    Ok(Arc::new(config))
}

/// Alerts sent by this node itself, before a rustls connection exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alert {
    /// The domain refuses TLS: RFC 8446 §6.2.
    AccessDenied,
    /// This node cannot serve the domain: RFC 8446 §6.2.
    InternalError,
    /// No domain matches the server name: RFC 6066 §3.
    UnrecognizedName,
    /// The client's version is not supported: RFC 8446 §6.2.
    ProtocolVersion,
    /// The first bytes are not TLS: RFC 8446 §6.2.
    UnexpectedMessage,
    /// The client names no application protocol: RFC 7301 §3.2.
    NoApplicationProtocol,
}

impl Alert {
    /// Encodes the alert as a fatal, unprotected record (RFC 8446 §5.1 and §6).
    pub(crate) const fn record(self) -> [u8; 7] {
        let description = match self {
            Alert::AccessDenied => 49,
            Alert::InternalError => 80,
            Alert::UnrecognizedName => 112,
            Alert::ProtocolVersion => 70,
            Alert::UnexpectedMessage => 10,
            Alert::NoApplicationProtocol => 120,
        };
        [21, 3, 3, 0, 2, 2, description]
    }
}
