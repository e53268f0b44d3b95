//! Requests and answers about listeners.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Request to add a listener on every node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "ListenerAdd")]
pub struct Add {
    /// Name.
    pub name: String,
    /// `tls`, `smtp`, `imap`, `pop3`, `xmpp`, `xmpp-server`, `ldap`, `postgres`, `sieve`, `ftp`,
    /// `outgoing-tls` or `dtls`; `tls` if not given.
    pub protocol: Option<String>,
    /// `:PORT` for every address of each node, or `ADDRESS:PORT`.
    pub bind: String,
    /// Upstreams for the decrypted bytes, used in turn: `HOST:PORT`, `unix:PATH`, or
    /// `udp:HOST:PORT` for DTLS.
    pub upstreams: Vec<String>,
    /// Upstreams for individual domains.
    pub domain_upstreams: BTreeMap<String, Vec<String>>,
    /// STARTTLS only: before TLS is established, only the commands that lead to TLS are allowed.
    pub requires_tls: bool,
    /// ALPN protocols, most preferred first; empty: the defaults of the listener's protocol.
    pub alpn: Vec<String>,
    /// Networks whose connections must begin with a PROXY header, as `10.0.0.0/8`.
    pub proxy_from: Vec<String>,
    /// Version of the PROXY header for the upstream: `v1` or `v2`.
    pub proxy_to: Option<String>,
    /// Outgoing TLS only: the STARTTLS protocol of the server; none: TLS from the first byte.
    pub starttls: Option<String>,
    /// Outgoing TLS only: the name that the server's certificate must cover.
    pub server_name: Option<String>,
    /// Every client must have a certificate that its domain accepts; domains that ask for none are
    /// not served here, and nobody goes on without TLS.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub requires_client_certificate: bool,
    /// Accept client certificates whose extended key usage names servers only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub takes_server_certificates: bool,
}

/// Request to change a listener. Fields that are not given stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "ListenerSet")]
pub struct Set {
    /// Protocol, see [`Add::protocol`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Bind address, see [`Add::bind`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind: Option<String>,
    /// Replacement for all upstreams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstreams: Option<Vec<String>>,
    /// Replacement for the upstreams of all individual domains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain_upstreams: Option<BTreeMap<String, Vec<String>>>,
    /// See [`Add::requires_tls`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requires_tls: Option<bool>,
    /// Replacement for all ALPN protocols.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpn: Option<Vec<String>>,
    /// Replacement for all networks with a PROXY header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_from: Option<Vec<String>>,
    /// Version of the PROXY header for the upstream; empty: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_to: Option<String>,
    /// See [`Add::starttls`]; empty: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starttls: Option<String>,
    /// See [`Add::server_name`]; empty: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// See [`Add::requires_client_certificate`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requires_client_certificate: Option<bool>,
    /// See [`Add::takes_server_certificates`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub takes_server_certificates: Option<bool>,
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listener {
    /// Name.
    pub name: String,
    /// Protocol, see [`Add::protocol`].
    pub protocol: String,
    /// Bind address, see [`Add::bind`].
    pub bind: String,
    /// Upstreams for the decrypted bytes.
    pub upstreams: Vec<String>,
    /// Upstreams for individual domains.
    pub domain_upstreams: BTreeMap<String, Vec<String>>,
    /// STARTTLS only: before TLS is established, only the commands that lead to TLS are allowed.
    pub requires_tls: bool,
    /// ALPN protocols; empty: the defaults of the listener's protocol.
    pub alpn: Vec<String>,
    /// Networks whose connections must begin with a PROXY header.
    pub proxy_from: Vec<String>,
    /// Version of the PROXY header for the upstream.
    pub proxy_to: Option<String>,
    /// Outgoing TLS only: the STARTTLS protocol of the server; none: TLS from the first byte.
    pub starttls: Option<String>,
    /// Outgoing TLS only: the name that the server's certificate must cover.
    pub server_name: Option<String>,
    /// See [`Add::requires_client_certificate`].
    #[serde(default)]
    pub requires_client_certificate: bool,
    /// See [`Add::takes_server_certificates`].
    #[serde(default)]
    pub takes_server_certificates: bool,
    /// Sockets that the answering node has open for this listener.
    pub open: Vec<String>,
    /// Reasons why sockets are not open on the answering node.
    pub problems: Vec<String>,
    /// The listener on each member; empty from nodes before 0.4.0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<OnNode>,
}

/// A listener on one member, as the member last reported it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ListenerOnNode")]
pub struct OnNode {
    /// Name of the node.
    pub node: String,
    /// `open`; `closed`, for the reasons in `problems`; `lagging`: the node does not have the
    /// present settings yet; `draining`; or `unreachable`.
    pub state: String,
    /// Reasons why sockets are not open there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}
