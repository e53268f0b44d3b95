//! How the cluster is.

use serde::{Deserialize, Serialize};

use crate::node::Node;

/// How the cluster is, as the answering node knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `Status`.
    pub kind: String,
    /// Node that answers.
    pub node: String,
    /// Version of its program.
    pub version: String,
    /// The cluster; none: the node waits for `cluster init` or `cluster join`.
    pub cluster: Option<ClusterStatus>,
    /// The keyring.
    pub keyring: Option<KeyringStatus>,
    /// Members.
    pub nodes: Vec<Node>,
    /// Counts of domains.
    pub domains: DomainCounts,
    /// What needs attention.
    pub problems: Vec<StatusProblem>,
}

/// The cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// Name.
    pub name: String,
    /// Id.
    pub id: String,
    /// SHA-256 of the certificate of its authority.
    pub fingerprint: String,
    /// `healthy`, `attention` or `no-leader`.
    pub health: String,
    /// Number of voters.
    pub voters: u64,
    /// Number of learners.
    pub learners: u64,
    /// Leader, by name.
    pub leader: Option<String>,
    /// Raft term.
    pub term: u64,
    /// Voters that must answer for a change.
    pub quorum: u64,
    /// Voters that may still fail.
    pub can_lose: u64,
    /// No leader: everything here is what the answering node last knew.
    pub stale: bool,
    /// Highest index committed, as the answering node knows it.
    pub commit_index: u64,
    /// Highest index applied by the answering node.
    pub applied_index: u64,
    /// Index of the answering node's last snapshot.
    pub snapshot_index: u64,
    /// Log entries up to this one are purged on the answering node.
    pub purged_index: u64,
    /// Rows of the answering node's state.
    pub rows: u64,
    /// Digest of the answering node's state, hex.
    pub digest: String,
}

/// The keyring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyringStatus {
    /// Current generation.
    pub generation: u64,
    /// Nodes that are sealed, by name.
    pub sealed_nodes: Vec<String>,
}

/// Counts of domains, shared and local together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainCounts {
    /// All.
    pub total: u64,
    /// Enabled, with a certificate that is within its dates.
    pub valid: u64,
    /// Enabled, with a certificate that expires within 30 days.
    pub expiring: u64,
    /// Enabled, but incomplete or with a certificate outside its dates.
    pub problem: u64,
    /// In test mode.
    pub test: u64,
    /// Disabled.
    pub disabled: u64,
}

/// Something that needs attention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusProblem {
    /// Error code.
    #[serde(deserialize_with = "crate::problem::known_code")]
    pub code: crate::problem::Code,
    /// `error` or `warning`.
    pub severity: String,
    /// What it is about: a domain, a node, a listener.
    pub object: String,
    /// What is wrong.
    pub text: String,
    /// What to do next.
    pub hint: String,
}
