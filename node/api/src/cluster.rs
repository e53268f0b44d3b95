//! Requests and answers about founding, joining and leading a cluster.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Request to found a cluster with this node as its first member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ClusterInit")]
pub struct Init {
    /// Name of the cluster.
    pub name: String,
}

/// Request to join a cluster.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ClusterJoin")]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TransferLeader {
    /// Name of the voter; the best one if not given.
    pub to: Option<String>,
}

/// A transfer of leadership: done, or only tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// How far a rolling upgrade is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Upgrade {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `Upgrade`.
    pub kind: String,
    /// Level of the rules that the cluster uses.
    pub level: u32,
    /// First version that knows this level. Earlier ones cannot run on any node.
    pub since: String,
    /// Highest level that every member knows; the present one if a member does not answer.
    pub possible: u32,
    /// Whether the leader finalizes by itself, as the answering node is configured.
    pub automatic: bool,
    /// Whether no member knows more than the present level.
    pub finalized: bool,
    /// All members.
    pub nodes: Vec<UpgradeNode>,
}

/// What a member knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UpgradeNode {
    /// Name.
    pub name: String,
    /// Its version; none: it does not answer.
    pub version: Option<String>,
    /// Highest level that it knows; none: it does not answer.
    pub level: Option<u32>,
}

/// The membership of a node that has founded or joined a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// A recovery of a cluster that has lost its quorum, planned or done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// Name of the cluster.
    pub cluster: String,
    /// Id of the cluster.
    pub id: String,
    /// Name of the survivor, which becomes the only voter.
    pub node: String,
    /// Number of the survivor.
    pub node_id: u64,
    /// Number of voters before.
    pub voters: u64,
    /// Members that are put out.
    pub former: Vec<FormerMember>,
    /// Term of the survivor's last entry. Of several survivors, the one with the highest term, and
    /// among these with the highest index, is to be recovered.
    pub last_term: u64,
    /// Index of the survivor's last entry. What other members acknowledged after it is missing.
    pub last_index: u64,
    /// Index up to which the survivor knows that entries are committed.
    pub committed_index: u64,
    /// Number of later entries.
    pub uncommitted_entries: u64,
    /// Whether the later entries are kept. They always are, because one of them may have been
    /// acknowledged.
    pub uncommitted_kept: bool,
    /// New term.
    pub term: u64,
    /// Index at which the new membership begins.
    pub index: u64,
    /// Level of the cluster.
    pub level: u32,
    /// Whether this finishes an earlier recovery that was interrupted.
    pub unfinished: bool,
    /// Whether there is something to recover.
    pub changed: bool,
    /// Whether nothing was done.
    pub dry_run: bool,
}

/// A member that a recovery puts out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerMember {
    /// Name.
    pub name: String,
    /// Number.
    pub id: u64,
    /// `HOST:PORT` for other nodes.
    pub address: String,
    /// Whether it was a voter.
    pub is_voter: bool,
}
