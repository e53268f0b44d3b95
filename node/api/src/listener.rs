//! Listeners.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Asks for a new listener on every node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Add {
    /// Name.
    pub name: String,
    /// `tls`, `smtp`, `imap`, `pop3`, `xmpp`, `xmpp-server`, `ldap`, `postgres`, `sieve`, `ftp`,
    /// `outgoing-tls` or `dtls`; `tls` if not given.
    pub protocol: Option<String>,
    /// `:PORT` for every address of each node, or `ADDRESS:PORT`.
    pub bind: String,
    /// Where the decrypted bytes go, in turn: `HOST:PORT`, `unix:PATH`, or `udp:HOST:PORT` for
    /// DTLS.
    pub upstreams: Vec<String>,
    /// The same for single domains.
    pub domain_upstreams: BTreeMap<String, Vec<String>>,
    /// STARTTLS only: nothing but the way to TLS is allowed before TLS stands.
    pub requires_tls: bool,
    /// Application protocols to agree on, wanted ones first; empty: those of the protocol.
    pub alpn: Vec<String>,
    /// Networks whose connections begin with a PROXY header, as `10.0.0.0/8`.
    pub proxy_from: Vec<String>,
    /// PROXY header for the upstream: `v1` or `v2`.
    pub proxy_to: Option<String>,
    /// Outgoing TLS only: the protocol whose own command starts TLS.
    pub starttls: Option<String>,
    /// Outgoing TLS only: the name that the server's certificate must be for.
    pub server_name: Option<String>,
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Name.
    pub name: String,
    /// What is spoken, see [`Add::protocol`].
    pub protocol: String,
    /// As it was asked for.
    pub bind: String,
    /// Where the decrypted bytes go.
    pub upstreams: Vec<String>,
    /// The same for single domains.
    pub domain_upstreams: BTreeMap<String, Vec<String>>,
    /// STARTTLS only: nothing but the way to TLS is allowed before TLS stands.
    pub requires_tls: bool,
    /// Application protocols; empty: those of the protocol.
    pub alpn: Vec<String>,
    /// Networks whose connections begin with a PROXY header.
    pub proxy_from: Vec<String>,
    /// PROXY header for the upstream.
    pub proxy_to: Option<String>,
    /// Outgoing TLS only: the protocol whose own command starts TLS.
    pub starttls: Option<String>,
    /// Outgoing TLS only: the name that the server's certificate must be for.
    pub server_name: Option<String>,
    /// Sockets that the answering node has open for it.
    pub open: Vec<String>,
    /// Why sockets are not open on the answering node.
    pub problems: Vec<String>,
}
