//! Sockets on each node where TLS ends.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::id::ListenerName;

/// What is spoken on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListenerProtocol {
    /// TLS from the first byte.
    Tls,
}

/// A socket to open on every node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Name.
    pub name: ListenerName,
    /// What is spoken.
    pub protocol: ListenerProtocol,
    /// Local address; none means every address in `[node] addresses` of each node.
    pub address: Option<IpAddr>,
    /// Local port, never 0.
    pub port: u16,
    /// Where the decrypted bytes go: `HOST:PORT`.
    pub upstream: String,
}
