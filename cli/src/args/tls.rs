//! Commands about TLS: settings, sessions, client certificates and listeners.

use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand};
use conclave_preface::starttls::{ListenerProtocol, with_server};

use super::{Changing, IfExists, IfMissing, duration};

const SWITCH: [&str; 2] = ["on", "off"];

#[derive(Subcommand)]
pub(crate) enum Tls {
    /// Shows the TLS settings of the cluster, and where this node is stricter
    #[command(after_help = "Examples:\n  conclave tls show\n  conclave tls show -o json")]
    Show,
    /// Changes TLS settings of the cluster; those that are not given stay
    #[command(
        after_help = "Examples:\n  conclave tls set --min-version 1.3\n  conclave tls set --ttl 8h --rotation 1h --groups X25519MLKEM768,x25519"
    )]
    Set(Box<TlsSet>),
    /// Shows age and number of the keys that protect sessions; never the keys themselves
    #[command(after_help = "Examples:\n  conclave tls sessions\n  conclave tls sessions -o json")]
    Sessions,
    /// Ends all sessions: no client resumes an earlier one
    #[command(after_help = "Examples:\n  conclave tls flush\n  conclave tls flush --yes")]
    Flush {
        #[command(flatten)]
        changing: Changing,
    },
    /// Makes a handshake with any server and shows the result; needs no node
    #[command(
        after_help = "Examples:\n  conclave tls probe shop.example:443\n  conclave tls probe 10.0.0.1:443 --server-name shop.example -o json\n  conclave tls probe mail.example:25 --starttls smtp\n  conclave tls probe sip.example:5061 --dtls"
    )]
    Probe {
        /// Server to connect to
        #[arg(value_name = "HOST:PORT", value_parser = target)]
        target: String,
        /// Server name to send, - for none [default: HOST, if it is no address]
        #[arg(long, value_name = "NAME", value_parser = conclave_node::server_name)]
        server_name: Option<String>,
        /// Application protocols to offer, preferred ones first, as h2,http/1.1 [default: none]
        #[arg(long, value_delimiter = ',', value_name = "NAMES")]
        alpn: Vec<String>,
        /// Start TLS by the command of this protocol: smtp, imap, pop3, xmpp, xmpp-server, ldap,
        /// postgres, sieve or ftp
        #[arg(long, value_name = "PROTOCOL", value_parser = protocol)]
        starttls: Option<ListenerProtocol>,
        /// Use DTLS over UDP
        #[arg(long, conflicts_with_all = ["starttls", "alpn"])]
        dtls: bool,
    },
}

#[derive(ClapArgs)]
pub(crate) struct TlsSet {
    /// How much of each handshake is logged
    #[arg(long, value_parser = ["error", "info", "debug"], value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
    /// How long a session may be resumed, as 2h or 1d; 0s for never
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub(crate) ttl: Option<Duration>,
    /// How often the key of session tickets changes, as 1h
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub(crate) rotation: Option<Duration>,
    /// Oldest version of TLS that is accepted: 1.2 or 1.3
    #[arg(long, value_name = "VERSION")]
    pub(crate) min_version: Option<String>,
    /// Choose the domain by the server name that the client sends
    #[arg(long, value_parser = SWITCH, value_name = "on|off", hide_possible_values = true)]
    pub(crate) process_target_domain: Option<String>,
    /// on: a wrong client certificate ends the handshake; off: it is treated as none
    #[arg(long, value_parser = SWITCH, value_name = "on|off", hide_possible_values = true)]
    pub(crate) abort_on_wrong_client_certificate: Option<String>,
    /// Cipher suites by their IANA names, preferred ones first; "" for all
    #[arg(long, value_name = "NAMES")]
    pub(crate) cipher_suites: Option<String>,
    /// Key exchange groups by their IANA names, preferred ones first; "" for all
    #[arg(long, value_name = "NAMES")]
    pub(crate) groups: Option<String>,
    /// Cannot be turned on (RFC 9325)
    #[arg(long, value_parser = SWITCH, value_name = "on|off", hide_possible_values = true)]
    pub(crate) cbc_ciphers_for_old_tls: Option<String>,
    /// Cannot be turned on (RFC 7465)
    #[arg(long, value_parser = SWITCH, value_name = "on|off", hide_possible_values = true)]
    pub(crate) weak_ciphers: Option<String>,
    /// Cannot be turned on (RFC 6176)
    #[arg(long, value_parser = SWITCH, value_name = "on|off", hide_possible_values = true)]
    pub(crate) accept_sslv2_hello: Option<String>,
    #[command(flatten)]
    pub(crate) changing: Changing,
}

#[derive(Subcommand)]
pub(crate) enum ClientAuth {
    /// Asks clients of a domain for a certificate
    #[command(
        after_help = "Examples:\n  conclave client-auth set shop.example --issuer 8c1f22 --required\n  conclave client-auth set shop.example --issuer 8c1f22 --dry-run\nThe fingerprints of issuers: conclave trust list --scope domain:shop.example\nCertificates whose extended key usage names servers only: conclave listener set --take-server-certificates on"
    )]
    Set {
        /// Name of the domain
        name: String,
        /// Fingerprint of the trusted certificate that must have issued it, or its first digits
        #[arg(long, value_name = "FINGERPRINT")]
        issuer: String,
        /// Refuse clients without a certificate
        #[arg(long)]
        required: bool,
        #[command(flatten)]
        changing: Changing,
    },
    /// Shows whether clients of a domain are asked for a certificate, and by which issuer
    #[command(
        after_help = "Examples:\n  conclave client-auth show shop.example\n  conclave client-auth show shop.example -o json"
    )]
    Show {
        /// Name of the domain
        name: String,
    },
    /// Stops asking clients of a domain for a certificate
    #[command(
        after_help = "Examples:\n  conclave client-auth clear shop.example\n  conclave client-auth clear shop.example --dry-run"
    )]
    Clear {
        /// Name of the domain
        name: String,
        #[command(flatten)]
        existing: IfExists,
        #[command(flatten)]
        changing: Changing,
    },
}

#[derive(Subcommand)]
pub(crate) enum Listener {
    /// Opens a socket on every node
    #[command(
        after_help = "Examples:\n  conclave listener add https --bind :443 --upstream 127.0.0.1:8080 --alpn h2,http/1.1\n  conclave listener add imap --protocol imap --bind :143 --upstream 10.0.0.9:143 --proxy-to v2\n  conclave listener add sip --protocol dtls --bind :5061 --upstream udp:127.0.0.1:5060"
    )]
    Add(Box<ListenerAdd>),
    /// Lists listeners, and what each one lacks on the answering node
    #[command(after_help = "Examples:\n  conclave listener list\n  conclave listener list -o json")]
    List,
    /// Shows a listener with all its settings
    #[command(
        after_help = "Examples:\n  conclave listener show https\n  conclave listener show https -o json"
    )]
    Show {
        /// Name of the listener
        name: String,
    },
    /// Changes settings of a listener; those that are not given stay, and no connection is refused
    #[command(
        after_help = "Examples:\n  conclave listener set https --upstream 127.0.0.1:8081\n  conclave listener set https --bind :8443"
    )]
    Set(Box<ListenerSet>),
    /// Closes a socket on every node; existing connections stay
    #[command(
        after_help = "Examples:\n  conclave listener remove https\n  conclave listener remove https --yes"
    )]
    Remove {
        /// Name of the listener
        name: String,
        #[command(flatten)]
        existing: IfExists,
        #[command(flatten)]
        changing: Changing,
    },
}

#[derive(ClapArgs)]
pub(crate) struct ListenerAdd {
    /// Name of the listener
    pub(crate) name: String,
    /// Protocol: tls, dtls, smtp, imap, pop3, xmpp, xmpp-server, ldap, postgres, sieve, ftp or
    /// outgoing-tls
    #[arg(long, default_value = "tls")]
    pub(crate) protocol: String,
    /// Where to listen: :PORT for the addresses of each node, or ADDRESS:PORT
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) bind: String,
    /// Where the decrypted bytes go: HOST:PORT or unix:PATH; for dtls udp:HOST:PORT; as often as
    /// needed, they take turns
    #[arg(long, required = true)]
    pub(crate) upstream: Vec<String>,
    /// DOMAIN=UPSTREAM: where the bytes of one domain go, as often as needed
    #[arg(long, value_parser = assignment, value_name = "DOMAIN=UPSTREAM")]
    pub(crate) domain_upstream: Vec<(String, String)>,
    /// STARTTLS: refuse every command except those that lead to TLS
    #[arg(long)]
    pub(crate) require_tls: bool,
    /// Application protocols, preferred ones first, as h2,http/1.1 [default: those of the protocol]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) alpn: Vec<String>,
    /// Network whose connections begin with a PROXY header, as 10.0.0.0/8; as often as needed
    #[arg(long, value_name = "NETWORK")]
    pub(crate) proxy_from: Vec<String>,
    /// Send a PROXY header to the upstream: v1 (addresses) or v2 (with the facts of TLS) [default:
    /// none]
    #[arg(long, value_name = "VERSION")]
    pub(crate) proxy_to: Option<String>,
    /// outgoing-tls: start TLS by the command of this protocol
    #[arg(long, value_name = "PROTOCOL")]
    pub(crate) starttls: Option<String>,
    /// outgoing-tls: name that the server's certificate must have [default: host of the upstream]
    #[arg(long, value_name = "NAME")]
    pub(crate) server_name: Option<String>,
    /// Refuse clients without a certificate, whatever name they send; domains that ask for none
    /// are not served here
    #[arg(long)]
    pub(crate) require_client_certificate: bool,
    /// Take client certificates that name servers only (extended key usage), as servers have them
    #[arg(long)]
    pub(crate) take_server_certificates: bool,
    #[command(flatten)]
    pub(crate) missing: IfMissing,
    #[command(flatten)]
    pub(crate) changing: Changing,
}

#[derive(ClapArgs)]
pub(crate) struct ListenerSet {
    /// Name of the listener
    pub(crate) name: String,
    /// Protocol: tls, dtls, smtp, imap, pop3, xmpp, xmpp-server, ldap, postgres, sieve, ftp or
    /// outgoing-tls
    #[arg(long)]
    pub(crate) protocol: Option<String>,
    /// Where to listen: :PORT for the addresses of each node, or ADDRESS:PORT; the new port opens
    /// before the old one closes
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) bind: Option<String>,
    /// Upstream, as often as needed; together they replace the present ones
    #[arg(long)]
    pub(crate) upstream: Option<Vec<String>>,
    /// DOMAIN=UPSTREAM, as often as needed; together they replace the present ones; "" for none
    #[arg(long, value_name = "DOMAIN=UPSTREAM")]
    pub(crate) domain_upstream: Option<Vec<String>>,
    /// STARTTLS: refuse every command except those that lead to TLS: on or off
    #[arg(long, value_parser = SWITCH, value_name = "SWITCH", hide_possible_values = true)]
    pub(crate) require_tls: Option<String>,
    /// Application protocols, preferred ones first, as h2,http/1.1; "" for those of the protocol
    #[arg(long, value_name = "NAMES")]
    pub(crate) alpn: Option<String>,
    /// Network whose connections begin with a PROXY header, as often as needed; together they
    /// replace the present ones; "" for none
    #[arg(long, value_name = "NETWORK")]
    pub(crate) proxy_from: Option<Vec<String>>,
    /// Send a PROXY header to the upstream: v1, v2, or "" for none
    #[arg(long, value_name = "VERSION")]
    pub(crate) proxy_to: Option<String>,
    /// outgoing-tls: start TLS by the command of this protocol; "" for TLS from the first byte
    #[arg(long, value_name = "PROTOCOL")]
    pub(crate) starttls: Option<String>,
    /// outgoing-tls: name that the server's certificate must have; "" for the host of the upstream
    #[arg(long, value_name = "NAME")]
    pub(crate) server_name: Option<String>,
    /// Refuse clients without a certificate, whatever name they send: on or off
    #[arg(long, value_parser = SWITCH, value_name = "SWITCH", hide_possible_values = true)]
    pub(crate) require_client_certificate: Option<String>,
    /// Take client certificates that name servers only (extended key usage): on or off
    #[arg(long, value_parser = SWITCH, value_name = "SWITCH", hide_possible_values = true)]
    pub(crate) take_server_certificates: Option<String>,
    #[command(flatten)]
    pub(crate) changing: Changing,
}

pub(crate) fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err("DOMAIN=UPSTREAM is expected".to_owned()),
    }
}

/// The protocol that listeners call so, if a command of it starts TLS.
fn protocol(word: &str) -> Result<ListenerProtocol, String> {
    let starts_tls = |protocol: &ListenerProtocol| with_server(*protocol, "localhost").is_some();
    let mut known = ListenerProtocol::ALL.into_iter().filter(starts_tls);
    let words = known.clone().map(ListenerProtocol::as_str).collect::<Vec<_>>().join(", ");
    known.find(|known| known.as_str() == word).ok_or(format!("one of {words} is expected"))
}

/// A server with the host of its name in A-labels.
fn target(text: &str) -> Result<String, String> {
    match text.rsplit_once(':').filter(|(host, _)| !host.is_ascii()) {
        Some((host, port)) => Ok(format!("{}:{port}", conclave_node::server_name(host)?)),
        None => Ok(text.to_owned()),
    }
}
