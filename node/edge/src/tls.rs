//! TLS as this node speaks it.

mod alpn;
mod client;
pub mod datagrams;
mod hello;
pub(crate) mod limits;
mod policy;
#[cfg(test)]
mod tests;
mod tickets;

use std::sync::Arc;

use conclave_store::{id::ListenerName, record::Listener};
use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert, danger::ClientCertVerifier},
    sign::CertifiedKey,
};

pub(crate) use client::{Asking, ClientIdentity, ClientPolicy, WrongReason};
pub(crate) use hello::{FirstBytes, Tried, is_old};
pub use policy::NodeLimits;
pub(crate) use policy::Policy;
pub(crate) use tickets::Sessions;

/// Tickets that a client gets for TLS 1.3. Each resumed connection gets one again, so that one
/// is enough for a client that uses each only once (RFC 8446 §C.4); a second would cost each full
/// handshake a tenth more bytes, and most clients would throw it away.
const TICKETS_PER_CONNECTION: usize = 1;

/// What a handshake must know of the listener that the client came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Door {
    /// A session of one listener never resumes on another.
    pub(crate) name: ListenerName,
    /// Application protocols that are agreed on, wanted ones first; empty: the client's wishes
    /// are not looked at.
    pub(crate) alpn: Vec<Vec<u8>>,
}

impl Door {
    pub(crate) fn of(listener: &Listener) -> Door {
        let own = listener.alpn.iter().map(|one| one.as_bytes().to_vec());
        let alpn = match listener.alpn.is_empty() {
            true => alpn::of(listener.protocol).iter().map(|one| one.to_vec()).collect(),
            false => own.collect(),
        };
        Door { name: listener.name.clone(), alpn }
    }
}

/// What a domain can show: a certificate for each family of keys that it has, the one that is
/// wanted first.
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
    /// The first whose signatures the client can verify (A19). In TLS 1.2 the cipher suites have
    /// a say as well; rustls has taken out of the hello what they exclude. A client that can
    /// verify none of them learns so from its handshake with the first.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits =
            |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        self.0.iter().find(fits).or(self.0.first()).cloned()
    }
}

/// Settings for connections that show one of `keys`.
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

/// Alerts that are sent before rustls has a part in the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alert {
    /// The domain may not be used so: RFC 8446 §6.2.
    AccessDenied,
    /// This node cannot do what it should: RFC 8446 §6.2.
    InternalError,
    /// No domain has this name: RFC 6066 §3.
    UnrecognizedName,
    /// A version that is not spoken here: RFC 8446 §6.2.
    ProtocolVersion,
    /// No TLS at all: RFC 8446 §6.2.
    UnexpectedMessage,
}

impl Alert {
    /// The alert as a fatal, unprotected record (RFC 8446 §5.1 and §6).
    pub(crate) const fn record(self) -> [u8; 7] {
        let description = match self {
            Alert::AccessDenied => 49,
            Alert::InternalError => 80,
            Alert::UnrecognizedName => 112,
            Alert::ProtocolVersion => 70,
            Alert::UnexpectedMessage => 10,
        };
        [21, 3, 3, 0, 2, 2, description]
    }
}
