//! What a handshake settled, for whoever carries the connection on.

use std::net::SocketAddr;

use conclave_preface::proxy_protocol::{self, ClientFacts, Protection};
use conclave_store::{id::DomainName, record::ProxyVersion};

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

/// How a domain was found (C2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// By the server name of the hello.
    Name,
    /// By the local address.
    Address,
    /// Nothing led to another domain.
    MainDomain,
    /// By the `to` of an XMPP stream.
    StreamTo,
}

impl Chosen {
    /// One word for logs and answers.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Chosen::Name => "name",
            Chosen::Address => "address",
            Chosen::MainDomain => "main",
            Chosen::StreamTo => "stream",
        }
    }
}

/// Who a client proved to be. All text comes from its certificate: escape it where it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientIdentity {
    /// The certificate.
    pub(crate) certificate_der: Vec<u8>,
    /// Its subject (RFC 4514).
    pub(crate) subject: String,
    /// The common name of the subject.
    pub(crate) common_name: Option<String>,
    /// E-mail addresses of the subject alternative names.
    pub(crate) emails: Vec<String>,
    /// Its issuer (RFC 4514).
    pub(crate) issuer: String,
    /// SHA-256 of the certificate, lower-case hex.
    pub(crate) fingerprint: String,
    /// Valid by the domain's trust and issued by the chosen certificate.
    pub(crate) is_verified: bool,
}
