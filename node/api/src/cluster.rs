//! Requests and answers about founding, joining and leading a cluster.

use serde::{Deserialize, Serialize};

/// Request to found a cluster with this node as its first member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Init {
    /// Name of the cluster.
    pub name: String,
}

/// Request to join a cluster.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// `HOST:PORT` of a member, as other nodes reach it.
    pub address: String,
    /// Join token.
    pub token: String,
    /// The node stays a learner: it gets everything and does not vote.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub learner: bool,
    /// Failure zone; empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub zone: String,
    /// Name of the member that is gone for ever and that this node replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
}

/// Request to hand the leadership to another voter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TransferLeader {
    /// Name of the voter; the best one if not given.
    pub to: Option<String>,
}

/// A transfer of leadership: done, or only tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct LeaderTransfer {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `LeaderTransfer`.
    pub kind: String,
    /// The node that led.
    pub from: String,
    /// The node that leads now, or would lead.
    pub to: String,
    /// Time that the transfer took, in milliseconds.
    pub took_ms: u64,
    /// Whether the leader has changed.
    pub changed: bool,
    /// Whether this was only tried.
    pub dry_run: bool,
}

/// The membership of a node that has founded or joined a cluster.
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
    /// Number of voters, including this node unless it is a learner.
    pub voters: u64,
    /// Whether this node is a learner.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub learner: bool,
    /// Path of this node's unlock key, without which the node cannot use private keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unlock_key: Option<String>,
    /// What should be mended on this node, in sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Whether the node has become a member by this request.
    #[serde(default = "is_changed")]
    pub changed: bool,
}

/// Nodes before 0.2.1 do not say it, and refuse to repeat.
fn is_changed() -> bool {
    true
}
