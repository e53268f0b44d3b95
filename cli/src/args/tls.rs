//! Commands about TLS: settings, sessions, client certificates and listeners.

use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand};
use conclave_preface::starttls::{ListenerProtocol, with_server};

use super::{Changing, duration};

const SWITCH: [&str; 2] = ["on", "off"];

#[derive(Subcommand)]
pub(crate) enum Tls {
    /// TLS settings of the cluster, and where this node is stricter
    #[command(after_help = "Example: conclave tls show")]
    Show,
    /// Changes TLS settings of the cluster; what is not given stays
    #[command(
        after_help = "Examples: conclave tls set --min-version 1.3\n          conclave tls set --ttl 8h --rotation 1h --groups X25519MLKEM768,x25519"
    )]
    Set(Box<TlsSet>),
    /// The keys of sessions: how old, how many; never the keys themselves
    #[command(after_help = "Example: conclave tls sessions -o json")]
    Sessions,
    /// Makes a handshake with any server and says what it shows; needs no node
    #[command(
        after_help = "Examples: conclave tls probe shop.example:443\n          conclave tls probe 10.0.0.1:443 --server-name shop.example -o json\n          conclave tls probe mail.example:25 --starttls smtp\n          conclave tls probe sip.example:5061 --dtls"
    )]
    Probe {
        /// HOST:PORT
        #[arg(value_name = "HOST:PORT")]
        target: String,
        /// Server name to send; none given: the host, "-": no name
        #[arg(long)]
        server_name: Option<String>,
        /// Application protocols to offer, wanted ones first
        #[arg(long, value_delimiter = ',')]
        alpn: Vec<String>,
        /// Start TLS by the command of this protocol: smtp, imap, pop3, xmpp, xmpp-server, ldap,
        /// postgres, sieve or ftp
        #[arg(long, value_name = "PROTOCOL", value_parser = protocol)]
        starttls: Option<ListenerProtocol>,
        /// Over UDP
        #[arg(long, conflicts_with_all = ["starttls", "alpn"])]
        dtls: bool,
    },
    /// Ends all sessions: no client resumes one that was made before
    #[command(after_help = "Example: conclave tls flush --yes")]
    Flush {
        #[command(flatten)]
        changing: Changing,
    },
}

#[derive(ClapArgs)]
pub(crate) struct TlsSet {
    /// How much handshakes say in the log
    #[arg(long, value_parser = ["error", "info", "debug"])]
    pub(crate) log_level: Option<String>,
    /// How long a session may resume, as 2h; 0s for never
    #[arg(long, value_parser = duration)]
    pub(crate) ttl: Option<Duration>,
    /// How often the key of session tickets is changed, as 1h
    #[arg(long, value_parser = duration)]
    pub(crate) rotation: Option<Duration>,
    /// Oldest version of TLS that is accepted: 1.2 or 1.3
    #[arg(long)]
    pub(crate) min_version: Option<String>,
    /// Choose the domain by the server name that a client sends
    #[arg(long, value_parser = SWITCH)]
    pub(crate) process_target_domain: Option<String>,
    /// A wrong client certificate ends the handshake; off: it counts as none
    #[arg(long, value_parser = SWITCH)]
    pub(crate) abort_on_wrong_client_certificate: Option<String>,
    /// Cipher suites by their IANA names, wanted ones first; "" for all
    #[arg(long)]
    pub(crate) cipher_suites: Option<String>,
    /// Key exchange groups by their IANA names, wanted ones first; "" for all
    #[arg(long)]
    pub(crate) groups: Option<String>,
    /// Cannot be turned on (RFC 9325)
    #[arg(long, value_parser = SWITCH)]
    pub(crate) cbc_ciphers_for_old_tls: Option<String>,
    /// Cannot be turned on (RFC 7465)
    #[arg(long, value_parser = SWITCH)]
    pub(crate) weak_ciphers: Option<String>,
    /// Cannot be turned on (RFC 6176)
    #[arg(long, value_parser = SWITCH)]
    pub(crate) accept_sslv2_hello: Option<String>,
    #[command(flatten)]
    pub(crate) changing: Changing,
}

#[derive(Subcommand)]
pub(crate) enum ClientAuth {
    /// Asks clients of a domain for a certificate
    #[command(
        after_help = "Example: conclave client-auth set shop.example --issuer 8c1f22 --required\nconclave trust list --scope domain:shop.example shows the fingerprints."
    )]
    Set {
        name: String,
        /// Fingerprint of the trusted certificate that must have issued it, or its first digits
        #[arg(long)]
        issuer: String,
        /// Nobody connects without one
        #[arg(long)]
        required: bool,
        #[command(flatten)]
        changing: Changing,
    },
    /// Whether clients of a domain are asked for a certificate, and for which
    #[command(after_help = "Example: conclave client-auth show shop.example")]
    Show { name: String },
    /// Asks clients of a domain for no certificate any more
    #[command(after_help = "Example: conclave client-auth clear shop.example")]
    Clear {
        name: String,
        #[command(flatten)]
        changing: Changing,
    },
}

#[derive(ClapArgs)]
pub(crate) struct ListenerAdd {
    pub(crate) name: String,
    /// What is spoken: tls, smtp, imap, pop3, xmpp, xmpp-server, ldap, postgres, sieve, ftp,
    /// or outgoing-tls
    #[arg(long, default_value = "tls")]
    pub(crate) protocol: String,
    /// :PORT for the addresses of each node, or ADDRESS:PORT
    #[arg(long)]
    pub(crate) bind: String,
    /// Where the decrypted bytes go: HOST:PORT or unix:PATH; as often
    /// as needed, they take turns
    #[arg(long, required = true)]
    pub(crate) upstream: Vec<String>,
    /// DOMAIN=UPSTREAM: where the bytes of one domain go, as often as needed
    #[arg(long, value_parser = assignment)]
    pub(crate) domain_upstream: Vec<(String, String)>,
    /// STARTTLS: nothing but the way to TLS before TLS stands
    #[arg(long)]
    pub(crate) require_tls: bool,
    /// Application protocols, wanted ones first, as h2,http/1.1; else those of the protocol
    #[arg(long, value_delimiter = ',')]
    pub(crate) alpn: Vec<String>,
    /// Network whose connections begin with a PROXY header, as 10.0.0.0/8; as often as needed
    #[arg(long)]
    pub(crate) proxy_from: Vec<String>,
    /// Tell the upstream about the client by a PROXY header: v1 or v2 (with the facts of TLS)
    #[arg(long)]
    pub(crate) proxy_to: Option<String>,
    /// outgoing-tls: start TLS by the command of this protocol
    #[arg(long)]
    pub(crate) starttls: Option<String>,
    /// outgoing-tls: name that the server's certificate must be for; else the upstream's host
    #[arg(long)]
    pub(crate) server_name: Option<String>,
    #[command(flatten)]
    pub(crate) changing: Changing,
}

fn assignment(text: &str) -> Result<(String, String), String> {
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
