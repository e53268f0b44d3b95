//! What a handshake settled, for whoever carries the connection on.

use std::net::SocketAddr;

use conclave_preface::proxy_protocol::{self, ClientFacts, Protection};
use conclave_store::{id::DomainName, record::ProxyVersion};

use crate::{live::Chosen, tls::ClientIdentity};

/// A connection whose handshake came to its end.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// The client; behind a trusted proxy what its PROXY header says.
    pub(crate) remote: SocketAddr,
    /// Where the client connected to, as far as it is known.
    pub(crate) local: Option<SocketAddr>,
    /// The domain that was served.
    pub(crate) domain: DomainName,
    /// Server name of the hello; from the client, so escape it where it is shown.
    pub(crate) server_name: Option<String>,
    /// How the domain was found.
    pub(crate) chosen: Chosen,
    /// Over UDP, by DTLS.
    pub(crate) is_datagram: bool,
    /// As `TLSv1.3`.
    pub(crate) version: &'static str,
    /// IANA name of the cipher suite.
    pub(crate) cipher: String,
    /// Application protocol agreed on (RFC 7301).
    pub(crate) alpn: Option<Vec<u8>>,
    /// Whether an earlier session was resumed.
    pub(crate) is_resumed: bool,
    /// The client's certificate, if one was asked for and counts.
    pub(crate) client: Option<ClientIdentity>,
}

impl Session {
    /// The PROXY header that tells the upstream about it.
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
