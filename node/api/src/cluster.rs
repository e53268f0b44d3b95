//! Founding and joining a cluster.

use serde::{Deserialize, Serialize};

/// Asks a node to found a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Init {
    /// Name of the cluster.
    pub name: String,
}

/// Asks a node to join a cluster.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// `HOST:PORT` at which a member answers other nodes.
    pub address: String,
    /// Join token.
    pub token: String,
}

/// A node is a member now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Name of the cluster.
    pub cluster: String,
    /// Id of the cluster.
    pub id: String,
    /// SHA-256 of the certificate of the cluster's authority.
    pub fingerprint: String,
    /// Name of this node.
    pub node: String,
    /// Number of this node.
    pub node_id: u64,
    /// Voters, this one included.
    pub voters: u64,
}
