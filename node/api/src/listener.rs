//! Listeners.

use serde::{Deserialize, Serialize};

/// Asks for a listener on every node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Add {
    /// Name.
    pub name: String,
    /// `:PORT` for every address of each node, or `ADDRESS:PORT`.
    pub bind: String,
    /// `HOST:PORT` where the decrypted bytes go.
    pub upstream: String,
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Name.
    pub name: String,
    /// `tls`.
    pub protocol: String,
    /// As it was asked for.
    pub bind: String,
    /// Where the decrypted bytes go.
    pub upstream: String,
    /// Sockets that the answering node has open for it.
    pub open: Vec<String>,
    /// Why sockets are not open on the answering node.
    pub problems: Vec<String>,
}
