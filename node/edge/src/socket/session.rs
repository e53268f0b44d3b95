//! The parameters of a completed handshake, for forwarding and the PROXY header.

use std::net::SocketAddr;

use conclave_preface::proxy_protocol::{self, ClientFacts, Protection};
use conclave_store::{id::DomainName, record::ProxyVersion};

use crate::{live::Chosen, tls::ClientIdentity};

/// A completed handshake.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// Address of the client. Behind a trusted proxy, the address in the PROXY header.
    pub(crate) remote: SocketAddr,
    /// Local address of the client's connection, if known.
    pub(crate) local: Option<SocketAddr>,
    /// Name of the served domain.
    pub(crate) domain: DomainName,
    /// Server name of the hello. Chosen by the client: escape it before display.
    pub(crate) server_name: Option<String>,
    /// How the domain was selected.
    pub(crate) chosen: Chosen,
    /// Whether this is DTLS, over UDP.
    pub(crate) is_datagram: bool,
    /// TLS version, such as `TLSv1.3`.
    pub(crate) version: &'static str,
    /// IANA name of the cipher suite.
    pub(crate) cipher: String,
    /// Application protocol agreed on (RFC 7301).
    pub(crate) alpn: Option<Vec<u8>>,
    /// Whether an earlier session was resumed.
    pub(crate) is_resumed: bool,
    /// The client's certificate, if one was requested and accepted.
    pub(crate) client: Option<ClientIdentity>,
}

impl Session {
    /// Returns the PROXY header about this session for the upstream.
    pub(crate) fn proxy_header(&self, version: ProxyVersion) -> Vec<u8> {
        proxy_protocol::header(version, self.remote, self.local, Some(&self.protection()))
    }

    fn protection(&self) -> Protection<'_> {
        Protection {
            is_datagram: self.is_datagram,
            version: self.version,
            cipher: &self.cipher,
            alpn: self.alpn.as_deref(),
            domain: self.domain.as_str(),
            server_name: self.server_name.as_deref(),
            is_resumed: self.is_resumed,
            client: self.client.as_ref().map(|client| ClientFacts {
                common_name: client.common_name.as_deref(),
                emails: &client.emails,
                issuer: &client.issuer,
                fingerprint: &client.fingerprint,
                is_verified: client.is_verified,
            }),
        }
    }
}
