//! Listeners: sockets on each node where TLS is terminated.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::id::{DomainName, ListenerName};

/// Protocol of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ListenerProtocol {
    /// TLS from the first byte.
    Tls,
    /// SMTP with STARTTLS (RFC 3207).
    Smtp,
    /// IMAP with STARTTLS (RFC 9051 §6.2.1).
    Imap,
    /// POP3 with STLS (RFC 2595 §4).
    Pop3,
    /// XMPP streams of clients (RFC 6120 §5).
    XmppClient,
    /// XMPP streams of servers (RFC 6120 §5).
    XmppServer,
    /// LDAP with the StartTLS operation (RFC 4511 §4.14).
    Ldap,
    /// PostgreSQL with SSLRequest, or direct TLS.
    Postgres,
    /// ManageSieve with STARTTLS (RFC 5804 §2.2).
    Sieve,
    /// The control connection of FTP with AUTH TLS (RFC 4217).
    Ftp,
    /// Unencrypted connections in, TLS to a remote server out.
    OutgoingTls,
    /// DTLS; datagrams go to a UDP upstream.
    Dtls,
}

impl Listener {
    /// Returns whether two listeners need the same port. One without an address uses its port on
    /// all addresses. TCP and UDP ports are separate.
    pub fn overlaps(&self, other: &Listener) -> bool {
        self.port == other.port
            && self.protocol.is_datagram() == other.protocol.is_datagram()
            && (self.address.is_none() || other.address.is_none() || self.address == other.address)
    }
}

impl ListenerProtocol {
    /// Every protocol.
    pub const ALL: [ListenerProtocol; 12] = [
        ListenerProtocol::Tls,
        ListenerProtocol::Smtp,
        ListenerProtocol::Imap,
        ListenerProtocol::Pop3,
        ListenerProtocol::XmppClient,
        ListenerProtocol::XmppServer,
        ListenerProtocol::Ldap,
        ListenerProtocol::Postgres,
        ListenerProtocol::Sieve,
        ListenerProtocol::Ftp,
        ListenerProtocol::OutgoingTls,
        ListenerProtocol::Dtls,
    ];

    /// Returns the protocol's name.
    pub fn as_str(self) -> &'static str {
        match self {
            ListenerProtocol::Tls => "tls",
            ListenerProtocol::Smtp => "smtp",
            ListenerProtocol::Imap => "imap",
            ListenerProtocol::Pop3 => "pop3",
            ListenerProtocol::XmppClient => "xmpp",
            ListenerProtocol::XmppServer => "xmpp-server",
            ListenerProtocol::Ldap => "ldap",
            ListenerProtocol::Postgres => "postgres",
            ListenerProtocol::Sieve => "sieve",
            ListenerProtocol::Ftp => "ftp",
            ListenerProtocol::OutgoingTls => "outgoing-tls",
            ListenerProtocol::Dtls => "dtls",
        }
    }

    /// Returns the protocol of that name.
    pub fn parse(text: &str) -> Option<ListenerProtocol> {
        ListenerProtocol::ALL.into_iter().find(|one| one.as_str() == text)
    }

    /// Returns whether connections begin unencrypted and start TLS by a command.
    pub fn has_starttls(self) -> bool {
        use ListenerProtocol as P;
        !matches!(self, P::Tls | P::OutgoingTls | P::Dtls)
    }

    /// Returns whether the protocol runs over UDP, whose ports are separate from TCP's.
    pub fn is_datagram(self) -> bool {
        self == ListenerProtocol::Dtls
    }
}

/// Version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProxyVersion {
    /// The text header, without facts about TLS.
    V1,
    /// The binary header, with facts about TLS.
    V2,
}

/// A range of IP addresses with a common prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// An address in the network.
    pub address: IpAddr,
    /// Length of the prefix in bits; at most 32 for IPv4, 128 for IPv6.
    pub prefix: u8,
}

impl Network {
    /// Returns whether the network contains `address`. An IPv4-mapped IPv6 address is treated as
    /// IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address.to_canonical() {
            IpAddr::V4(v4) => (32_u8, u128::from(u32::from(v4)) << 96),
            IpAddr::V6(v6) => (128, u128::from(v6)),
        };
        let ((own_size, own), (size, other)) = (bits(self.address), bits(address));
        let shift = 128_u32.saturating_sub(u32::from(self.prefix));
        own_size == size
            && self.prefix <= size
            && own.checked_shr(shift).unwrap_or(0) == other.checked_shr(shift).unwrap_or(0)
    }
}

/// TLS to a remote server; only for [`ListenerProtocol::OutgoingTls`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    /// Expected name in the server's certificate; `None`: the host of the upstream.
    pub server_name: Option<String>,
    /// Protocol for STARTTLS with the server; `None`: TLS from the first byte.
    pub starttls: Option<ListenerProtocol>,
}

/// A listener: a socket to open on every node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Name.
    pub name: ListenerName,
    /// Protocol spoken on it.
    pub protocol: ListenerProtocol,
    /// Local address; `None` means every address in `[node] addresses` of each node.
    pub address: Option<IpAddr>,
    /// Local port, never 0.
    pub port: u16,
    /// Destinations of the decrypted bytes, used in turn: `HOST:PORT`, `unix:PATH`, or
    /// `udp:HOST:PORT` for DTLS; 1 to [`crate::limits::UPSTREAMS_MAX`].
    pub upstreams: Vec<String>,
    /// Domains with upstreams of their own.
    pub domain_upstreams: BTreeMap<DomainName, Vec<String>>,
    /// STARTTLS only: without TLS, only the commands that lead to TLS are allowed.
    pub requires_tls: bool,
    /// Application protocols (ALPN, RFC 7301), most preferred first; empty: those of the listener's
    /// protocol.
    pub alpn: Vec<String>,
    /// Networks with a mandatory PROXY header. From other networks none is accepted.
    pub proxy_from: Vec<Network>,
    /// PROXY header sent to the upstream.
    pub proxy_to: Option<ProxyVersion>,
    /// Settings for outgoing TLS.
    pub outgoing: Option<Outgoing>,
}

/// Which clients a listener takes, besides what the domains ask of theirs. A row of its own from
/// level 2 on; a listener without it has the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerPolicy {
    /// Every client must have a certificate that its domain accepts. Nobody goes on without TLS,
    /// and a domain that asks for no certificate is not served here.
    pub requires_client_certificate: bool,
    /// Accepts client certificates whose extended key usage names servers and not clients: those of
    /// servers that talk to servers.
    pub takes_server_certificates: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_the_addresses_with_its_bits() {
        let check = |address: &str, prefix: u8, other: &str, expected: bool| {
            let network = Network { address: address.parse().unwrap(), prefix };
            assert_eq!(network.contains(other.parse().unwrap()), expected, "{other}");
        };
        check("10.1.2.3", 8, "10.255.0.1", true);
        check("10.1.2.3", 8, "11.0.0.1", false);
        check("10.1.2.3", 32, "10.1.2.3", true);
        check("10.1.2.3", 32, "10.1.2.2", false);
        check("0.0.0.0", 0, "192.0.2.1", true);
        check("0.0.0.0", 0, "2001:db8::1", false);
        check("10.0.0.0", 8, "::ffff:10.1.1.1", true);
        check("2001:db8::", 32, "2001:db8:1::1", true);
        check("2001:db8::", 32, "2001:db9::1", false);
        check("::", 0, "2001:db9::1", true);
    }
}
